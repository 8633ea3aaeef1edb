// A long text in a plain form: kept on this device until the form was sent, sent with Ctrl+Enter.
// Knows forms with data-kept and the time spent at them; where they lead is the server's.
import * as activity from "./activity.js";
import { maySend, showIn } from "./limit.js";
import { noteSent, settle } from "./sent.js";
import { device } from "./storage.js";

const form = document.querySelector("form[data-kept]");
const box = form?.querySelector("textarea");
const key = form ? `draft:${form.dataset.kept}` : "";

if (box) {
  const isRefused = Boolean(document.querySelector("main [role=alert]")); // then the server gives back what was sent
  if (form.dataset.time) activity.keepAs(form.dataset.time);
  if (!box.value || !isRefused) box.value = device.getItem(key) ?? box.value;
  showIn(form);
  box.addEventListener("input", () => device.setItem(key, box.value));
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  form.addEventListener("submit", (event) => {
    if (!maySend(form)) { event.preventDefault(); return; }
    const spent = form.elements.active_milliseconds;
    spent.value = Number(spent.value) + activity.milliseconds(); // it holds what a refused page gave back
    activity.begin();
    noteSent(key);
  });
}
settle(key);
