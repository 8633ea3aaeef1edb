// What was typed or ticked and not taken by the server yet: kept on this device, per box.
// Knows boxes and their names; sending is the outbox's.
import { formToken } from "./outbox.js";
import { device } from "./storage.js";
import { words } from "./words.js";

const AGAIN = 5000;
const boxesOf = (dock) => [...(dock?.querySelectorAll("textarea[name], input[name=reason_text]") ?? [])];
// a reason belongs to its turn; a message waits for the conversation, whichever turn comes next
const place = (conversation, dock, box) => box.name === "reason_text" ? `${conversation}:${dock.dataset.turn}` : conversation;
const key = (conversation, dock, box) => `draft:${place(conversation, dock, box)}:${box.name}`;

export function attach(conversation, dock) {
  if (!conversation) return;
  const undone = JSON.parse(dock?.querySelector("#undone")?.textContent ?? "{}"); // a choice that was taken back
  for (const box of boxesOf(dock)) {
    const kept = device.getItem(key(conversation, dock, box)) ?? undone[box.name] ?? "";
    if (!box.value && kept) box.value = kept;
    if (box.value) unfold(box); // the browser may have filled it in by itself
    box.addEventListener("input", () => remember(conversation, dock, box));
  }
  attachPicks(conversation, dock, undone);
}

function unfold(node) {
  const fold = node.closest("details");
  if (fold) fold.open = true;
}

// The picked point and the ticks beside it, of these two responses and no others.
const TICKS = "input[name=point], input[name=is_both_bad], input[name=reason_tags]";
const picksKey = (conversation, dock) => `draft:${conversation}:${dock.dataset.turn}:picks`;

const ticksOf = ({ point, is_both_bad, reason_tags }) => // as the server knows them
  [`point=${point}`, is_both_bad && "is_both_bad=1", ...reason_tags.map((tag) => `reason_tags=${tag}`)];

function attachPicks(conversation, dock, undone) {
  const ticks = [...(dock?.querySelectorAll(TICKS) ?? [])];
  if (!ticks.length) return;
  const name = picksKey(conversation, dock);
  const version = dock.dataset.version ?? "";
  const kept = JSON.parse(device.getItem(name) ?? "null");
  const ticked = kept?.version === version ? kept.ticked : undone.point && ticksOf(undone);
  if (ticked) for (const tick of ticks) tick.checked = ticked.includes(`${tick.name}=${tick.value}`);
  for (const tick of ticks) if (tick.checked && tick.name === "reason_tags") unfold(tick);
  dock.addEventListener("change", () => {
    const ticked = ticks.filter((tick) => tick.checked).map((tick) => `${tick.name}=${tick.value}`);
    device.setItem(name, JSON.stringify({ version, ticked }));
  });
}

export const forgetPicks = (conversation, dock) => conversation && dock && device.removeItem(picksKey(conversation, dock));

function remember(conversation, dock, box) {
  if (box.value) device.setItem(key(conversation, dock, box), box.value);
  else device.removeItem(key(conversation, dock, box));
}

// Before a dock goes away: another tab may have overwritten or cleared what this one still shows.
export function keep(conversation, dock) {
  if (!conversation) return;
  for (const box of boxesOf(dock)) if (box.value) remember(conversation, dock, box);
}

// The server took these texts; what was typed since then stays.
export function taken(conversation, dock, fields) {
  const sent = new Map(fields);
  for (const box of boxesOf(dock)) {
    if (!sent.has(box.name)) continue;
    const name = key(conversation, dock, box);
    if (device.getItem(name) === sent.get(box.name)) device.removeItem(name);
    if (box.value === sent.get(box.name)) box.value = "";
  }
}

// The comment is kept on the server as it is typed, and here until the server has it.
export function attachComment(form, conversation) {
  if (!form) return;
  const box = form.querySelector("textarea");
  const state = form.querySelector("[data-comment-state]");
  const name = `draft:${conversation}:comment`;
  const twin = document.getElementById("end-comment"); // the same comment, in the dialog of the end
  let timer = 0;
  const later = (milliseconds) => { clearTimeout(timer); timer = setTimeout(send, milliseconds); };

  async function send() {
    const text = box.value;
    const body = new URLSearchParams({ comment: text });
    const headers = { Accept: "application/json", "X-CSRFToken": formToken() };
    const answer = await fetch(form.action, { method: "POST", body, headers, redirect: "manual" }).catch(() => null);
    if (answer?.status === 409) { state.textContent = (await answer.json()).message; return; } // it stays on this device
    if (!answer?.ok) { state.textContent = words.notSavedShort; later(AGAIN); return; }
    if (box.value !== text) return;
    device.removeItem(name);
    state.textContent = words.commentKept;
  }

  const kept = device.getItem(name);
  if (kept !== null && kept !== box.value) { box.value = kept; later(0); }
  if (twin) twin.value = box.value;
  for (const [typed, other] of [[box, twin], [twin, box]]) {
    typed?.addEventListener("input", () => { if (other) other.value = typed.value; device.setItem(name, typed.value); later(800); });
  }
  window.addEventListener("online", () => { if (device.getItem(name) !== null) later(0); });
  form.addEventListener("submit", (event) => event.preventDefault());
}
