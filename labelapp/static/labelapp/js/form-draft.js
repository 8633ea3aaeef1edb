// A form with many fields: what is typed and not sent survives a reload, on this device, until it was stored.
// Knows forms with data-draft and what the page says beside them; that a form was stored is the server's word.
import { fill, typed } from "./fields.js";
import { device, tab } from "./storage.js";

const SENT = "sent-draft";
const form = document.querySelector("form[data-draft]");
const key = `draft:${form.dataset.draft}`;
const state = form.querySelector("[data-draft-state]");
const back = document.querySelector("[data-draft-back]");

function say(at) {
  const clock = new Intl.DateTimeFormat(document.documentElement.lang, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  state.textContent = `${state.dataset.draftState} ${clock.format(new Date(at))}`;
}

function keep() {
  const at = Date.now();
  device.setItem(key, JSON.stringify({ at, fields: typed(form) }));
  say(at);
}

// The draft knows the change that its page was based on, so that what others changed since is still told.
function putBack() {
  const kept = JSON.parse(device.getItem(key) ?? "null");
  if (!kept) return;
  fill(form, kept.fields);
  say(kept.at);
  back.hidden = false;
}

if (tab.getItem(SENT) === key && document.querySelector(".messages .stored")) device.removeItem(key);
tab.removeItem(SENT);
if (form.dataset.draftIs === "here") keep(); // the server gave back what was sent
else putBack();

form.addEventListener("input", keep);
form.addEventListener("submit", () => tab.setItem(SENT, key));
back.querySelector("button").addEventListener("click", () => {
  device.removeItem(key);
  location.replace(location.pathname);
});
