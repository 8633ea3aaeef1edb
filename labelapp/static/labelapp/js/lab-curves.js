// Live curves of a run: asks [data-rows-url] for new rows every 2 s while the page is seen, draws each
// [data-curve="metric,metric"]. Data attributes: data-names (line names), data-against (x metric).
// `h` freezes the curves. Knows rows and figures; nothing is smoothed and nothing is left out.
import { announce } from "./announcer.js";
import { drawCurve, emptyBox, short } from "./curve.js";

const EVERY = 2000;
const board = document.querySelector("[data-rows-url]");
const rows = [];
let offset = 0, isOver = false, isHeld = false, isBusy = false, wasLive = false;
let isWaiting = board?.hasAttribute("data-is-waiting") ?? false; // for a worker: nothing is read yet

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

const figures = [...document.querySelectorAll("[data-curve]")].map((figure) => {
  const metrics = figure.dataset.curve.split(",");
  const names = figure.dataset.names?.split(",");
  const place = document.createElement("div");
  const readout = document.createElement("p");
  readout.className = "readout hint";
  figure.prepend(place, readout);
  const made = { figure, place, readout, names, metrics, against: figure.dataset.against, box: emptyBox(), lines: [] };
  place.addEventListener("pointermove", (event) => read(made, event));
  place.addEventListener("pointerleave", () => read(made));
  return made;
});

const lastPart = (metric) => metric.split("/").at(-1).replaceAll("_", " ");

function spread(metrics) {  // "held_out/*" stands for every metric that begins so
  return metrics.flatMap((metric) => {
    if (!metric.endsWith("*")) return [metric];
    const start = metric.slice(0, -1);
    return [...new Set(rows.flatMap((row) => Object.keys(row).filter((key) => key.startsWith(start))))];
  });
}

function lines({ metrics, names, against }) {
  return spread(metrics).map((metric, index) => ({
    name: names?.[index] ?? lastPart(metric),
    points: rows
      .filter((row) => isNumber(row[metric]) && (!against || isNumber(row[against])))
      .map((row) => [against ? row[against] : row.step, row[metric]]),
  }));
}

function draw(figure) {
  figure.lines = lines(figure);
  if (!figure.lines.some((line) => line.points.length)) {
    figure.figure.hidden = rows.length > 0 && isOver;
    figure.place.textContent = (isWaiting ? board.dataset.waiting : board.dataset.nothingYet) ?? "";
    return;
  }
  const width = Math.max(240, figure.place.clientWidth);
  const title = figure.figure.querySelector("figcaption")?.textContent ?? "";
  const xLabel = figure.figure.dataset.xLabel ?? board.dataset.stepWord ?? "";
  const drawn = drawCurve({ lines: figure.lines, box: figure.box, width, title, xLabel, dots: Boolean(figure.against) });
  figure.px = drawn.px;
  figure.place.replaceChildren(drawn.svg);
  read(figure);
}

function read(figure, event) {
  const x = event && figure.px ? event.clientX - figure.place.getBoundingClientRect().left : Infinity;
  figure.readout.textContent = figure.lines.filter((line) => line.points.length).map((line) => {
    let nearest = line.points.at(-1);
    if (x !== Infinity) {
      for (const point of line.points) {
        if (Math.abs(figure.px(point[0]) - x) < Math.abs(figure.px(nearest[0]) - x)) nearest = point;
      }
    }
    const n = line.points.length;
    return `${line.name} ${short(nearest[1])} @ ${short(nearest[0])} (${n} ${n === 1 ? board.dataset.point : board.dataset.points})`;
  }).join(" · ");
}

function take(fresh) {
  for (const row of fresh) {  // a run that was resumed writes its newest steps again
    while (rows.length && rows.at(-1).step >= row.step) rows.pop();
    rows.push(row);
  }
  if (fresh.length && !isHeld) figures.forEach(draw);
}

async function ask() {
  if (isBusy || isOver || document.hidden) return;
  isBusy = true;
  try {
    const answer = await fetch(`${board.dataset.rowsUrl}?offset=${offset}`, { headers: { Accept: "application/json" } });
    if (!answer.ok) return;
    const body = await answer.json();
    if (body.offset < offset) rows.length = 0;
    offset = body.offset;
    if (isWaiting !== body.is_waiting) {
      isWaiting = body.is_waiting;
      figures.forEach(draw);
    }
    take(body.rows);
    if (body.is_over && !body.rows.length) end();
    else if (!body.is_over) wasLive = true;
    else setTimeout(ask, 50);
  } catch {
    return;  // the next look asks again; what is drawn stays
  } finally {
    isBusy = false;
  }
}

function end() {
  isOver = true;
  figures.forEach(draw);
  const over = document.getElementById("run-over");
  if (!wasLive || !over) return;
  over.hidden = false;
  announce(over.textContent.trim());
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "h" || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.closest("input, textarea, select, dialog")) return;
  isHeld = !isHeld;
  board.classList.toggle("held", isHeld);
  if (!isHeld) figures.forEach(draw);
});
if (board) {
  figures.forEach(draw);
  ask();
  setInterval(ask, EVERY);
  document.addEventListener("visibilitychange", ask);
  new ResizeObserver(() => { if (!isHeld && rows.length) figures.forEach(draw); }).observe(board);
}
