// The eight-point strip: what is picked, in words, with a ring on its card.
// Knows radios and cards; sending the choice is the conversation's.
import { words } from "./words.js";

export const strip = () => document.querySelector("#dock .strip-form");
const points = () => [...(strip()?.querySelectorAll("input[name=point]") ?? [])];
export const picked = () => points().find((point) => point.checked) ?? null;

export function pick(value) {
  const point = points().find((each) => each.value === String(value));
  if (!point) return false;
  point.checked = true;
  point.focus({ preventScroll: true });
  point.dispatchEvent(new Event("change", { bubbles: true })); // shows it, and keeps it
  return true;
}

export function step(direction) {
  const all = points();
  if (!all.length) return false;
  const sign = document.documentElement.dir === "rtl" ? -1 : 1;
  const now = all.findIndex((point) => point.checked);
  const start = direction * sign > 0 ? -1 : all.length;
  const next = Math.min(all.length - 1, Math.max(0, (now < 0 ? start : now) + direction * sign));
  return pick(all[next].value);
}

export function show() {
  const form = strip();
  if (!form) return;
  const point = picked();
  form.querySelector(".strip").classList.toggle("has-pick", Boolean(point));
  const choose = form.querySelector("[data-choose]");
  choose.setAttribute("aria-disabled", point ? "false" : "true");
  form.querySelector("[data-choose-side]").textContent = point ? point.dataset.side : "";
  if (point) form.querySelector("[data-strip-words]").textContent = point.getAttribute("aria-label");
  for (const card of document.querySelectorAll(".turn.open .response")) {
    card.classList.toggle("picked", Boolean(point) && card.dataset.side === point.dataset.side);
  }
}

export function say(sentence) {
  const place = strip()?.querySelector("[data-strip-words]");
  if (place) place.textContent = sentence ?? words.pickFirst;
}

document.addEventListener("change", (event) => { if (event.target.name === "point") show(); });
