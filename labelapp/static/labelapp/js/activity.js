// Counts time spent at the page: visible, not paused, and touched within two minutes.
// Knows clocks and events. A choice is sent with the time since both responses were complete; what else was
// spent, waiting and skipped turns too, goes with the next message or the end of the conversation.
import { tab } from "./storage.js";

const IDLE_AFTER = 120_000;
let spent = 0;
let since = performance.now();
let touched = since;
let carried = 0; // spent before the strip came
let isPaused = false;
let kept = ""; // where what was not sent yet waits for the next page of this tab

function count() {
  const now = performance.now();
  const until = Math.min(now, touched + IDLE_AFTER);
  if (!isPaused && document.visibilityState === "visible" && until > since) spent += until - since;
  since = now;
}

export function pause(value) { count(); isPaused = value; }
export const paused = () => isPaused;
export function begin() { count(); spent = 0; }
export function carryOn() { count(); carried += spent; spent = 0; }
export function all() { return milliseconds() + Math.round(carried); }
export function beginAll() { begin(); carried = 0; }
export function milliseconds() { count(); return Math.round(spent); }

// Time at the pages of one conversation goes on where the page before left it.
export function keepAs(name) { kept = `time:${name}`; resume(); }

function resume() {
  [spent, carried] = JSON.parse(tab.getItem(kept) ?? "[0, 0]");
}

window.addEventListener("pagehide", () => { count(); if (kept) tab.setItem(kept, JSON.stringify([spent, carried])); });
window.addEventListener("pageshow", (event) => { if (event.persisted && kept) { since = performance.now(); resume(); } }); // another page may have sent it meanwhile

for (const kind of ["keydown", "pointerdown", "pointermove", "wheel", "scroll"]) {
  document.addEventListener(kind, () => { count(); touched = performance.now(); }, { passive: true, capture: true });
}
document.addEventListener("visibilitychange", count);
