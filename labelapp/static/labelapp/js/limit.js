// A text that may only be so long: counted as it is typed and never cut. Above the limit a line says so, and its button is inert;
// where nothing is written the line says that when it is to be sent.
// Knows boxes with data-limit and the line of their form; the server counts again.
import { alertUrgently } from "./announcer.js";

const number = new Intl.NumberFormat(document.documentElement.lang);
const count = (box) => [...box.value.trim()].length; // code points, as the server counts

export function show(box) {
  const most = Number(box.dataset.limit);
  const length = count(box);
  const isOver = length > most;
  const line = box.form.querySelector("[data-limit-words]");
  line.hidden = !isOver;
  line.textContent = isOver ? line.dataset.limitWords.replace("{most}", number.format(most)).replace("{count}", number.format(length)) : "";
  box.setAttribute("aria-invalid", String(isOver));
  box.form.querySelector(".btn.primary").setAttribute("aria-disabled", String(isOver));
  return isOver;
}

export function showIn(place) {
  for (const box of place?.querySelectorAll("[data-limit]") ?? []) show(box);
}

// For a form that is about to be sent: whether it may be, else why not.
export function maySend(form) {
  const box = form.querySelector("[data-limit]");
  if (!box) return true;
  const isOver = show(box);
  const isEmpty = !box.value.trim();
  if (!isOver && !isEmpty) return true;
  const line = form.querySelector("[data-limit-words]");
  if (isEmpty) line.textContent = line.dataset.emptyWords;
  line.hidden = false;
  alertUrgently(line.textContent);
  box.closest("details")?.setAttribute("open", "");
  box.focus();
  return false;
}

document.addEventListener("input", (event) => { if (event.target.dataset?.limit) show(event.target); });
