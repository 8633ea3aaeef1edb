// The staff's status strip: what does not answer, or what is under way, asked every 15 s while the tab is seen.
// Knows one address and its counts; sentences come from the strip's own data attributes.
const strip = document.getElementById("status-strip");
const said = strip?.dataset ?? {};

const counted = (n, one, many) => n === 1 ? one : many.replace("{n}", n);

const clock = { hour: "2-digit", minute: "2-digit" };
const dayAndClock = { day: "numeric", month: "short", ...clock };

function sinceWhen(at) {
  if (!at) return said.models;
  const since = new Date(at);
  const isToday = since.toDateString() === new Date().toDateString();
  const time = since.toLocaleString(document.documentElement.lang, isToday ? clock : dayAndClock);
  return said.modelsSince.replace("{time}", time);
}

function sentence(status) {
  if (!status.database) return said.database;
  if (!status.redis) return said.redis;
  if (status.disk_free_bytes < 2e9) return said.disk;
  if (status.models_away) return sinceWhen(status.models_ready_at);
  if (status.background_stands) return said.background;
  if (status.runs_without_worker) return counted(status.runs_without_worker, said.worker, said.workers);
  const parts = [];
  if (status.turns_generating) parts.push(counted(status.turns_generating, said.turn, said.turns));
  if (status.runs_queued) parts.push(counted(status.runs_queued, said.run, said.runs));
  return parts.join(" · ");
}

async function look() {
  if (document.visibilityState !== "visible") return;
  try {
    const answer = await fetch(said.url, { credentials: "same-origin" });
    const text = sentence(await answer.json());
    if (strip.textContent !== text) strip.textContent = text;
  } catch {
    strip.textContent = said.away;
  }
}

if (strip && said.url) {
  look();
  setInterval(look, 15_000);
  document.addEventListener("visibilitychange", look);
}
