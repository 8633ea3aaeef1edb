// Curves of several runs in one picture: reads each [data-run-rows] once and draws each [data-compare="metric"].
// Knows rows and figures; the table beside says what the runs are.
import { drawCurve, emptyBox } from "./curve.js";

async function rowsOf(url) {
  const rows = [];
  let offset = 0;
  for (;;) {
    const answer = await fetch(`${url}?offset=${offset}`, { headers: { Accept: "application/json" } });
    if (!answer.ok) return rows;
    const body = await answer.json();
    if (!body.rows.length || body.offset <= offset) return rows;
    rows.push(...body.rows);
    offset = body.offset;
  }
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

async function draw() {
  const runs = await Promise.all([...document.querySelectorAll("[data-run-rows]")].map(async (node) => (
    { name: node.textContent.trim(), rows: await rowsOf(node.dataset.runRows) })));
  for (const figure of document.querySelectorAll("[data-compare]")) {
    const metric = figure.dataset.compare;
    const lines = runs.map((run) => ({
      name: run.name,
      points: run.rows.filter((row) => isNumber(row[metric])).map((row) => [row.step, row[metric]]),
    }));
    figure.hidden = !lines.some((line) => line.points.length);
    if (figure.hidden) continue;
    const place = document.createElement("div");
    figure.prepend(place);
    const title = figure.querySelector("figcaption").textContent;
    const width = Math.max(240, place.clientWidth);
    place.append(drawCurve({ lines, box: emptyBox(), width, title, xLabel: figure.dataset.xLabel ?? "" }).svg);
  }
}

draw();
