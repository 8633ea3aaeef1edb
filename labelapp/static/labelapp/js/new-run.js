// A new run's empty settings show what the preset that is picked sets. Each [data-usual] holds every preset's value:
// a field shows it in grey, an option by its [data-words], anything else as its text. Knows the form only.
const preset = document.querySelector("main select[name=preset]");

function show() {
  for (const node of document.querySelectorAll("main [data-usual]")) {
    const value = JSON.parse(node.dataset.usual)[preset.value];
    if ("placeholder" in node) node.placeholder = value;
    else node.textContent = node.dataset.words?.replace("…", () => value) ?? value;
  }
}

preset.addEventListener("change", show);
addEventListener("pageshow", show); // going back, the browser puts the picked preset in again after scripts ran
show();
