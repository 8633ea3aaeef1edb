// Single keys: digits by place on the keyboard, letters by what they type; inert in text fields and dialogs,
// with modifiers, on repeat, and when switched off. Knows keys and action names, not what an action does.
import { hasSingleKeys, keyMap } from "./words.js";

const actionOf = Object.fromEntries(Object.entries(keyMap).map(([action, key]) => [key, action]));
const isText = (node) => node.matches?.("textarea, select, [contenteditable], input:not([type=radio], [type=checkbox], [type=button], [type=submit])");
const isControl = (node) => node.closest?.("button, a, summary, label") !== null;

// The letters beside buttons: the person's own, and none where single keys are off.
export function label() {
  for (const node of document.querySelectorAll("[data-key-of]")) {
    const key = keyMap[node.dataset.keyOf];
    if (key && node.textContent !== key) node.textContent = key;
    node.hidden = !hasSingleKeys && !node.closest("dialog");
    if (node.dataset.keyOf === "undo" && !node.closest("dialog")) labelUndo(node);
  }
}

// In the message box its letter would be typed: Ctrl+Z takes back there, while nothing is typed.
function labelUndo(node) {
  const box = document.activeElement;
  if (box?.id !== "message") return;
  node.hidden = Boolean(box.value);
  node.textContent = "Ctrl Z";
}

for (const kind of ["focusin", "focusout", "input"]) {
  document.addEventListener(kind, (event) => { if (event.target.id === "message") setTimeout(label); }); // focus has moved by then
}

export function listen(actions, { isPaused }) {
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || document.querySelector("dialog[open]")) return;
    const run = (name, ...values) => {
      if (isPaused() && name !== "pause") return;
      if (actions[name]?.(...values) !== false) event.preventDefault();
    };
    if (event.key === "Escape" && actions.close(event.target)) { event.preventDefault(); return; }
    if (isText(event.target)) return inText(event, run);
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.key === "Enter") { if (!isControl(event.target)) run("choose"); return; }
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") { run("move", event.key === "ArrowLeft" ? -1 : 1); return; }
    if (!hasSingleKeys) return;
    const digit = /^(?:Digit|Numpad)([1-8])$/.exec(event.code);
    if (digit && !event.shiftKey) { run("pick", digit[1]); return; }
    const action = actionOf[event.key.toLowerCase()];
    if (action) run(action);
  });
}

function inText(event, run) {
  const hasModifier = event.ctrlKey || event.metaKey;
  if (hasModifier && event.key === "Enter") run("send", event.target);
  else if (event.key === "Escape") event.target.blur();
  else if (hasModifier && event.key.toLowerCase() === "z" && event.target.id === "message" && !event.target.value) run("undo");
}
