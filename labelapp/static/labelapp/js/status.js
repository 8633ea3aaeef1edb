// The staff's status strip: what does not answer, or what is under way, asked every 15 s while the tab is seen.
// Knows one address and its counts; sentences come from the strip's own data attributes.
const strip = document.getElementById("status-strip");
const said = strip?.dataset ?? {};

const counted = (n, one, many) => n === 1 ? one : many.replace("{n}", n);

function sentence(status) {
  if (!status.database) return said.database;
  if (!status.redis) return said.redis;
  if (status.disk_free_bytes < 2e9) return said.disk;
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
