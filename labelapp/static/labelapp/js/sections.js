// A long form in sections: beside each stands what is typed and not saved; Ctrl+S sends it; a section that is reached
// by j or k comes into view. Knows fields and their first values; what is wrong with them is the server's word.
const form = document.querySelector("form:has([data-section])");
const list = form.querySelector(".section-list");
const problems = new Set([...form.querySelectorAll("[data-state-of].risk")]);

function isChanged(field, saved) {
  if (saved !== undefined) return (field.type === "checkbox" ? field.checked : field.value) !== saved; // the server gave back what was sent
  if (["checkbox", "radio"].includes(field.type)) return field.checked !== field.defaultChecked;
  if (field.tagName === "SELECT") return [...field.options].some((option) => option.selected !== option.defaultSelected);
  return field.value !== field.defaultValue;
}

function count() {
  for (const state of form.querySelectorAll("[data-state-of]")) {
    if (problems.has(state)) continue; // until it is sent again
    const section = document.getElementById(state.dataset.stateOf);
    const saved = JSON.parse(section.dataset.section);
    const fields = [...section.elements].filter((each) => each.name && isChanged(each, saved[each.name]));
    const changes = new Set(fields.map((each) => each.name)).size;
    state.textContent = changes ? `${changes} change${changes === 1 ? "" : "s"}` : "as saved";
    state.classList.toggle("changed", changes > 0);
  }
}

function showSection(link) {
  if (getComputedStyle(list).position === "sticky") document.querySelector(link.hash).scrollIntoView({ block: "start" });
}

form.addEventListener("input", count);
list.addEventListener("focusin", (event) => showSection(event.target));
document.addEventListener("keydown", (event) => {
  const isSave = (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "s";
  if (!isSave || document.querySelector("dialog[open]")) return;
  event.preventDefault();
  if (!event.repeat) form.requestSubmit(form.querySelector(".btn.primary"));
});
count(); // of the draft that was put back
