// Keys of the list of runs: n new run, x picks the row, c compares what is picked. Knows the list's form only.
const form = document.querySelector("form[data-compare-form]");

function picked() {
  return form ? form.querySelectorAll("input[name=run]:checked").length : 0;
}

function show() {
  const button = form?.querySelector("[data-compare-button]");
  if (button) button.disabled = picked() < 2;
}

document.addEventListener("change", show);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.closest("input:not([type=checkbox]), textarea, select, dialog")) return;
  if (event.key === "n") document.querySelector("[data-new-run]")?.click();
  else if (event.key === "x") {
    form?.querySelector("tr[data-selected] input[name=run]")?.click();
  } else if (event.key === "c" && picked() >= 2) form.requestSubmit();
});
show();
