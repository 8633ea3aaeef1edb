// Covered responses: opened one at a time, remembered for the turn, both shown before a choice.
// Knows <details data-cover>; whether a turn is covered is the server's word.
import * as strip from "./strip.js";

const shown = new Set();
const name = (cover) => `${cover.closest("[data-turn]")?.dataset.turn}:${cover.dataset.cover}`;
const covers = () => [...document.querySelectorAll(".turn.open [data-cover]")];

export const isEverythingShown = () => covers().every((cover) => cover.open);

export function showNext() {
  const next = covers().find((cover) => !cover.open);
  if (next) next.open = true;
  return Boolean(next);
}

export function restore() {
  for (const cover of covers()) if (shown.has(name(cover))) cover.open = true;
}

document.addEventListener("toggle", (event) => {
  const cover = event.target;
  if (!cover.matches?.("[data-cover]") || !cover.open) return;
  shown.add(name(cover));
  if (isEverythingShown()) strip.show(); // its words may still ask for that
}, true);
