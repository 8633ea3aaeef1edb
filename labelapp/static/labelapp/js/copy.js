// Buttons [data-copy-of="id"] copy the text of that node; hidden until here, for they need a script.
// Knows text and the clipboard; where the browser shuts it, the text is selected for the person to copy.
import { announce } from "./announcer.js";

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy-of]");
  if (!button) return;
  const node = document.getElementById(button.dataset.copyOf);
  try {
    await navigator.clipboard.writeText(node.textContent.trim());
    button.textContent = button.dataset.copied;
    announce(button.dataset.copied);
  } catch {
    getSelection().selectAllChildren(node);
  }
});
for (const button of document.querySelectorAll("[data-copy-of]")) button.hidden = false;
