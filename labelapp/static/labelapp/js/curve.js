// One line chart as inline SVG: raw points, axes that only grow outwards, each line named at its end.
// Knows points and a box in pixels; knows neither runs nor where points come from.
const SVG = "http://www.w3.org/2000/svg";
const EDGE = { left: 46, right: 74, top: 10, bottom: 38 };
const HEIGHT = 200;

function make(name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

export function short(value) {
  const size = Math.abs(value);
  if (value !== 0 && (size >= 1e5 || size < 1e-3)) return value.toExponential(1);
  return String(Number(value.toPrecision(3)));
}

function ticks(low, high, { most, isWhole = false }) {
  const rough = isWhole ? Math.max(1, (high - low) / most) : (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const found = [];
  for (let place = Math.ceil(low / step - 1e-6); place * step <= high + step * 1e-6; place += 1) found.push(place * step);
  return found.map((at) => [at, label(at, step)]);
}

// As many decimals as tell one tick from the next.
function label(at, step) {
  const size = Math.max(Math.abs(at), step);
  if (size >= 1e5 || step < 1e-6) return short(at);
  return at.toFixed(Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
}

function grown(box, points) {
  for (const [x, y] of points) {
    box.x = [Math.min(box.x[0], x), Math.max(box.x[1], x)];
    box.y = [Math.min(box.y[0], y), Math.max(box.y[1], y)];
  }
  return box;
}

export const emptyBox = () => ({ x: [Infinity, -Infinity], y: [Infinity, -Infinity] });

function padded([low, high]) {
  const pad = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
  return [low - pad, high + pad];
}

// lines: [{name, points: [[x, y]…]}]; box: what was ever shown; dots: points without a line
export function drawCurve({ lines, box, width, title, xLabel, dots = false }) {
  grown(box, lines.flatMap((line) => line.points));
  if (dots) box.x[0] = Math.min(0, box.x[0]); // a distance is seen from its start
  const [low, x1] = padded(box.x), [y0, y1] = padded(box.y);
  const x0 = box.x[0] < 0 ? low : Math.max(0, low); // there is no step, and no distance, below 0
  const isNamed = lines.filter((line) => line.points.length).length > 1;  // one line is named by the caption
  const right = width - (isNamed ? EDGE.right : 12), bottom = HEIGHT - EDGE.bottom;
  const px = (x) => EDGE.left + ((x - x0) / (x1 - x0)) * (right - EDGE.left);
  const py = (y) => bottom - ((y - y0) / (y1 - y0)) * (bottom - EDGE.top);
  const svg = make("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", class: "curve" });
  svg.append(make("title", {}, title));
  for (const [y, words] of ticks(y0, y1, { most: 4 })) {
    svg.append(make("line", { class: "grid", x1: EDGE.left, x2: right, y1: py(y), y2: py(y) }));
    svg.append(make("text", { class: "tick", x: EDGE.left - 6, y: py(y) + 4, "text-anchor": "end" }, words));
  }
  for (const [x, words] of ticks(x0, x1, { most: Math.max(2, Math.floor(width / 90)), isWhole: !dots })) {
    svg.append(make("text", { class: "tick", x: px(x), y: bottom + 15, "text-anchor": "middle" }, words));
  }
  svg.append(make("line", { class: "axis", x1: EDGE.left, x2: right, y1: bottom, y2: bottom }));
  svg.append(make("text", { class: "tick", x: right, y: HEIGHT - 6, "text-anchor": "end" }, xLabel));
  const ends = [];
  lines.forEach((line, index) => {
    const at = line.points.map(([x, y]) => [px(x), py(y)]);
    const style = `series c${index + 1}`;
    if (dots || at.length < 3) {
      for (const [x, y] of at) svg.append(make("circle", { class: style, cx: x.toFixed(1), cy: y.toFixed(1), r: 3 }));
    }
    if (!dots) {
      const path = at.map(([x, y], place) => `${place ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
      svg.append(make("path", { class: style, d: path }));
    }
    if (at.length) ends.push({ y: at.at(-1)[1], x: at.at(-1)[0], line, index });
  });
  if (!isNamed) return { svg, px };
  ends.sort((a, b) => a.y - b.y);
  ends.reduce((above, end) => {  // names never cover each other
    const y = Math.max(end.y, above + 12);
    svg.append(make("text", { class: `name c${end.index + 1}`, x: right + 5, y: y + 4 }, end.line.name));
    return y;
  }, -Infinity);
  return { svg, px };
}
