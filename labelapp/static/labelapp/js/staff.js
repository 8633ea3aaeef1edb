// Staff forms: a refused one takes the focus to its problems; one that was sent when the session was over has its text back.
// Knows forms and their fields; what is wrong with them is the server's word.
import { fill, typed, unfold } from "./fields.js";
import { tab } from "./storage.js";

const KEPT = "sent-form";
const note = document.getElementById("unsent");

function showProblems() {
  const problems = document.querySelector("[data-problems]");
  if (!problems) return;
  document.title = `${problems.dataset.problems}: ${document.title}`;
  for (const field of document.querySelectorAll("main form details :is(input:not([type=checkbox], [type=hidden]), textarea, select)")) {
    if (field.value && field.defaultValue !== "" && !field.closest("[data-menu]")) unfold(field);
  }
  problems.focus();
}

// The server sends whoever was signed out back to the form's page, at #unsent.
function putBack() {
  const kept = JSON.parse(tab.getItem(KEPT) ?? "null");
  tab.removeItem(KEPT);
  if (location.hash !== "#unsent") return;
  history.replaceState(null, "", location.pathname + location.search);
  if (!note) return;
  note.hidden = false;
  const form = kept?.person === note.dataset.person && [...document.forms].find((each) => each.action === kept.action && each.method === "post");
  if (form) fill(form, kept.fields);
  note.focus();
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || !form.closest("main") || form.querySelector("[type=password]")) return;
  const kept = { person: note?.dataset.person, action: form.action, fields: typed(form) };
  tab.setItem(KEPT, JSON.stringify(kept));
});
// What scrolls sideways is reached by key; what does not is no stop on the way.
const scrollers = () => document.querySelectorAll("main :is(.scroll, .scroll-x, pre)");
const measure = () => { for (const node of scrollers()) node.tabIndex = node.scrollWidth > node.clientWidth || node.scrollHeight > node.clientHeight ? 0 : -1; };

// On a phone the rail is wider than the window: it is moved, the page is not.
function showPlace() {
  const place = document.querySelector(".rail a[aria-current]");
  const rail = place?.closest("ul");
  if (!rail) return;
  const middle = (node) => node.getBoundingClientRect().left + node.getBoundingClientRect().width / 2;
  rail.scrollBy({ left: middle(place) - middle(rail), behavior: "instant" });
}

showPlace();
putBack();
showProblems();
new ResizeObserver(measure).observe(document.querySelector("main"));
document.addEventListener("htmx:afterSettle", measure);
