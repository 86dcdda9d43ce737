// Parallel coordinates: a line for each trial, axes that are brushed with a pointer or by numbers.
import { colour, onColours } from "./base.js";

const TOP = 34, BOTTOM = 20, SIDE = 46, NEAR = 22, LEAST = 4, NARROWEST = 76, FEW = 6, SHADES = 5, TOGETHER = 40, DOT = 3, APART = 3, WIDEST = 12;

export class Parallel {
  constructor(element, changed) {
    this.element = element;
    this.canvas = element.querySelector("canvas");
    this.changed = changed;
    this.data = null;
    this.brush = {};
    this.drag = null;
    element.addEventListener("pointerdown", (event) => this.begin(event));
    element.addEventListener("pointermove", (event) => this.move(event));
    element.addEventListener("pointerup", () => this.end());
    element.addEventListener("pointercancel", () => this.end());
    new ResizeObserver(() => this.draw()).observe(element);
    onColours(() => this.draw());
  }

  show(data) {
    this.data = data;
    for (const axis of data.axes) Object.assign(axis, scaleOf(axis));
    const params = data.axes.filter((axis) => axis.key !== "value");
    const shifts = apart(data, params), ofValue = apart(data, data.axes);
    for (const axis of data.axes) axis.shifts = axis.key === "value" ? ofValue : shifts;
    this.element.style.minWidth = `${NARROWEST * data.axes.length}px`;
    this.draw();
  }

  setBrush(brush) {
    this.brush = brush;
    this.draw();
  }

  // ---- what is chosen

  kept(index) {
    return this.data.axes.every((axis) => {
      const range = this.brush[axis.key];
      if (!range) return true;
      const value = axis.column[index];
      if (value === null) return false;
      if (range.values) return range.values.includes(axis.words[value]);
      return value >= range.low && value <= range.high;
    });
  }

  // ---- drawing

  get places() {
    const { clientWidth: width } = this.element, count = this.data.axes.length;
    return this.data.axes.map((_, index) => (count === 1 ? width / 2 : SIDE + (index * (width - 2 * SIDE)) / (count - 1)));
  }

  y(axis, value) {
    const height = this.element.clientHeight - TOP - BOTTOM;
    return TOP + height * (1 - axis.part(value));
  }

  draw() {
    if (!this.data || !this.element.clientWidth) return;
    const { element, canvas, data } = this;
    const ratio = devicePixelRatio || 1, width = element.clientWidth, height = element.clientHeight;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const xs = this.places, last = data.axes.at(-1);
    const chosen = [], others = [];
    data.numbers.forEach((_, index) => (this.kept(index) ? chosen : others).push(index));
    if (others.length) {
      pen.globalAlpha = Math.max(0.05, Math.min(0.35, 60 / others.length));
      pen.strokeStyle = colour("line-off");
      this.lines(pen, others, xs);
    }
    for (const [shade, members] of this.shades(chosen)) {
      pen.globalAlpha = Math.max(0.035, Math.min(0.85, 120 / Math.max(1, members.length)));
      pen.strokeStyle = colour(shade);
      this.lines(pen, members, xs);
    }
    pen.globalAlpha = 1;
    data.axes.forEach((axis, index) => this.axis(pen, axis, xs[index], width, xs));
    this.count = [chosen.length, data.numbers.length];
    element.setAttribute("role", "img");
    element.setAttribute("aria-label", `Parameters of ${data.numbers.length} trials; ${chosen.length} lie within the chosen ranges.`);
  }

  // The chosen trials in five groups, the best last: it is drawn on top.
  shades(chosen) {
    const { axes, maximize } = this.data, last = axes.at(-1);
    const value = (index) => (last && last.key === "value" ? last.column[index] : null);
    const groups = [["line-off", chosen.filter((index) => value(index) === null)]];
    const known = chosen.filter((index) => value(index) !== null).sort((a, b) => (maximize ? 1 : -1) * (value(a) - value(b)));
    const bound = (shade) => known.length - Math.ceil(((SHADES - shade) * known.length) / SHADES); // the best one always has the last shade
    for (let shade = 0; shade < SHADES; shade += 1) groups.push([`value-${shade}`, known.slice(bound(shade), bound(shade + 1))]);
    return groups.filter(([, members]) => members.length);
  }

  lines(pen, indices, xs) {
    const axes = this.data.axes;
    pen.lineWidth = 1;
    pen.beginPath();
    let count = 0;
    for (const index of indices) {
      // Lines of one path do not add up where they cross, and a path of thousands of lines is slow.
      if (count++ % TOGETHER === TOGETHER - 1) { pen.stroke(); pen.beginPath(); }
      const has = (place) => (axes[place]?.column[index] ?? null) !== null;
      axes.forEach((axis, place) => {
        if (!has(place)) return;
        const x = xs[place], y = this.y(axis, axis.column[index]) + axis.shifts[index];
        if (has(place - 1)) pen.lineTo(x, y);
        else if (has(place + 1)) pen.moveTo(x, y);
        else { pen.moveTo(x + DOT, y); pen.arc(x, y, DOT, 0, 2 * Math.PI); } // no line goes on from here
      });
    }
    pen.stroke();
  }

  axis(pen, axis, x, width, xs) {
    const bottom = this.element.clientHeight - BOTTOM, ink = colour("soft");
    pen.strokeStyle = colour("axis");
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(x, TOP);
    pen.lineTo(x, bottom);
    pen.stroke();
    const range = this.brush[axis.key];
    if (range) {
      const [from, to] = this.pixels(axis, range);
      pen.fillStyle = colour("accent");
      pen.globalAlpha = 0.25;
      pen.fillRect(x - 8, from, 16, Math.max(3, to - from));
      pen.globalAlpha = 1;
      pen.strokeStyle = colour("accent");
      pen.strokeRect(x - 8, from, 16, Math.max(3, to - from));
    }
    const room = xs.length > 1 ? xs[1] - xs[0] - 8 : width;
    pen.font = "600 12px system-ui, sans-serif";
    pen.fillStyle = colour("ink");
    pen.textAlign = "left";
    const name = cut(pen, axis.name, room), half = pen.measureText(name).width / 2;
    pen.fillText(name, Math.min(Math.max(2, x - half), width - 2 * half - 2), 14);
    pen.font = "11px system-ui, sans-serif";
    pen.textAlign = "left";
    for (const [value, text] of axis.ticks) {
      const y = this.y(axis, value), words = cut(pen, text, Math.min(96, room - 8));
      const wide = pen.measureText(words).width, left = x + 5;
      pen.globalAlpha = 0.8;
      pen.fillStyle = colour("card");
      pen.fillRect(left - 1, y - 7, wide + 3, 13);
      pen.globalAlpha = 1;
      pen.fillStyle = ink;
      pen.fillText(words, left, y + 4);
    }
  }

  pixels(axis, range) {
    if (range.values) {
      const places = range.values.map((word) => axis.words.indexOf(word)).filter((place) => place >= 0);
      const half = axis.words.length > 1 ? (this.y(axis, 0) - this.y(axis, 1)) / 2 : 12;
      return [this.y(axis, Math.max(...places)) - half, this.y(axis, Math.min(...places)) + half];
    }
    const clip = (value) => Math.min(axis.high, Math.max(axis.low, value));
    return [this.y(axis, clip(range.high)), this.y(axis, clip(range.low))];
  }

  // ---- brushing with a pointer

  begin(event) {
    if (!this.data) return;
    const box = this.element.getBoundingClientRect(), x = event.clientX - box.left;
    const place = this.places.findIndex((at) => Math.abs(at - x) < NEAR);
    if (place < 0) return;
    this.element.setPointerCapture(event.pointerId);
    this.drag = { axis: this.data.axes[place], from: event.clientY - box.top, to: event.clientY - box.top };
    event.preventDefault();
  }

  move(event) {
    const box = this.element.getBoundingClientRect();
    if (!this.drag) {
      const near = this.data && this.places.some((at) => Math.abs(at - (event.clientX - box.left)) < NEAR);
      this.element.classList.toggle("near", Boolean(near));
      return;
    }
    this.drag.to = event.clientY - box.top;
    const range = this.range();
    this.brush = { ...this.brush };
    if (range) this.brush[this.drag.axis.key] = range; else delete this.brush[this.drag.axis.key];
    this.draw();
  }

  end() {
    if (!this.drag) return;
    const range = this.range(), brush = { ...this.brush };
    if (range) brush[this.drag.axis.key] = range; else delete brush[this.drag.axis.key];
    this.drag = null;
    this.brush = brush;
    this.draw();
    this.changed(brush);
  }

  range() {
    const { axis, from, to } = this.drag;
    const [top, bottom] = [Math.min(from, to), Math.max(from, to)];
    if (bottom - top < LEAST) return null;
    if (axis.words.length) {
      const values = axis.words.filter((_, place) => { const y = this.y(axis, place); return y >= top - 6 && y <= bottom + 6; });
      return values.length ? { values } : null;
    }
    const height = this.element.clientHeight - TOP - BOTTOM, part = (y) => Math.min(1, Math.max(0, 1 - (y - TOP) / height));
    // The ends of an axis are its extremes exactly, so that a brush up to the end loses none to rounding.
    const value = (share) => (share <= 0 ? axis.low : share >= 1 ? axis.high : axis.at(share));
    return { low: rounded(value(part(bottom)), Math.floor), high: rounded(value(part(top)), Math.ceil) };
  }
}

// Trials that are equal on these axes lie side by side, or two of them would look like one.
function apart(data, axes) {
  const groups = new Map(), shifts = new Float32Array(data.numbers.length);
  data.numbers.forEach((_, index) => {
    const line = axes.map((axis) => axis.column[index]).join();
    if (groups.has(line)) groups.get(line).push(index); else groups.set(line, [index]);
  });
  for (const group of groups.values()) {
    const step = Math.min(APART, WIDEST / group.length);
    group.forEach((index, place) => { shifts[index] = (place - (group.length - 1) / 2) * step; });
  }
  return shifts;
}

function rounded(value, way) {
  if (!value) return value;
  const size = 10 ** (4 - Math.ceil(Math.log10(Math.abs(value))));
  return Number((way(value * size) / size).toPrecision(6));
}

function scaleOf(axis) {
  if (axis.words.length) {
    const most = Math.max(1, axis.words.length - 1);
    const every = Math.ceil(axis.words.length / 12);
    return {
      low: 0, high: axis.words.length - 1, part: (value) => (axis.words.length === 1 ? 0.5 : value / most), at: (share) => share * most,
      ticks: axis.words.map((word, place) => [place, word]).filter(([place]) => place % every === 0),
    };
  }
  const known = axis.column.filter((value) => value !== null);
  const low = known.reduce((a, b) => Math.min(a, b), Infinity), high = known.reduce((a, b) => Math.max(a, b), -Infinity);
  if (!known.length) return { low: 0, high: 1, part: () => 0.5, at: () => 0, ticks: [] };
  if (low === high) return { low, high, part: () => 0.5, at: () => low, ticks: [[low, text(low)]] };
  const to = axis.log ? Math.log10 : (value) => value, back = axis.log ? (value) => 10 ** value : (value) => value;
  const at = (share) => back(to(low) + share * (to(high) - to(low)));
  const different = new Set(known);
  const values = different.size <= FEW ? [...different] : [0, 0.25, 0.5, 0.75, 1].map(at);
  return { low, high, at, part: (value) => (to(value) - to(low)) / (to(high) - to(low)), ticks: values.map((value) => [value, text(value)]) };
}

export function text(value) {
  if (value && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5)) return value.toExponential(1).replace(".0", "").replace("+", "");
  return Number(value.toPrecision(3)).toString();
}

function cut(pen, words, room) {
  if (pen.measureText(words).width <= room) return words;
  let kept = words;
  while (kept.length > 1 && pen.measureText(`${kept}…`).width > room) kept = kept.slice(0, -1);
  return `${kept}…`;
}
