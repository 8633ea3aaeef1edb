// Staff pages by keyboard: `/` search, j k next and previous row, Enter opens, Esc back to the list, ? the keys;
// a person's outcomes by [data-digit], the leaderboard's other objective by o.
// Knows [data-rows] containers and the first link of a row; inert in text fields and dialogs.
const isTyping = (node) => node.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable], dialog") !== null;
let isChanged = false; // what was typed is not left behind by a key

function rows() {
  return [...document.querySelectorAll("[data-rows] tbody tr, [data-rows] > [data-row]")];
}

function move(step) {
  const all = rows();
  if (!all.length) return;
  const now = all.findIndex((row) => "selected" in row.dataset);
  const next = all[Math.min(all.length - 1, Math.max(0, now + step))];
  for (const row of all) delete row.dataset.selected;
  next.dataset.selected = ""; // aria-selected would be of grids alone
  (next.querySelector("a") ?? next.querySelector("button, input") ?? next).focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

function back() {
  if (isChanged || document.querySelector("details[data-menu][open]")) return;
  const list = document.querySelector(".rail a[aria-current]");
  if (list && list.pathname !== location.pathname) list.click();
}

function decide(digit) {
  const button = document.querySelector(`[data-digit="${digit}"]`);
  const needed = button?.dataset.needs && document.getElementById(button.dataset.needs);
  if (needed && !needed.value.trim()) needed.focus(); // a reason is asked for
  else button?.click();
}

function otherObjective() {
  const links = [...document.querySelectorAll("[data-objectives] a")];
  const now = links.findIndex((link) => link.hasAttribute("aria-current"));
  links[(now + 1) % links.length]?.click();
}

const keys = {
  "/": () => document.querySelector("[data-search]")?.focus(),
  "?": () => document.querySelector("[data-keys-page]")?.click(),
  j: () => move(1),
  k: () => move(-1),
  o: otherObjective,
  Escape: back,
};

document.addEventListener("input", () => { isChanged = true; });
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.key === "Escape" && document.activeElement?.matches("[data-search]")) { document.activeElement.blur(); return; }
  if (isTyping(event.target)) return;
  const digit = /^(?:Digit|Numpad)([1-4])$/.exec(event.code);
  if (event.repeat && !["j", "k"].includes(event.key)) return;
  if (digit && !event.shiftKey) decide(digit[1]);
  else if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
});
