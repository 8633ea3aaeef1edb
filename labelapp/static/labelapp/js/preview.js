// The conversation page as a preview: the strip, covers and dialogs work, and no form of the page is sent.
// Knows the page's parts; dialogs and menus are the shell's.
import { announce } from "./announcer.js";
import "./cover.js";
import * as strip from "./strip.js";

strip.show();
document.addEventListener("submit", (event) => {
  if (event.target.closest("header")) return; // the account's own menu
  event.preventDefault();
  announce(document.querySelector("main .notice").firstChild.textContent.trim());
});
