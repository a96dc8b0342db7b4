// The explorer: its state is a code, a row and tau, and everything that it shows follows from them.

import { rowOf } from "./arrays.js";
import { CodeMap, legendOf } from "./codemap.js";
import { make, printed } from "./elements.js";
import { Model } from "./model.js";
import { viewOf } from "./views.js";

const DEAD = 0.005; // a component with a KL below this, in nats, cannot be live
const N_NEIGHBORS = 6;
const N_DRAWS = 8;
const N_STEPS = 7; // images on the way from row to row

export class Explorer {
  constructor(root, data) {
    this.data = data;
    this.model = new Model(data.model);
    this.rows = this.readRows(this.model.unpacked(data.rows));
    this.code = new Float64Array(this.model.n_components);
    this.context = this.rows[0].context;
    this.row = 0;
    this.following = true; // whether the code is that of the row
    this.order = this.byKL();
    this.axes = [this.order[0], this.order[1] ?? this.order[0]];
    this.view = viewOf({ ...data, model: this.model });
    this.map = new CodeMap({
      colors: data.colors.rows,
      onMove: (x, y) => this.moveOnMap(x, y),
      onPick: (row) => this.take(row),
    });
    root.append(...this.build());
    this.encodeRows();
    this.take(0);
    this.answer();
    this.showStrips();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.later("rows"));
  }

  // -- rows -------------------------------------------------------------------------------

  /** Rows with their encoder features, which are the same for every tau. */
  readRows({ values, sentences, features, context }) {
    const n = sentences ? sentences.length : values.shape[0];
    return Array.from({ length: n }, (_, i) => {
      const told = context ? rowOf(context, i) : new Float32Array(0);
      if (sentences) return { original: sentences[i], features: rowOf(features, i), context: told };
      const original = rowOf(values, i);
      return { original, features: this.model.features(original, told), context: told };
    });
  }

  encodeRows() {
    for (const row of this.rows) Object.assign(row, this.model.encoded(row.features));
  }

  byKL() {
    const components = Array.from(this.model.kl.keys());
    return components.sort((a, b) => this.model.kl[b] - this.model.kl[a]);
  }

  nameOf(row) {
    const { index, labels } = this.data;
    return `row ${index[row]} of X${labels ? `, ${labels[row]}` : ""}`;
  }

  neighbors() {
    const { loc } = this.rows[this.row];
    const distance = (other) => other.loc.reduce((sum, m, j) => sum + (m - loc[j]) ** 2, 0);
    const others = this.rows.map((other, i) => [distance(other), i]).filter(([, i]) => i !== this.row);
    return others.sort((a, b) => a[0] - b[0]).slice(0, N_NEIGHBORS).map(([, i]) => i);
  }

  // -- input --------------------------------------------------------------------------------

  take(row) {
    [this.row, this.following] = [row, true];
    this.code = Float64Array.from(this.rows[row].loc);
    this.context = Float32Array.from(this.rows[row].context);
    this.later("rows");
  }

  move(component, value) {
    this.code[component] = value;
    this.following = false;
    this.later();
  }

  moveOnMap(x, y) {
    const [i, j] = this.axes;
    this.code[j] = y;
    this.move(i, x);
  }

  goTo(code) {
    this.code = Float64Array.from(code);
    this.following = false;
    this.later();
  }

  turn(tau) {
    this.model.moveTo(tau);
    this.encodeRows();
    if (this.following) this.code = Float64Array.from(this.rows[this.row].loc);
    this.later("rows");
  }

  tell(context) {
    this.context = context;
    this.later("told");
  }

  draw() {
    const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
    this.draws = Array.from({ length: N_DRAWS }, () => Float64Array.from(this.code, normal));
    this.later("told");
  }

  /** The code at a share of the way from one row to the other. */
  between(share) {
    const [from, to] = this.walk.map((row) => this.rows[row].loc);
    return from.map((m, j) => m + share * (to[j] - m));
  }

  // -- output -------------------------------------------------------------------------------

  /** Update the page once at the next frame: for a new code, and for whatever else changed by then. */
  later(what = "code") {
    this.changed ??= new Set();
    if (!this.changed.size) requestAnimationFrame(() => this.answer());
    this.changed.add(what);
  }

  answer() {
    const changed = this.changed ?? new Set();
    this.changed = new Set();
    const { original, loc, context } = this.rows[this.row];
    this.decoded = this.model.decoded(this.code, this.context);
    const rows = { decoded: this.decoded };
    if (changed.has("rows")) Object.assign(rows, { original, reconstruction: this.model.decoded(loc, context) });
    this.view.show(rows);
    this.showSliders(changed.has("rows"));
    const codes = this.rows.map((row) => row.loc);
    this.map.show({ codes, code: this.code, row: this.row, axes: this.axes });
    if (changed.has("rows")) this.showRow();
    if (changed.has("rows") || changed.has("told")) this.showStripsSoon();
  }

  /** Update the sliders that were moved or, with `all`, every slider and its KL. */
  showSliders(all) {
    for (const [j, parts] of this.sliders.entries()) {
      if (!all && parts.shown === this.code[j]) continue;
      parts.shown = this.code[j];
      const reach = Math.max(3, Math.ceil(Math.abs(this.code[j])));
      Object.assign(parts.input, { min: -reach, max: reach, value: this.code[j] });
      parts.value.textContent = printed(this.code[j], 2);
      parts.input.setAttribute("aria-valuetext", parts.value.textContent);
      this.showBand(j, parts, reach);
      if (all) this.showKL(j, parts);
    }
  }

  /** Show the band of the row's mean, plus and minus its standard deviation. */
  showBand(j, { band }, reach) {
    const { loc, scale } = this.rows[this.row];
    const share = (z) => 100 * Math.min(Math.max((z + reach) / (2 * reach), 0), 1);
    band.style.left = `${share(loc[j] - scale[j])}%`;
    band.style.right = `${100 - share(loc[j] + scale[j])}%`;
    band.title = `of the row: ${printed(loc[j], 2)} \u00b1 ${printed(scale[j], 2)}`;
  }

  showKL(j, parts) {
    const most = Math.max(...this.model.kl, ...this.model.floor);
    const [kl, floor] = [this.model.kl[j], this.model.floor[j]];
    const dead = kl < DEAD;
    parts.nats.textContent = dead ? `${printed(kl, 2)}, dead` : printed(kl, 2);
    parts.item.classList.toggle("dead", dead);
    parts.kl.style.width = `${(100 * kl) / most}%`;
    parts.floor.style.left = `${(100 * floor) / most}%`;
    parts.floor.hidden = floor === 0;
    parts.bar.title = `KL ${printed(kl, 2)} nats, floor ${printed(floor, 2)}`;
  }

  showRow() {
    this.rowInput.value = this.row;
    this.rowName.textContent = this.nameOf(this.row);
    if (this.model.hasDial) this.showDial();
    for (const [k, input] of this.conditionInputs.entries()) input.show(this.context, k);
  }

  showDial() {
    const { at, rate, distortion, floor } = this.model;
    const total = floor.reduce((a, b) => a + b);
    this.dial.setAttribute("aria-valuetext", `tau ${printed(at, 3)}`);
    this.dialValues.replaceChildren(
      ...[
        ["\u03c4", printed(at, 3)],
        ["rate", `${printed(rate, 2)} nats`],
        ["floor", `${printed(total, 2)} nats`],
        ["distortion", `${printed(distortion, 2)} nats`],
        ["ELBO", `${printed(-rate - distortion, 2)} nats`],
      ].map(([name, value]) => make("span", {}, make("b", {}, `${name} `), value)),
    );
  }

  /** Update the small pictures after a pause in the input, so that dragging stays fluent. */
  showStripsSoon() {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.showStrips(), 100);
  }

  showStrips() {
    const ofRow = (row) => this.small(this.rows[row].original, this.nameOf(row), () => this.take(row));
    this.neighborStrip.replaceChildren(...this.neighbors().map(ofRow));
    const ofCode = (code, name) => this.small(this.model.decoded(code, this.context), name, () => this.goTo(code));
    this.drawStrip.replaceChildren(...this.draws.map((code, i) => ofCode(code, `draw ${i + 1}`)));
    const steps = Array.from({ length: N_STEPS }, (_, i) => i / (N_STEPS - 1));
    this.walkStrip.replaceChildren(...steps.map((share) => ofCode(this.between(share), `${Math.round(100 * share)} percent of the way`)));
  }

  /** A small picture of a row, as a button. */
  small(row, name, click) {
    return make("li", {}, make("button", { type: "button", title: name, click }, this.view.small(row, name)));
  }

  // -- the page -------------------------------------------------------------------------------

  build() {
    this.draw();
    this.walk = [0, Math.min(1, this.rows.length - 1)];
    const { title, summary } = this.data;
    return [
      make("header", {}, make("h1", {}, title), make("p", {}, summary)),
      ...(this.model.hasDial ? [this.buildDial()] : []),
      make(
        "div", { class: `columns of-${this.view.kind}` },
        this.buildDecoded(), this.buildSliders(), this.buildMap(), this.buildRow(), this.buildDraws(), this.buildWalk(),
      ),
    ];
  }

  section(name, title, ...children) {
    const id = `title-${name}`;
    return make("section", { class: name, "aria-labelledby": id }, make("h2", { id }, title), ...children);
  }

  buildDial() {
    const logit = (p) => Math.log(p / (1 - p));
    const { low, high, at } = this.model.tau;
    this.dial = make("input", {
      type: "range", id: "tau", min: logit(low), max: logit(high), step: "any", value: logit(at),
      input: () => this.turn(Math.min(Math.max(1 / (1 + Math.exp(-this.dial.value)), low), high)),
      keydown: (event) => this.nudge(event),
      change: () => this.arrange(),
    });
    this.dialValues = make("p", { class: "values", id: "dial-values" });
    return this.section(
      "dial", "The dial",
      make("label", { for: "tau" }, `\u03c4, the least share of signal in each component, from ${low} to ${high}`),
      this.dial,
      this.dialValues,
    );
  }

  /** Move the dial by a fiftieth of its range on an arrow key, because browsers differ for step="any". */
  nudge(event) {
    const sign = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (!sign) return;
    event.preventDefault();
    const { dial } = this;
    dial.value = Number(dial.value) + (sign * (dial.max - dial.min)) / 50;
    dial.dispatchEvent(new Event("input"));
    dial.dispatchEvent(new Event("change"));
  }

  buildMap() {
    const choice = (axis, title) => {
      const options = Array.from(this.code, (_, j) => make("option", { value: j, selected: j === this.axes[axis] }, `component ${j}`));
      const change = (event) => {
        this.axes[axis] = Number(event.target.value);
        this.later();
      };
      return make("label", {}, `${title} `, make("select", { change }, ...options));
    };
    return this.section(
      "codes", "Map of the codes",
      this.map.canvas,
      make("p", { class: "axes" }, choice(0, "across"), choice(1, "up")),
      ...(this.data.colors.legend ? [legendOf(this.data.colors.legend)] : []),
      make("p", { class: "hint" }, "Click a point to take its row; drag, or use the arrow keys, to move the code."),
    );
  }

  buildDecoded() {
    return this.section("decoded", "Decoded", this.view.element, ...this.buildConditions());
  }

  buildRow() {
    const last = this.rows.length - 1;
    const take = (row) => this.take(Math.min(Math.max(row || 0, 0), last));
    this.rowInput = make("input", { type: "number", id: "row", min: 0, max: last, value: 0, change: () => take(Math.round(this.rowInput.value)) });
    this.rowName = make("span", { class: "name" });
    this.neighborStrip = make("ul", { class: "strip" });
    const button = (name, click) => make("button", { type: "button", click }, name);
    return this.section(
      "row", "The row",
      make(
        "p", { class: "choice" },
        make("label", { for: "row" }, `Row, of ${this.rows.length} `), this.rowInput,
        button("previous", () => take(this.row - 1)), button("next", () => take(this.row + 1)),
        button("back to its code", () => this.take(this.row)),
      ),
      make("p", {}, this.rowName),
      make("h3", {}, "Its neighbors, by code"),
      this.neighborStrip,
    );
  }

  buildConditions() {
    let start = 0;
    this.conditionInputs = [];
    const fields = this.model.conditions?.map((condition) => {
      const [place, width] = [start, condition.categories?.length ?? 1];
      start += width;
      const put = (values) => {
        const context = Float32Array.from(this.context);
        context.set(values, place);
        this.tell(context);
      };
      const input = condition.categories ? chooser(condition, put, place) : numeric(condition, put, place);
      this.conditionInputs.push(input);
      return make("label", {}, `${condition.name} `, input.element);
    });
    return fields?.length ? [make("p", { class: "conditions" }, make("b", {}, "Given: "), ...fields)] : [];
  }

  buildSliders() {
    this.sliders = Array.from(this.code, (_, j) => this.slider(j));
    this.sliderList = make("ol", { class: "sliders" });
    this.arrange();
    return this.section(
      "components", "Components, by KL",
      make(
        "p", { class: "hint" },
        "Blue bar: what a component says about a row, in nats; red mark: its floor. Band: the row's mean \u00b1 standard deviation.",
      ),
      this.sliderList,
      make("p", {}, make("button", { type: "button", click: () => this.goTo(new Float64Array(this.code.length)) }, "all to 0")),
    );
  }

  slider(j) {
    const input = make("input", { type: "range", id: `component-${j}`, step: 0.01, input: () => this.move(j, Number(input.value)) });
    const [value, nats] = [make("output", { for: input.id }), make("span", { class: "nats" })];
    const [kl, floor, band] = [make("span", { class: "fill" }), make("span", { class: "floor" }), make("span", { class: "band" })];
    const klBar = make("span", { class: "bar" }, kl, floor);
    const label = make("label", { for: input.id }, make("span", { class: "word" }, "component "), `${j}`);
    const item = make("li", {}, label, make("span", { class: "kl" }, klBar, nats), make("span", { class: "slide" }, input, band), value);
    return { item, input, value, nats, kl, floor, band, bar: klBar };
  }

  /** Order the sliders by the KL of their components. */
  arrange() {
    this.order = this.byKL();
    const held = document.activeElement;
    this.sliderList.replaceChildren(...this.order.map((j) => this.sliders[j].item));
    held?.focus();
  }

  buildDraws() {
    this.drawStrip = make("ul", { class: "strip" });
    return this.section(
      "draws", "Draws from the prior",
      make("p", {}, make("button", { type: "button", click: () => this.draw() }, `draw ${N_DRAWS} more`)),
      this.drawStrip,
    );
  }

  buildWalk() {
    this.walkStrip = make("ul", { class: "strip" });
    const share = make("input", { type: "range", min: 0, max: 1, step: 0.01, value: 0, input: () => this.goTo(this.between(Number(share.value))) });
    const end = (which, title) => {
      const input = make("input", {
        type: "number", min: 0, max: this.rows.length - 1, value: this.walk[which],
        change: () => {
          this.walk[which] = Math.min(Math.max(Math.round(input.value) || 0, 0), this.rows.length - 1);
          input.value = this.walk[which];
          this.later("told");
        },
      });
      const here = () => {
        input.value = this.row;
        input.dispatchEvent(new Event("change"));
      };
      return [make("label", {}, `${title} row `, input), make("button", { type: "button", click: here }, "this row")];
    };
    return this.section(
      "walk", "From row to row",
      make("p", { class: "choice" }, ...end(0, "from"), ...end(1, "to")),
      make("label", { class: "wide" }, "share of the way ", share),
      this.walkStrip,
    );
  }
}

/** Input for a condition of several categories. */
function chooser({ categories }, put, place) {
  const change = () => put(categories.map((_, i) => Number(i === Number(element.value))));
  const element = make("select", { change }, ...categories.map((name, i) => make("option", { value: i }, name)));
  const show = (context) => (element.value = categories.findIndex((_, i) => context[place + i] === 1));
  return { element, show };
}

/** Input for a condition that is a number, which the networks receive standardized. */
function numeric({ mean, scale, low, high }, put, place) {
  const input = () => element.value !== "" && put([scale && (Number(element.value) - mean) / scale]); // a scale of 0 means that it never varied
  const element = make("input", { type: "number", step: "any", title: `seen from ${printed(low)} to ${printed(high)}`, input });
  const show = (context) => (element.value = Number((context[place] * scale + mean).toPrecision(6)));
  return { element, show };
}

const root = document.getElementById("explorer");
if (root) globalThis.explorer = new Explorer(root, JSON.parse(document.getElementById("data").textContent));
