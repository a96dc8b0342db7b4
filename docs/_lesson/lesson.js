// The lesson: a plain VAE and one for every tau side by side, in parts that the page puts in place.

import { logit, rowOf, sigmoid } from "./arrays.js";
import { CodeMap } from "./codemap.js";
import { formatted, make, moveByArrows } from "./elements.js";
import { Model } from "./model.js";
import { paint } from "./views.js";

const WORDS = {
  en: {
    plain: "plain VAE", every: "matched moments", digit: "digit", dial: "τ", most: "says most", least: "says least",
    component: "component", nats: "nats", rate: "rate", floor: "floor", distortion: "distortion", live: "live components",
    originals: "originals", rebuilt: "rebuilt", samples: "samples", ink: "Draw here, with the mouse or a finger. With the keyboard: arrow keys move the pen, Space inks.",
    clear: "clear", take: "take a digit", pad: "your digit", snapshot: "snapshot", of: "of", weight: "weight of the KL",
    map: "codes of 120 sentences", original: "original", kl: "KL of each component, largest first; the line is the floor",
  },
  zh: {
    plain: "普通 VAE", every: "矩匹配", digit: "数字", dial: "τ", most: "说得最多", least: "说得最少",
    component: "分量", nats: "nats", rate: "码率", floor: "下界", distortion: "失真", live: "活的分量",
    originals: "原图", rebuilt: "重构", samples: "采样", ink: "用鼠标或手指在这里画。用键盘：方向键移动笔，空格键落墨。",
    clear: "清空", take: "取一个数字", pad: "你画的数字", snapshot: "快照", of: "/", weight: "KL 的权重",
    map: "120 个句子的编码", original: "原句", kl: "各分量的 KL，从大到小；横线是下界",
  },
};
const words = WORDS[document.documentElement.lang.startsWith("zh") ? "zh" : "en"];
const BOTH = ["plain", "every"];
const DEAD = 0.005; // nats below which a component cannot be live

/** What all parts of the lesson share: both models, and the listeners that redraw some of them. */
const shared = {
  models: { plain: new Model(DATA.plain), every: new Model(DATA.every) },
  listeners: [],
  setTau(tau) {
    this.models.every.moveTo(tau);
    this.redraw(["every"]);
  },
  redraw(kinds) {
    for (const listener of this.listeners) listener(kinds);
  },
};
const rows = shared.models.plain.unpacked(DATA.rows);
const noise = shared.models.plain.unpacked(DATA.noise);
const firstOf = (digit) => DATA.labels.indexOf(digit);

const encode = (model, row) => model.encoded(model.features(row, []));
const byKL = (kl) => Array.from(kl.keys()).sort((a, b) => kl[b] - kl[a]);
const total = (numbers) => numbers.reduce((a, b) => a + b, 0);

/** Draw a row as an image. */
function imageOf(row, name, className = "digit") {
  const canvas = make("canvas", { role: "img", "aria-label": name, class: className });
  paint(canvas, row, DATA.image);
  return canvas;
}

/** A titled column for each model; `of` makes the content of a model's column. */
function columns(of) {
  return make("div", { class: "play-columns" }, ...BOTH.map((kind) => make("div", {}, make("h4", {}, words[kind]), ...of(kind))));
}

/** A slider with its label and value. */
function slider(name, { min, max, step, value }, input) {
  const output = make("output", {}, "");
  const element = make("input", { type: "range", min, max, step, value, input: () => input(Number(element.value)) });
  moveByArrows(element);
  return { element, output, label: make("label", { class: "play-slider" }, make("span", {}, name), element, output) };
}

/** A slider for tau. The page has several, and all of them move together. */
function dial() {
  const { low, high } = shared.models.every.tau;
  const [from, to] = [low, high].map(logit);
  const move = (value) => shared.setTau(Math.min(Math.max(sigmoid(value), low), high));
  const { element, output, label } = slider(words.dial, { min: from, max: to, step: 0.01, value: 0 }, move);
  const show = () => {
    const { at } = shared.models.every;
    element.value = logit(at);
    output.textContent = formatted(at, 3);
    element.setAttribute("aria-valuetext", `τ ${formatted(at, 3)}`);
  };
  shared.listeners.push(show);
  show();
  return label;
}

/** A choice among the ten digits. */
function digits(choose) {
  const button = (digit) => make("button", { type: "button", "aria-label": `${words.digit} ${digit}`, click: () => choose(firstOf(digit)) }, `${digit}`);
  return make("p", { class: "play-digits", role: "group", "aria-label": words.take }, `${words.take} `, ...Array.from({ length: 10 }, (_, digit) => button(digit)));
}

/** Bars of the KL, largest first, with the floor as a line across them. */
function bars(kl, floor, most) {
  const element = make("div", { class: "play-bars", role: "img", "aria-label": `${words.kl}: ${byKL(kl).map((j) => formatted(kl[j], 2)).join(", ")}` });
  for (const j of byKL(kl)) {
    const one = make("span", { class: kl[j] < DEAD ? "dead" : "" });
    one.style.height = `${Math.max((100 * kl[j]) / most, 1)}%`;
    element.append(one);
  }
  if (floor[0] > 0) {
    const line = make("i");
    line.style.bottom = `${(100 * floor[0]) / most}%`;
    element.append(line);
  }
  return element;
}

// -- the parts -----------------------------------------------------------------------------------

/** One slider that does something and one that may do nothing, for each model. */
function deadPart(root) {
  let row = firstOf(3);
  const codes = {};
  const views = Object.fromEntries(BOTH.map((kind) => [kind, { image: imageOf(rowOf(rows, row), words[kind], "large"), box: make("div") }]));
  const decode = (kind) => paint(views[kind].image, shared.models[kind].decoded(codes[kind], []), DATA.image);
  const sliders = (kind) => {
    const { kl } = shared.models[kind];
    const order = byKL(kl);
    return [[order[0], words.most], [order.at(-1), words.least]].map(([j, what]) => {
      const component = slider(`${words.component} ${j}, ${what}: ${formatted(kl[j], 2)} ${words.nats}`, { min: -3, max: 3, step: 0.01, value: codes[kind][j] }, (value) => {
        codes[kind][j] = value;
        component.output.textContent = formatted(value, 2);
        decode(kind);
      });
      component.output.textContent = formatted(codes[kind][j], 2);
      return component.label;
    });
  };
  const show = (kind) => {
    codes[kind] = Float64Array.from(encode(shared.models[kind], rowOf(rows, row)).loc);
    views[kind].box.replaceChildren(...sliders(kind));
    decode(kind);
  };
  const choose = (chosen) => {
    row = chosen;
    BOTH.forEach(show);
  };
  root.append(digits(choose), columns((kind) => [views[kind].image, views[kind].box]));
  choose(row);
  shared.listeners.push((kinds) => {
    if (kinds.includes("plain")) decode("plain");
    show("every");
  });
}

/** The dial, and the KL of each component at its tau. */
function dialPart(root) {
  const boxes = Object.fromEntries(BOTH.map((kind) => [kind, make("div")]));
  const show = () => {
    const most = 1.1 * Math.max(...BOTH.flatMap((kind) => [...shared.models[kind].kl]), 1.5);
    for (const kind of BOTH) {
      const { kl, floor, rate } = shared.models[kind];
      const live = kl.filter((nats) => nats >= DEAD).length;
      const facts = [`${words.rate} ${formatted(rate, 2)} ${words.nats}`, `${words.floor} ${formatted(total(floor), 2)}`, `${words.live} ${live}/${kl.length}`];
      boxes[kind].replaceChildren(bars(kl, floor, most), make("p", { class: "play-facts" }, facts.join(" · ")));
    }
  };
  root.append(dial(), columns((kind) => [boxes[kind]]), make("p", { class: "play-note" }, words.kl));
  shared.listeners.push(show);
  show();
}

/** Reconstructions and samples, and the distortion. */
function tradePart(root) {
  const originals = Array.from({ length: 8 }, (_, digit) => rowOf(rows, firstOf(digit) + 1));
  const strip = (name) => originals.map((row, i) => imageOf(row, `${name} ${i + 1}`));
  const names = ["originals", "rebuilt", "samples"];
  const strips = Object.fromEntries(BOTH.map((kind) => [kind, Object.fromEntries(names.map((name) => [name, strip(words[name])]))]));
  const facts = Object.fromEntries(BOTH.map((kind) => [kind, make("p", { class: "play-facts" })]));
  const show = (kind) => {
    const model = shared.models[kind];
    const images = {
      originals,
      rebuilt: originals.map((row) => model.decoded(encode(model, row).loc, [])),
      samples: originals.map((_, i) => model.decoded(rowOf(noise, i), [])),
    };
    for (const name of names) images[name].forEach((row, i) => paint(strips[kind][name][i], row, DATA.image));
    facts[kind].textContent = `${words.distortion} ${formatted(model.distortion, 2)} ${words.nats} · ${words.rate} ${formatted(model.rate, 2)} ${words.nats}`;
  };
  const titled = (kind) => names.flatMap((name) => [make("p", { class: "play-note" }, words[name]), make("div", { class: "play-strip" }, ...strips[kind][name])]);
  root.append(dial(), columns((kind) => [...titled(kind), facts[kind]]));
  shared.listeners.push((kinds) => kinds.forEach(show));
  BOTH.forEach(show);
}

/** A pad to draw on, and the drawing as both models reconstruct it. */
function ownPart(root) {
  const drawing = Float32Array.from(rowOf(rows, firstOf(6)));
  const pen = { x: 3.5, y: 1.5, down: false };
  const penMark = make("span", { class: "pen" });
  const pad = make("canvas", { class: "pad", tabindex: "0", role: "application", "aria-label": words.ink });
  const images = Object.fromEntries(BOTH.map((kind) => [kind, imageOf(drawing, `${words[kind]}: ${words.rebuilt}`, "large")]));
  const show = (kinds = BOTH) => {
    paint(pad, drawing, DATA.image);
    for (const kind of kinds) {
      const model = shared.models[kind];
      paint(images[kind], model.decoded(encode(model, drawing).loc, []), DATA.image);
    }
  };
  const movePen = (x, y) => {
    Object.assign(pen, { x, y });
    Object.assign(penMark.style, { left: `${(100 * x) / 8}%`, top: `${(100 * y) / 8}%` });
  };
  movePen(pen.x, pen.y);
  const ink = () => {
    for (let k = 0; k < 64; k++) {
      const distance = Math.hypot((k % 8) + 0.5 - pen.x, Math.floor(k / 8) + 0.5 - pen.y);
      drawing[k] = Math.max(drawing[k], Math.min(1, Math.max(0, 1.3 - distance)));
    }
    show();
  };
  const follow = (event) => {
    const box = pad.getBoundingClientRect();
    movePen((8 * (event.clientX - box.left)) / box.width, (8 * (event.clientY - box.top)) / box.height);
    if (pen.down) ink();
  };
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    pen.down = true;
    follow(event);
  });
  pad.addEventListener("pointermove", follow);
  pad.addEventListener("pointerup", () => (pen.down = false));
  pad.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], " ": [0, 0] };
    const step = steps[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const inside = (position) => Math.min(Math.max(position, 0.5), 7.5);
    movePen(inside(pen.x + step[0]), inside(pen.y + step[1]));
    if (event.key === " " || event.shiftKey) ink();
  });
  const put = (values) => {
    drawing.set(values);
    show();
  };
  const clear = make("button", { type: "button", click: () => put(new Float32Array(64)) }, words.clear);
  root.append(
    make("div", { class: "play-own" }, make("div", {}, make("h4", {}, words.pad), make("div", { class: "pad-frame" }, pad, penMark), clear), columns((kind) => [images[kind]])),
    make("p", { class: "play-note" }, words.ink),
    digits((row) => put(rowOf(rows, row))),
    dial(),
  );
  shared.listeners.push(show);
  show();
}

/** A text VAE while it collapses, and one that cannot. */
function collapsePart(root) {
  const { plain, moments, originals, colors } = DATA.text;
  const runs = { plain, every: moments };
  const boxes = Object.fromEntries(BOTH.map((kind) => [kind, { bars: make("div"), facts: make("p", { class: "play-facts" }), text: make("ul", { class: "play-text" }) }]));
  const maps = Object.fromEntries(BOTH.map((kind) => [kind, new CodeMap({ colors, onMove: () => {}, onPick: () => {} })]));
  for (const map of Object.values(maps)) {
    map.canvas.removeAttribute("tabindex");
    map.canvas.setAttribute("role", "img");
    map.canvas.setAttribute("aria-label", words.map);
  }
  const last = plain.snapshots.length - 1;
  const most = 1.1 * Math.max(...plain.snapshots.flatMap((one) => one.kl));
  const show = (step) => {
    for (const kind of BOTH) {
      const { kl, floor, codes, rebuilt } = runs[kind].snapshots[step];
      boxes[kind].bars.replaceChildren(bars(kl, floor, most));
      boxes[kind].facts.textContent = `${words.rate} ${formatted(total(kl), 2)} ${words.nats} · ${words.floor} ${formatted(total(floor), 2)}`;
      boxes[kind].text.replaceChildren(...rebuilt.map((sentence) => make("li", {}, sentence)));
      maps[kind].show({ codes, code: null, row: null, axes: [0, 1] });
    }
    snapshot.output.textContent = `${step + 1} ${words.of} ${last + 1}, ${words.weight} ${plain.snapshots[step].weight}`;
    snapshot.element.setAttribute("aria-valuetext", snapshot.output.textContent);
  };
  const snapshot = slider(words.snapshot, { min: 0, max: last, step: 1, value: 2 }, show); // the code has filled; now it begins to cost
  root.append(
    snapshot.label,
    make("p", { class: "play-note" }, `${words.original}:`),
    make("ul", { class: "play-text" }, ...originals.map((sentence) => make("li", {}, sentence))),
    columns((kind) => [boxes[kind].bars, boxes[kind].facts, maps[kind].canvas, boxes[kind].text]),
  );
  show(2);
  shared.listeners.push((kinds) => kinds.includes("plain") && show(Number(snapshot.element.value)));
}

globalThis.lesson = shared;
const PARTS = { dead: deadPart, dial: dialPart, trade: tradePart, own: ownPart, collapse: collapsePart };
for (const root of document.querySelectorAll("[data-play]")) PARTS[root.dataset.play](root);
// Canvases keep the colors of the theme in which they were drawn: draw again when it changes.
new MutationObserver(() => shared.redraw(BOTH)).observe(document.documentElement, { attributeFilter: ["data-theme"] });
