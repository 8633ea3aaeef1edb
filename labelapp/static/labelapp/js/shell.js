// The shell's menus: closed by Escape, by a click elsewhere and by what opens or does something. Works as plain <details> without this file.
import "./clock.js";
import "./dialog.js";

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    if (!menu.contains(event.target) || event.target.closest("[data-open-dialog], [data-action], [data-copy]")) menu.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = document.querySelector("details[data-menu][open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});
