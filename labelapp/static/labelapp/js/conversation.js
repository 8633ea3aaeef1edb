// The conversation page: sends its forms, follows the stream, puts each new stage in place.
// Knows the page's parts and their order; each part's behaviour is in its own module.
import { announce, alertUrgently } from "./announcer.js";
import * as activity from "./activity.js";
import * as cover from "./cover.js";
import { closeDialog, openDialog } from "./dialog.js";
import { line, takeBack } from "./dock-line.js";
import { label, listen } from "./keys.js";
import { maySend, showIn } from "./limit.js";
import * as outbox from "./outbox.js";
import { applyStage, fetchStage, SignedOut } from "./stage.js";
import { TurnStream } from "./stream.js";
import * as strip from "./strip.js";
import * as drafts from "./drafts.js";
import { settle as settleSent } from "./sent.js";
import { words } from "./words.js";

const talk = document.getElementById("talk");
const work = talk.dataset.conversation ?? talk.dataset.work; // what texts and choices are kept for, and whose
const dock = () => document.getElementById("dock");
const lastTurn = () => document.querySelector("#turns > section:last-child");
let stream = null;
let timers = [];
let awaited = "";

function follow() {
  const section = document.querySelector("section[data-stream]");
  if (stream && stream.section === section) return;
  stream?.close();
  stream = null;
  expectWords(section);
  if (!section) return;
  stream = new TurnStream(section, {
    onFirst: () => timers.filter((_, place) => place !== 1).forEach(clearTimeout),
    onLost: () => { line(words.streamLost); announce(words.streamLost); },
    onBack: () => { takeBack(); outbox.showStatus(); },
    onEnd: (how) => { stream = null; refresh(how); },
  });
}

// What the waiting dock says as time passes; a stream that is opened anew does not begin again.
function expectWords(section) {
  const wait = section ? `${section.id} ${section.dataset.version}` : "";
  if (wait && wait === awaited) return;
  awaited = wait;
  timers.forEach(clearTimeout);
  if (!section) return;
  const say = (sentence) => { const node = dock().querySelector("[data-waiting-words]"); if (node) node.textContent = sentence; };
  timers = [
    setTimeout(() => say(words.waiting10), 10_000),
    setTimeout(() => { for (const node of dock().querySelectorAll("[data-late]")) node.hidden = false; }, 20_000),
    setTimeout(() => { say(words.modelsAway); announce(words.modelsAway); }, 60_000),
  ];
}

async function refresh(how) {
  try {
    const body = await fetchStage(talk.dataset.url);
    outbox.noteSignedIn();
    arrive(body);
    if (how === "ready" && body.dock === "strip") announce(lastTurn().querySelector("[data-stopped]") ? words.stopped : words.complete);
    if (body.dock === "failed") {
      const side = lastTurn().querySelector("[data-side]:has(.failed)")?.dataset.side;
      alertUrgently(side === "A" ? words.failedA : words.failedB);
    }
  } catch (error) {
    if (error instanceof SignedOut) outbox.noteSignedOut();
    setTimeout(() => refresh(how), 3000);
  }
}

function arrive(body) {
  drafts.keep(work, dock());
  const before = dock()?.dataset.dock;
  const hasNewDock = applyStage(body.stage);
  label();
  if (hasNewDock) settle();
  cover.restore();
  strip.show();
  outbox.showStatus();
  follow();
  if (hasNewDock && body.dock === "strip" && before !== "strip") activity.carryOn();
}

function settle() {
  drafts.attach(work, dock());
  showIn(dock());
  for (const node of dock().querySelectorAll("button[data-action][hidden], [data-copy][hidden]")) node.hidden = false;
}

const moves = {
  message: () => { lastTurn().scrollIntoView({ block: "start", behavior: "instant" }); announce(words.sent); },
  intent: () => focusMessage(),
  choice: (said) => {
    const turn = lastTurn();
    if (!talk.dataset.conversation) { arriveAtNext(said && words.opinionChosen.replace("{words}", said)); return; }
    showEnd(turn.querySelector(".said") ?? turn);
    announce(words.chosen.replace("{words}", said));
    if (matchMedia("(pointer: fine)").matches) focusMessage();
    else focusOn(turn.querySelector("h2"));
  },
  pass: () => arriveAtNext(words.skipped),
  undo: () => talk.dataset.conversation || arriveAtNext(),
  skip: () => { showEnd(lastTurn().querySelector("[data-send=unskip]")); announce(words.skipped); if (matchMedia("(pointer: fine)").matches) focusMessage(); },
  flag: () => { document.querySelector("#flag-dialog form").reset(); closeDialog(document.getElementById("flag-dialog")); announce(words.flagged); line(words.flagged, { isRisk: false }); },
};

// Of second opinions, another item stands in place of the one that was read: it is said, and reading goes on there.
function arriveAtNext(done) {
  window.scrollTo({ top: 0 });
  const heading = lastTurn().querySelector("h2:has([data-next]), h2[data-nothing]");
  if (!heading) return; // practice says its own sentence
  const place = heading.querySelector("[data-next]")?.textContent;
  if (done) announce(done);
  announce(place ? words.opinionNext.replace("{place}", place) : heading.textContent);
  focusOn(heading);
}

// Above the dock, so that the way back is in view.
function showEnd(node) {
  const below = (node?.getBoundingClientRect().bottom ?? 0) - dock().getBoundingClientRect().top;
  if (below > 0) window.scrollBy({ top: below + 8, behavior: "instant" });
}

function focusOn(heading) {
  if (!heading) return;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

function focusMessage() {
  document.getElementById("message")?.focus({ preventScroll: true });
}

function fieldsOf(form, submitter) {
  const data = new FormData(form, submitter);
  if (data.has("layout")) data.set("layout", matchMedia("(max-width: 44rem)").matches ? "stacked" : "side_by_side");
  if (data.has("active_milliseconds")) data.set("active_milliseconds", form.dataset.send === "choice" ? activity.milliseconds() : activity.all());
  return [...data.entries()].map(([name, value]) => [name, String(value)]);
}

async function submit(form, submitter) {
  const kind = form.dataset.send;
  if (form.dataset.busy) return;
  if (kind === "choice" && !mayChoose()) return;
  if (!maySend(form)) return;
  form.dataset.busy = "1";
  const said = strip.picked()?.getAttribute("aria-label") ?? "";
  const url = kind === "flag" ? dock().dataset.flagUrl : form.getAttribute("action"); // one dialog for whichever turn is open
  const isKept = kind === "message" || kind === "choice";
  const fields = fieldsOf(form, submitter);
  const answer = await outbox.send(url, fields, { keep: isKept ? `${work}:${kind}` : "" });
  delete form.dataset.busy;
  settleAnswer(kind, answer, { said, fields });
}

function settleAnswer(kind, answer, { said, fields }) {
  const isDone = answer.status < 300;
  if (isDone) drafts.taken(work, dock(), fields);
  if (isDone && ["choice", "pass", "skip"].includes(kind)) drafts.forgetPicks(work, dock());
  if (isDone && ["choice", "pass"].includes(kind)) activity.begin();
  if (isDone && kind === "message") activity.beginAll();
  if (answer.body.stage) arrive(answer.body);
  if (answer.body.said) announce(answer.body.said);
  if (isDone) { moves[kind]?.(said); return; }
  const isElsewhere = ["went_on", "already_judged"].includes(answer.body.error) && talk.dataset.conversation; // a page that is behind
  const sentence = isElsewhere ? words.otherTab : answer.body.message ?? words.broken;
  line(sentence, { wayOut: answer.body.way_out });
  alertUrgently(sentence);
}

function mayChoose() {
  if (!strip.picked()) { strip.say(words.pickFirst); announce(words.pickFirst); return false; }
  if (!cover.isEverythingShown()) { strip.say(words.showBoth); alertUrgently(words.showBoth); return false; }
  return true;
}

document.addEventListener("submit", (event) => {
  const spent = event.target.closest("#end-dialog")?.querySelector("[name=active_milliseconds]");
  if (spent) spent.value = activity.all();
  if (!event.target.dataset.send) return;
  event.preventDefault();
  submit(event.target, event.submitter);
});

function press(selector) {
  const button = document.querySelector(selector);
  if (!button || button.closest("[hidden]")) return false;
  button.click();
  return true;
}

let pausedAt = null;
let pausedTop = 0;

function pause(value) {
  if (!document.getElementById("pause-cover") || dock().dataset.dock === "ended") return false;
  if (value) { pausedAt = document.activeElement; pausedTop = window.scrollY; }
  activity.pause(value);
  document.getElementById("stage").hidden = value;
  document.getElementById("pause-cover").hidden = !value;
  if (value) { announce(words.paused); document.querySelector("[data-action=go-on]").focus(); return true; }
  if (document.contains(pausedAt)) pausedAt.focus({ preventScroll: true });
  window.scrollTo({ top: pausedTop, behavior: "instant" }); // the page was as short as its cover meanwhile
  return true;
}

function reason() {
  const details = document.getElementById("reason");
  if (!details) return false;
  details.open = !details.open;
  if (details.open) details.querySelector("input").focus();
  return true;
}

function closeReason(from) {
  const details = document.getElementById("reason");
  if (!details?.open || (from.matches("textarea, input[type=text]") && !details.contains(from))) return false;
  if (details.contains(from)) from.blur();
  details.open = false;
  return true;
}

function end() {
  const open = ["strip", "waiting", "held", "failed"].includes(dock().dataset.dock);
  if (open) { line(words.chooseFirst); alertUrgently(words.chooseFirst); }
  const unsent = document.querySelector("#end-dialog [data-unsent]");
  if (unsent) unsent.hidden = !document.getElementById("message")?.value.trim();
  return open;
}

const actions = {
  pick: (value) => strip.pick(value),
  move: (direction) => strip.step(direction),
  choose: () => { if (!strip.strip()) return press("main [data-action=next]"); strip.strip().requestSubmit(strip.strip().querySelector("[data-choose]")); return true; },
  send: (box) => { box.form?.dataset.send && box.form.requestSubmit(); },
  both_bad: () => press("#dock [data-action-box=both_bad]"),
  reason,
  close: closeReason,
  skip: () => press("#dock [data-action=skip]"),
  flag: () => { if (!dock().dataset.flagUrl) return false; openDialog(document.getElementById("flag-dialog")); return true; },
  stop: () => press("#dock [data-action=stop]"),
  show: () => cover.showNext(),
  message: () => { focusMessage(); return Boolean(document.getElementById("message")); },
  undo: () => press("#turns section:last-child [data-action=undo]"),
  instructions: () => { const dialog = document.getElementById("instructions-dialog"); return dialog ? openDialog(dialog) : press("main a[data-action=instructions]"); },
  pause: () => pause(!activity.paused()),
  keys: () => { openDialog(document.getElementById("keys-dialog")); },
};
listen(actions, { isPaused: activity.paused });

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-open-dialog=end-dialog]") && end()) { event.preventDefault(); event.stopPropagation(); return; }
  const button = event.target.closest("[data-action], [data-copy]");
  if (!button) return;
  if (button.dataset.action === "reason") reason();
  else if (button.dataset.action === "pause") pause(true);
  else if (button.dataset.action === "go-on") pause(false);
  else if (button.dataset.action === "see-b") document.querySelector(".turn.open [data-side=B]")?.scrollIntoView({ block: "start" });
  else if (button.dataset.copy) copy(button.dataset.copy);
}, true);

async function copy(side) {
  const text = document.querySelector(`.turn.open [data-side="${side}"] [data-text]`)?.innerText ?? "";
  await navigator.clipboard.writeText(text);
  announce(words.copied);
}

async function sendLeftovers() {
  for (const kind of ["message", "choice"]) {
    const keep = `${work}:${kind}`;
    const item = outbox.unsent(keep);
    if (item) settleAnswer(kind, await outbox.send(item.url, item.fields, { keep }), { said: "", fields: item.fields });
  }
}

const wide = matchMedia("(min-width: 56.01rem)");
const fold = () => { const panel = document.getElementById("panel"); if (panel) panel.open = wide.matches; };
wide.addEventListener("change", fold);
fold();
if (talk.dataset.conversation) activity.keepAs(talk.dataset.conversation);
settleSent();
label();
for (const node of document.querySelectorAll("button[data-action][hidden]")) node.hidden = false;
settle();
drafts.attachComment(document.querySelector("[data-comment]"), talk.dataset.conversation);
outbox.showStatus();
strip.show();
follow();
if (performance.getEntriesByType("navigation")[0]?.type === "navigate" && document.querySelectorAll("#turns > section").length > 1) {
  lastTurn().scrollIntoView({ block: "start", behavior: "instant" });
}
if (document.getElementById("start-turn") && matchMedia("(pointer: fine)").matches && !document.querySelector("dialog[open]")) focusMessage();
sendLeftovers();
if (outbox.isBehind()) refresh();
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && !stream && !outbox.hasUnsent()) refresh();
});
window.addEventListener("pageshow", (event) => { if (event.persisted) refresh(); });
