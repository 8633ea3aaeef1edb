// Staff tables by keyboard: `/` search, j k next and previous row, Enter opens, Esc back to the list.
// Knows [data-rows] containers and the first link of a row; inert in text fields and dialogs.
const isTyping = (node) => node.closest?.("input, textarea, select, [contenteditable], dialog") !== null;

function rows() {
  return [...document.querySelectorAll("[data-rows] tbody tr, [data-rows] > [data-row]")];
}

function move(step) {
  const all = rows();
  if (!all.length) return;
  const now = all.findIndex((row) => row.getAttribute("aria-selected") === "true");
  const next = all[Math.min(all.length - 1, Math.max(0, now + step))];
  for (const row of all) row.removeAttribute("aria-selected");
  next.setAttribute("aria-selected", "true");
  (next.querySelector("a, button, input") ?? next).focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat && event.key === "/") return;
  if (event.key === "Escape" && document.activeElement?.matches("[data-search]")) document.activeElement.blur();
  if (isTyping(event.target)) return;
  if (event.key === "/") {
    const search = document.querySelector("[data-search]");
    if (search) { event.preventDefault(); search.focus(); }
  } else if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
});
