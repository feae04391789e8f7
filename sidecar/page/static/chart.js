// The chart: head, latest and finalized over the last hour, drawn as SVG, and as a table.

import { clock, number, set } from "./view.js";

const LINES = ["latest", "finalized", "head"];
const HOUR = 3600;
// The shortest time that the chart shows, in seconds.
const LEAST = 60;
// A pause in the samples that is drawn as one, in seconds.
const GAP = 20;
// More points than that cannot be distinguished.
const DETAIL = 400;
const ROWS = 12;
const MARGIN = { top: 8, right: 4, bottom: 24, left: 8 };

const by = (id) => document.getElementById(id);

export class Chart {
  #points = [];
  #plot = by("plot");
  #details = by("chart-details");
  #pointer = null;

  constructor() {
    new ResizeObserver(() => this.draw()).observe(this.#plot);
    this.#details.addEventListener("toggle", () => this.#fillTable());
    this.#plot.addEventListener("pointermove", (event) => this.#point(event.offsetX));
    this.#plot.addEventListener("pointerleave", () => this.#point(null));
  }

  // The sidecar's history around what the page has seen by itself.
  addHistory(samples) {
    const older = samples.map(([at, head, latest, finalized]) => ({ at, head, latest, finalized }));
    const first = this.#points[0]?.at ?? Infinity;
    const last = this.#points.at(-1)?.at ?? -Infinity;
    this.#points = [
      ...older.filter((point) => point.at < first),
      ...this.#points,
      ...older.filter((point) => point.at > last && point.at > first),
    ];
    this.draw();
  }

  add(point) {
    if (LINES.every((line) => point[line] === null)) return;
    // A clock that stepped back.
    while (this.#points.length > 0 && this.#points.at(-1).at >= point.at) this.#points.pop();
    const span = point.at - (this.#points[0]?.at ?? point.at);
    const before = this.#points.at(-2);
    if (before && point.at - before.at < span / DETAIL) this.#points.pop();
    this.#points.push(point);
    this.#points = this.#points.filter(({ at }) => at >= point.at - HOUR);
    this.draw();
  }

  draw() {
    const last = this.#points.at(-1);
    this.#plot.hidden = !last;
    by("chart-empty").hidden = Boolean(last);
    const { clientWidth: width, clientHeight: height } = this.#plot;
    if (!last || width === 0) return;
    const scale = this.#scale(width, height);
    const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
    svg.append(...grid(scale, width, height));
    svg.append(element("path", { class: "gain", d: this.#area(scale) }));
    for (const line of LINES) {
      svg.append(element("path", { class: line, d: this.#path(scale, line) }));
    }
    const chosen = this.#nearest(scale);
    if (chosen) {
      const x = scale.x(chosen.at);
      svg.append(element("path", { class: "cursor", d: `M${x},${MARGIN.top}V${height - MARGIN.bottom}` }));
    }
    this.#plot.replaceChildren(svg);
    const shown = chosen ?? last;
    set("chart-time", chosen ? clock(chosen.at) : "");
    for (const line of LINES) set(`chart-${line}`, number(shown[line]));
    if (this.#details.open) this.#fillTable();
  }

  #scale(width, height) {
    const last = this.#points.at(-1).at;
    const start = Math.min(this.#points[0].at, last - LEAST);
    const values = this.#points.flatMap((point) => LINES.map((line) => point[line])).filter((value) => value !== null);
    let low = values.reduce((a, b) => Math.min(a, b));
    let high = values.reduce((a, b) => Math.max(a, b));
    // Beyond 2^53 one more may be the same number: the range must never be empty, whatever a node says.
    const room = Math.max((high - low) * 0.05, 1, high * 1e-12);
    [low, high] = [Math.max(low - room, 0), high + room];
    const right = width - MARGIN.right;
    const bottom = height - MARGIN.bottom;
    return {
      low, high, start, last,
      x: (at) => round(MARGIN.left + ((at - start) / (last - start)) * (right - MARGIN.left)),
      y: (value) => round(bottom - ((value - low) / (high - low)) * (bottom - MARGIN.top)),
    };
  }

  #path(scale, line) {
    let path = "";
    let before = -Infinity;
    for (const point of this.#points) {
      if (point[line] === null) continue;
      path += `${point.at - before > GAP ? "M" : "L"}${scale.x(point.at)},${scale.y(point[line])}`;
      before = point.at;
    }
    return path;
  }

  // What the head gives beyond the node's own finality.
  #area(scale) {
    const runs = [];
    let before = -Infinity;
    for (const point of this.#points) {
      if (point.head === null || point.finalized === null) continue;
      if (point.at - before > GAP) runs.push([]);
      runs.at(-1).push(point);
      before = point.at;
    }
    const corner = (line) => (point) => `${scale.x(point.at)},${scale.y(point[line])}`;
    return runs
      .map((run) => `M${[...run.map(corner("head")), ...run.reverse().map(corner("finalized"))].join("L")}Z`)
      .join("");
  }

  #point(x) {
    this.#pointer = x;
    this.draw();
  }

  #nearest(scale) {
    if (this.#pointer === null) return null;
    const distance = (point) => Math.abs(scale.x(point.at) - this.#pointer);
    return this.#points.reduce((best, point) => (distance(point) < distance(best) ? point : best));
  }

  #fillTable() {
    const points = this.#points;
    const step = Math.max(1, (points.length - 1) / (ROWS - 1));
    const chosen = [];
    for (let place = points.length - 1; place > -0.5; place -= step) chosen.push(points[Math.round(place)]);
    const rows = chosen.map(({ at, head, latest, finalized }) => {
      const row = document.createElement("tr");
      for (const text of [clock(at), number(head), number(latest), number(finalized)]) {
        const cell = document.createElement("td");
        cell.textContent = text;
        row.append(cell);
      }
      return row;
    });
    by("chart-rows").replaceChildren(...rows);
  }
}

function grid(scale, width, height) {
  const marks = [];
  for (const value of ticks(scale.low, scale.high, 4)) {
    const y = scale.y(value);
    marks.push(element("path", { class: "grid", d: `M${MARGIN.left},${y}H${width - MARGIN.right}` }));
    marks.push(label(number(value), MARGIN.left, y - 5, "start"));
  }
  const times = width < 480 ? 2 : 4;
  for (let index = 0; index <= times; index += 1) {
    const at = scale.start + ((scale.last - scale.start) * index) / times;
    const anchor = index === 0 ? "start" : index === times ? "end" : "middle";
    marks.push(label(clock(at), scale.x(at), height - 6, anchor));
  }
  return marks;
}

// Round numbers between two bounds.
function ticks(low, high, count) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = Math.max(1, [1, 2, 5, 10].find((factor) => factor * power >= raw) * power);
  const values = [];
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) values.push(value);
  return values;
}

function label(text, x, y, anchor) {
  const mark = element("text", { x, y, "text-anchor": anchor });
  mark.textContent = text;
  return mark;
}

function element(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function round(value) {
  return Math.round(value * 10) / 10;
}
