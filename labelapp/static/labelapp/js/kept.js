// A long text in a plain form: kept on this device until the form was sent, sent with Ctrl+Enter.
// Knows forms with data-kept and the time spent at them; where they lead is the server's.
import * as activity from "./activity.js";
import { device, tab } from "./storage.js";

const form = document.querySelector("form[data-kept]");
const box = form?.querySelector("textarea");
const key = form ? `draft:${form.dataset.kept}` : "";

if (box) {
  if (!box.value) box.value = device.getItem(key) ?? "";
  box.addEventListener("input", () => device.setItem(key, box.value));
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  form.addEventListener("submit", (event) => {
    if (!box.value.trim()) { event.preventDefault(); box.focus(); return; }
    form.elements.active_milliseconds.value = activity.milliseconds();
    tab.setItem("sent", key);
  });
}
// What was sent was stored, unless the page that follows says otherwise.
const sent = tab.getItem("sent");
if (sent && sent !== key && !document.querySelector("main [role=alert]")) device.removeItem(sent);
tab.removeItem("sent");
