// The map: the codes of rows in the plane of two components, and the code that is being decoded.

import { colorOf, formatted, make } from "./elements.js";

const NEAR = 14; // pixels from a point within which a click selects its row

export class CodeMap {
  /** `colors` has a color for each row of the file; `onMove(x, y)` and `onPick(row)` are called on input. */
  constructor({ colors, onMove, onPick }) {
    Object.assign(this, { colors, onMove, onPick, axes: [0, 0], codes: [], reach: 3 });
    this.canvas = make("canvas", {
      class: "map",
      tabindex: "0",
      role: "application",
      "aria-label": "Map of the codes. Arrow keys move the code, with Shift in larger steps; Enter selects the nearest row.",
      pointerdown: (event) => this.press(event),
      pointermove: (event) => this.drag(event),
      pointerup: (event) => this.release(event),
      keydown: (event) => this.key(event),
    });
    this.size = 0; // read only when it changes, because reading it forces a layout of the page
    new ResizeObserver(() => {
      this.size = this.canvas.clientWidth;
      this.draw();
    }).observe(this.canvas);
  }

  /** Show the codes of all rows, the code that is being decoded, and the selected row. */
  show({ codes, code, row, axes }) {
    Object.assign(this, { codes, code, row, axes });
    const farthest = codes.reduce((most, one) => Math.max(most, ...axes.map((j) => Math.abs(one[j]))), 2.2);
    this.reach = 1.08 * farthest;
    this.draw();
  }

  toPixels([x, y]) {
    const half = this.size / 2;
    return [half + (x / this.reach) * half, half - (y / this.reach) * half];
  }

  toCode(event) {
    const [box, half] = [this.canvas.getBoundingClientRect(), this.size / 2];
    const [x, y] = [event.clientX - box.left - this.canvas.clientLeft, event.clientY - box.top - this.canvas.clientTop];
    return [(x / half - 1) * this.reach, (1 - y / half) * this.reach];
  }

  pixelsOf(code) {
    return this.toPixels(this.axes.map((j) => code[j]));
  }

  draw() {
    if (!this.size || !this.codes.length) return;
    const density = globalThis.devicePixelRatio || 1;
    this.canvas.width = this.canvas.height = Math.round(this.size * density);
    const pen = this.canvas.getContext("2d");
    pen.scale(density, density);
    this.drawPrior(pen);
    const edge = colorOf("muted"); // no color of a row has contrast on both white and black
    this.codes.forEach((code, i) => dot(pen, this.pixelsOf(code), 3.2, this.colors[i] ?? colorOf("ink"), edge));
    this.drawPriorLabels(pen);
    if (this.row !== null) ring(pen, this.pixelsOf(this.codes[this.row]), 7, colorOf("ink"), 2);
    if (this.code) this.drawCode(pen);
  }

  drawPrior(pen) {
    const [middle] = this.toPixels([0, 0]);
    for (const sigma of [1, 2]) ring(pen, [middle, middle], (sigma / this.reach) * middle, colorOf("line"), 1.5);
  }

  /** Name the circles of the prior, on a halo that keeps the names readable over points. */
  drawPriorLabels(pen) {
    Object.assign(pen, { font: "12px system-ui, sans-serif", fillStyle: colorOf("ink"), strokeStyle: colorOf("paper"), lineWidth: 4 });
    for (const sigma of [1, 2]) {
      const [x, y] = this.toPixels([sigma * Math.SQRT1_2, sigma * Math.SQRT1_2]);
      pen.strokeText(`${sigma}\u03c3`, x + 3, y - 3);
      pen.fillText(`${sigma}\u03c3`, x + 3, y - 3);
    }
  }

  drawCode(pen) {
    const [x, y] = this.pixelsOf(this.code);
    for (const [color, width] of [[colorOf("paper"), 5], [colorOf("model"), 2.5]]) {
      ring(pen, [x, y], 9, color, width);
      pen.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        pen.moveTo(x + 5 * dx, y + 5 * dy);
        pen.lineTo(x + 15 * dx, y + 15 * dy);
      }
      pen.stroke();
    }
  }

  press(event) {
    this.pressed = { x: event.clientX, y: event.clientY, dragged: false };
    this.canvas.setPointerCapture(event.pointerId);
  }

  drag(event) {
    if (!this.pressed) return;
    const { x, y } = this.pressed;
    this.pressed.dragged ||= Math.hypot(event.clientX - x, event.clientY - y) > 4;
    if (this.pressed.dragged) this.onMove(...this.toCode(event));
  }

  release(event) {
    if (this.pressed && !this.pressed.dragged) {
      const row = this.nearest(this.toPixels(this.toCode(event)), NEAR);
      if (row === null) this.onMove(...this.toCode(event));
      else this.onPick(row);
    }
    this.pressed = null;
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return; // the browser's own keys
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const size = event.shiftKey ? 0.5 : 0.1;
    if (steps[event.key]) {
      const [x, y] = this.axes.map((j) => this.code[j]);
      this.onMove(x + size * steps[event.key][0], y + size * steps[event.key][1]);
    } else if (event.key === "Enter") {
      this.onPick(this.nearest(this.pixelsOf(this.code), Infinity));
    } else {
      return;
    }
    event.preventDefault();
  }

  /** The row nearest to a position in pixels, or null if none is closer than `within`. */
  nearest([x, y], within) {
    let [best, found] = [within, null];
    this.codes.forEach((code, i) => {
      const [px, py] = this.pixelsOf(code);
      const distance = Math.hypot(px - x, py - y);
      if (distance < best) [best, found] = [distance, i];
    });
    return found;
  }
}

function ring(pen, [x, y], radius, color, width) {
  pen.strokeStyle = color;
  pen.lineWidth = width;
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.stroke();
}

function dot(pen, [x, y], radius, color, edge) {
  Object.assign(pen, { fillStyle: color, strokeStyle: edge, lineWidth: 0.75 });
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.fill();
  pen.stroke();
}

/** Legend of the colors: names of classes, or the ends of a scale. */
export function legendOf({ name, classes, scale }) {
  const title = name ? [make("strong", {}, `${name}: `)] : [];
  if (scale) {
    const strip = make("span", { class: "scale", "aria-hidden": "true" });
    strip.style.background = `linear-gradient(to right, ${scale.colors.join(", ")})`;
    return make("p", { class: "legend" }, ...title, formatted(scale.low), strip, formatted(scale.high));
  }
  return make(
    "p",
    { class: "legend" },
    ...title,
    ...classes.map(({ name: label, color }) => {
      const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
      swatch.style.background = color;
      return make("span", { class: "class" }, swatch, label);
    }),
  );
}
