// Views of rows: as images, as sentences, or as a table of columns with bars.

import { bar, channels, colorOf, formatted, make } from "./elements.js";

/** Draw a row into a canvas, with one pixel for each number (or three, for colors). */
export function paint(canvas, row, { shape, low, high }) {
  const [height, width, depth = 1] = shape;
  [canvas.width, canvas.height] = [width, height];
  const [paper, ink] = [channels(colorOf("paper")), channels(colorOf("ink"))];
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const share = (k) => Math.min(Math.max((row[k] - low) / (high - low || 1), 0), 1) || 0;
  for (let pixel = 0; pixel < width * height; pixel++) {
    for (let c = 0; c < 3; c++) {
      image.data[4 * pixel + c] =
        depth === 3 ? 255 * share(3 * pixel + c) : paper[c] + share(pixel) * (ink[c] - paper[c]);
    }
    image.data[4 * pixel + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

function canvasOf(row, image, name) {
  const canvas = make("canvas", { role: "img", "aria-label": name });
  paint(canvas, row, image);
  return canvas;
}

/** Decoded, original and reconstruction as images. */
function imagesView(data) {
  const canvases = {};
  const figure = (key, caption) => {
    canvases[key] = make("canvas", { role: "img", "aria-label": caption });
    return make("figure", { class: key }, canvases[key], make("figcaption", {}, caption));
  };
  const element = make(
    "div",
    { class: "images" },
    figure("decoded", "decoded from the sliders"),
    figure("original", "original"),
    figure("reconstruction", "rebuilt"),
  );
  const show = (rows) => {
    for (const [key, row] of Object.entries(rows)) paint(canvases[key], row, data.image);
  };
  return { element, show, kind: "images", thumbnail: (row, name) => canvasOf(row, data.image, name) };
}

/** Decoded, original and reconstruction as sentences. */
function sentencesView() {
  const lines = {};
  const line = (key, caption) => {
    lines[key] = make("dd", key === "decoded" ? { "aria-live": "polite" } : {});
    return [make("dt", {}, caption), lines[key]];
  };
  const element = make(
    "dl",
    { class: "sentences" },
    ...line("decoded", "decoded from the sliders"),
    ...line("original", "original"),
    ...line("reconstruction", "rebuilt"),
  );
  const show = (rows) => {
    for (const [key, sentence] of Object.entries(rows)) lines[key].textContent = sentence || "(no word)";
  };
  return { element, show, kind: "sentences", thumbnail: (sentence) => make("span", {}, sentence || "(no word)") };
}

/** The text of a cell: a number, or the most probable category. */
function cellText(value, column) {
  if (!column.categories) return formatted(value);
  if (!Array.isArray(value)) return column.categories[value] ?? "missing";
  return column.categories[value.indexOf(Math.max(...value))];
}

/** Decoded, original and reconstruction as columns with bars. */
function tableView(data) {
  const { columns } = data.model;
  const cells = columns.map((column, j) => ({
    bars: make("div", { class: "bars" }),
    ...Object.fromEntries(["decoded", "original", "reconstruction"].map((key) => [key, make("td")])),
    place: (x) => (x - data.low[j]) / (data.high[j] - data.low[j] || 1),
  }));
  const line = (column, { bars, decoded, original, reconstruction }) =>
    make("tr", {}, make("th", { scope: "row" }, column.name, bars), decoded, original, reconstruction);
  const titles = ["column", "decoded", "original", "rebuilt"].map((title) => make("th", { scope: "col" }, title));
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...titles)), make("tbody", {}, ...columns.map((column, j) => line(column, cells[j]))));
  const element = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The row, column by column" }, table);
  const show = (rows) => {
    columns.forEach((column, j) => {
      for (const [key, row] of Object.entries(rows)) cells[j][key].textContent = cellText(row[j], column);
      const value = rows.decoded[j];
      cells[j].bars.replaceChildren(...(column.categories ? categoryBars(column, value) : [bar(cells[j].place(value))]));
    });
  };
  const thumbnail = (row) => make("span", {}, columns.slice(0, 4).map((column, j) => `${column.name} ${cellText(row[j], column)}`).join(", "));
  return { element, show, thumbnail, kind: "table" };
}

/** A bar for each category, with its name and probability. */
function categoryBars(column, probabilities) {
  return column.categories.map((name, i) =>
    make("span", { class: "chance" }, bar(probabilities[i]), make("span", {}, `${name} ${formatted(probabilities[i], 2)}`)),
  );
}

/** The view that fits the data. */
export function viewOf(data) {
  if (data.model.writer) return sentencesView();
  return data.image ? imagesView(data) : tableView(data);
}
