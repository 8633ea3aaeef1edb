// Dialogs: [data-open-dialog=ID] opens, [data-close-dialog] closes, first focus on the heading,
// focus and scroll return to the opener. Knows <dialog> only, not what is inside.
const openers = new WeakMap();

export function openDialog(dialog, opener = document.activeElement) {
  if (!dialog || dialog.open) return;
  const menu = opener.closest?.("[data-menu]"); // it closes behind the dialog
  openers.set(dialog, { opener: menu?.querySelector("summary") ?? opener, top: window.scrollY });
  dialog.showModal();
  const heading = dialog.querySelector("h2");
  if (heading) { heading.tabIndex = -1; heading.focus({ preventScroll: true }); }
}

export function closeDialog(dialog) {
  if (dialog?.open) dialog.close();
}

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-open-dialog]");
  if (opener) {
    const dialog = document.getElementById(opener.dataset.openDialog);
    if (dialog) { event.preventDefault(); openDialog(dialog, opener); }
    return;
  }
  const closer = event.target.closest("[data-close-dialog]");
  if (closer) { event.preventDefault(); closeDialog(closer.closest("dialog")); }
});

document.addEventListener("close", (event) => {
  const kept = openers.get(event.target);
  if (!kept) return;
  openers.delete(event.target);
  if (document.contains(kept.opener)) kept.opener.focus({ preventScroll: true });
  window.scrollTo({ top: kept.top, behavior: "instant" });
}, true);

for (const dialog of document.querySelectorAll("dialog[data-open-at-load]")) openDialog(dialog, document.body);
