// Sends forms so that nothing is lost: kept in localStorage until the server has answered, sent again
// with the same idempotency key, and shown as saved, saving, not saved or offline.
// Knows requests and the status line; knows nothing of turns or strips.
import { announce, alertUrgently } from "./announcer.js";
import { words } from "./words.js";
import { device, tab } from "./storage.js";

const PREFIX = "outbox:";
const ANSWERED = "answered";
const FIRST_WAIT = 1000;
const LONGEST_WAIT = 15000;
const SILENCE = 20000; // a connection that answers nothing for so long is given up and tried anew
let trouble = navigator.onLine ? "" : "offline";
let wake = null;
let sending = 0;
let isChoice = false; // what was sent last

const cookie = (name) => document.cookie.split("; ").find((each) => each.startsWith(`${name}=`))?.slice(name.length + 1) ?? "";
export const formToken = () => cookie(`${document.documentElement.dataset.cookiePrefix ?? ""}csrftoken`); // another one inside another site's frame
const pause = (milliseconds) => new Promise((done) => { wake = done; setTimeout(done, milliseconds); });

export function showStatus() {
  const saved = document.getElementById("saved");
  const line = document.getElementById("dock-line");
  if (saved) {
    saved.textContent = { "": sending ? words.saving : words.saved, offline: words.offline }[trouble] ?? words.notSavedShort;
    saved.classList.toggle("risk", Boolean(trouble));
  }
  if (!line || line.dataset.said) return;
  line.hidden = !trouble;
  line.classList.toggle("risk", Boolean(trouble));
  const kept = isChoice ? words.offlineChoice : words.offlineOther;
  const offline = sending ? kept : words.offlineSaid;
  line.textContent = { offline, retrying: words.notSaved, "signed-out": words.signedOut }[trouble] ?? "";
  if (trouble && trouble !== "offline") {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = words.tryNow;
    button.addEventListener("click", () => wake?.());
    line.append(button);
  }
}

function setTrouble(kind) {
  if (kind === trouble) return;
  const before = trouble;
  trouble = kind;
  if (kind === "offline") alertUrgently(words.offlineSaid);
  else if (kind === "retrying") alertUrgently(words.notSaved);
  else if (kind === "signed-out") alertUrgently(words.signedOut);
  else if (before) announce(before === "offline" ? words.backOnline : words.saved);
  showStatus();
}

export const hasUnsent = () => sending > 0;
export const noteSignedIn = () => { if (trouble === "signed-out" && !sending) setTrouble(""); };
export const noteSignedOut = () => setTrouble("signed-out");

async function post(item) {
  const response = await fetch(item.url, {
    method: "POST",
    headers: { Accept: "application/json", "X-CSRFToken": formToken(), "Content-Type": "application/x-www-form-urlencoded" },
    // the form's own token is of the page's sign-in; the header's is of now
    body: new URLSearchParams(item.fields.filter(([name]) => name !== "csrfmiddlewaretoken")),
    redirect: "manual",
    credentials: "same-origin",
    signal: AbortSignal.timeout(SILENCE),
  });
  if (response.type === "opaqueredirect") return { status: 401, body: {} };
  const isJson = (response.headers.get("Content-Type") ?? "").includes("json");
  const body = isJson ? await response.json() : {};
  return { status: response.status, body, retryAfter: Number(response.headers.get("Retry-After") ?? 0) };
}

function troubleOf(answer) {
  if (answer.status === 401) return "signed-out";
  const isTemporary = answer.status >= 500 || answer.status === 429 || (answer.status === 403 && answer.body.error === "form_expired");
  return isTemporary ? "retrying" : "";
}

// Resolves with {status, body} once the server has answered for good. `keep` stores it across reloads.
export async function send(url, fields, { keep = "" } = {}) {
  const item = { url, fields };
  if (keep) device.setItem(PREFIX + keep, JSON.stringify(item));
  sending += 1;
  isChoice = url.endsWith("/choice");
  showStatus();
  let wait = FIRST_WAIT;
  try {
    for (;;) {
      let next = "";
      try {
        const answer = await post(item);
        next = troubleOf(answer);
        if (!next || (!keep && next !== "signed-out" && answer.body.stage)) {
          if (keep) device.removeItem(PREFIX + keep);
          tab.setItem(ANSWERED, String(Date.now()));
          sending -= 1;
          setTrouble("");
          return answer;
        }
        if (answer.retryAfter) wait = Math.max(wait, 1000 * answer.retryAfter);
      } catch {
        next = navigator.onLine ? "retrying" : "offline";
      }
      setTrouble(next);
      await pause(wait + Math.random() * 300);
      wait = Math.min(2 * wait, LONGEST_WAIT);
    }
  } finally {
    showStatus();
  }
}

// An earlier page had an answer after the server began to write this one: it may show what was before.
export const isBehind = () => Number(tab.getItem(ANSWERED) ?? 0) > performance.timeOrigin;

// What an earlier page of this conversation could not send.
export function unsent(keep) {
  const stored = device.getItem(PREFIX + keep);
  return stored ? JSON.parse(stored) : null;
}

window.addEventListener("online", () => { wake?.(); if (!sending) setTrouble(""); });
window.addEventListener("offline", () => setTrouble("offline"));
window.addEventListener("beforeunload", (event) => { if (hasUnsent()) event.preventDefault(); });
