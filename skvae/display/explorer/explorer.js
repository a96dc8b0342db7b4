// The explorer: its state is a code, a row and tau, and everything that it shows follows from them.

import { logit, rowOf, sigmoid } from "./arrays.js";
import { CodeMap, legendOf } from "./codemap.js";
import { formatted, make, moveByArrows, refill } from "./elements.js";
import { Model } from "./model.js";
import { sentenceField } from "./sentence.js";
import { viewOf } from "./views.js";

const DEAD = 0.005; // a component with a KL below this, in nats, cannot be live
const N_NEIGHBORS = 6;
const N_DRAWS = 8;
const N_STEPS = 7; // images on the way from row to row
const SLICE = 3; // milliseconds for encoding rows again in each frame, which has 16

export class Explorer {
  constructor(root, data) {
    this.data = data;
    this.model = new Model(data.model);
    this.rows = this.readRows(this.model.unpacked(data.rows));
    this.nOfFile = this.rows.length; // a sentence that is typed becomes the row after these
    this.nOutdated = this.rows.length; // rows that may have codes of another tau than the dial's
    this.nextOutdated = 0;
    this.code = new Float64Array(this.model.n_components); // changed in place: the map has it too
    this.context = this.rows[0].context;
    this.row = 0;
    this.codeIsOfRow = true; // false once a slider or the map has moved the code away
    this.order = this.byKL();
    this.axes = [this.order[0], this.order[1] ?? this.order[0]];
    this.view = viewOf({ ...data, model: this.model });
    this.map = new CodeMap({
      colors: data.colors.rows,
      onMove: (x, y) => this.moveOnMap(x, y),
      onPick: (row) => this.selectRow(row),
    });
    root.append(...this.build());
    this.encodeRows(Infinity);
    this.selectRow(0);
    this.update();
    this.showStrips();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.updateSoon("row"));
  }

  // -- rows -------------------------------------------------------------------------------

  /** Rows with their encoder features, which are the same for every tau. */
  readRows({ values, sentences, features, context }) {
    const n = sentences ? sentences.length : values.shape[0];
    return Array.from({ length: n }, (_, i) => {
      const rowContext = context ? rowOf(context, i) : new Float32Array(0);
      if (sentences) return { original: sentences[i], features: rowOf(features, i), context: rowContext };
      const original = rowOf(values, i);
      return { original, features: this.model.features(original, rowContext), context: rowContext };
    });
  }

  /** A row with its posterior mean and standard deviation at the current tau. */
  encodedRow(i) {
    const [row, tau] = [this.rows[i], this.model.at];
    if (row.tau !== tau) Object.assign(row, this.model.encoded(row.features), { tau });
    return row;
  }

  /**
   * Encode outdated rows until none is left or the milliseconds are over. It goes on where the last call
   * stopped, not at the first row, so that all points of the map follow a dial that moves in every frame.
   */
  encodeRows(milliseconds) {
    const end = performance.now() + milliseconds;
    for (; this.nOutdated > 0 && performance.now() < end; this.nOutdated--) {
      this.encodedRow(this.nextOutdated);
      this.nextOutdated = (this.nextOutdated + 1) % this.rows.length;
    }
  }

  byKL() {
    const components = Array.from(this.model.kl.keys());
    return components.sort((a, b) => this.model.kl[b] - this.model.kl[a]);
  }

  nameOf(row) {
    if (row === this.nOfFile) return "your sentence";
    const { index, labels } = this.data;
    return `row ${index[row]} of X${labels ? `, ${labels[row]}` : ""}`;
  }

  neighbors() {
    const { loc } = this.encodedRow(this.row);
    const distance = (other) => other.loc.reduce((sum, m, j) => sum + (m - loc[j]) ** 2, 0);
    const others = this.rows.map((other, i) => [distance(other), i]).filter(([, i]) => i !== this.row);
    return others.sort((a, b) => a[0] - b[0]).slice(0, N_NEIGHBORS).map(([, i]) => i);
  }

  // -- input --------------------------------------------------------------------------------

  selectRow(row) {
    this.row = row;
    this.goToRow();
    this.context = Float32Array.from(this.rows[row].context);
    this.updateSoon("row");
  }

  /** Encode a sentence that was typed, and select it. */
  typeSentence(sentence) {
    this.rows[this.nOfFile] = { original: sentence, context: this.context, ...this.model.readSentence(sentence) };
    this.nOutdated = this.rows.length; // with one more row, the next outdated one is not known any more
    this.selectRow(this.nOfFile);
  }

  goToRow() {
    this.codeIsOfRow = true;
    this.code.set(this.encodedRow(this.row).loc);
  }

  moveComponent(component, value) {
    this.code[component] = value;
    this.codeIsOfRow = false;
    this.updateSoon("code");
  }

  moveOnMap(x, y) {
    const [i, j] = this.axes;
    this.code[j] = y;
    this.moveComponent(i, x);
  }

  goTo(code) {
    this.code.set(code);
    this.codeIsOfRow = false;
    this.updateSoon("code");
  }

  setTau(tau) {
    this.model.moveTo(tau);
    this.nOutdated = this.rows.length;
    if (this.codeIsOfRow) this.goToRow();
    this.updateSoon("row");
  }

  setContext(context) {
    this.context = context;
    this.updateSoon("strips");
  }

  drawFromPrior() {
    const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
    this.draws = Array.from({ length: N_DRAWS }, () => Float64Array.from(this.code, normal));
    this.updateSoon("strips");
  }

  /** The code at a share of the way from one row to the other. */
  between(share) {
    const [from, to] = this.walk.map((row) => this.encodedRow(row).loc);
    return from.map((m, j) => m + share * (to[j] - m));
  }

  // -- output -------------------------------------------------------------------------------

  /** Update the page once at the next frame, for all that changed by then: "code", "row", "strips" or "map". */
  updateSoon(what) {
    this.changed ??= new Set();
    if (!this.changed.size) requestAnimationFrame(() => this.update());
    this.changed.add(what);
  }

  /** Show what changed: the code and the row at once, and those codes of the map for which there is time. */
  update() {
    const changed = this.changed;
    this.changed = new Set();
    const rowsMoved = this.nOutdated > 0;
    changed.delete("map"); // it is drawn at every update
    if (changed.size) this.showCode(changed.has("row"));
    if (changed.has("row")) this.showRow();
    this.encodeRows(SLICE);
    this.map.show({ codes: this.rows.map((row) => row.loc), code: this.code, row: this.row, axes: this.axes });
    if (this.nOutdated) this.updateSoon("map");
    if (rowsMoved || changed.has("row") || changed.has("strips")) this.showStripsSoon();
  }

  /** Show the decoded code and its sliders and, with `all`, the row and its reconstruction. */
  showCode(all) {
    const { original, loc, context } = this.encodedRow(this.row);
    this.decoded = this.model.decoded(this.code, this.context);
    const rows = { decoded: this.decoded };
    if (all) {
      const isOfRow = this.codeIsOfRow && context.every((value, i) => value === this.context[i]);
      Object.assign(rows, { original, reconstruction: isOfRow ? this.decoded : this.model.decoded(loc, context) });
    }
    this.view.show(rows);
    this.showSliders(all);
  }

  /** Update the sliders that were moved or, with `all`, every slider and its KL. */
  showSliders(all) {
    for (const [j, parts] of this.sliders.entries()) {
      if (!all && parts.shown === this.code[j]) continue;
      parts.shown = this.code[j];
      const reach = Math.max(3, Math.ceil(Math.abs(this.code[j])));
      Object.assign(parts.input, { min: -reach, max: reach, value: this.code[j] });
      parts.value.textContent = formatted(this.code[j], 2);
      parts.input.setAttribute("aria-valuetext", parts.value.textContent);
      this.showBand(j, parts, reach);
      if (all) this.showKL(j, parts);
    }
  }

  /** Show the band of the row's mean, plus and minus its standard deviation. */
  showBand(j, { band }, reach) {
    const { loc, scale } = this.encodedRow(this.row);
    const share = (z) => 100 * Math.min(Math.max((z + reach) / (2 * reach), 0), 1);
    band.style.left = `${share(loc[j] - scale[j])}%`;
    band.style.right = `${100 - share(loc[j] + scale[j])}%`;
    band.title = `of the row: ${formatted(loc[j], 2)} \u00b1 ${formatted(scale[j], 2)}`;
  }

  showKL(j, parts) {
    const most = Math.max(...this.model.kl, ...this.model.floor);
    const [kl, floor] = [this.model.kl[j], this.model.floor[j]];
    const dead = kl < DEAD;
    parts.nats.textContent = dead ? `${formatted(kl, 2)}, dead` : formatted(kl, 2);
    parts.item.classList.toggle("dead", dead);
    parts.kl.style.width = `${(100 * kl) / most}%`;
    parts.floor.style.left = `${(100 * floor) / most}%`;
    parts.floor.hidden = floor === 0;
    parts.bar.title = `KL ${formatted(kl, 2)} nats, floor ${formatted(floor, 2)}`;
  }

  showRow() {
    for (const input of this.rowInputs) input.max = this.rows.length - 1;
    this.rowInput.value = this.row;
    if (this.rows.length > this.nOfFile) this.sentenceField.show(this.encodedRow(this.nOfFile), this.order);
    this.rowName.textContent = this.nameOf(this.row);
    if (this.model.hasDial) this.showDial();
    for (const [k, input] of this.conditionInputs.entries()) input.show(this.context, k);
  }

  showDial() {
    const { at, rate, distortion, floor } = this.model;
    const total = floor.reduce((a, b) => a + b);
    this.dial.setAttribute("aria-valuetext", `tau ${formatted(at, 3)}`);
    this.dialValues.replaceChildren(
      ...[
        ["\u03c4", formatted(at, 3)],
        ["rate", `${formatted(rate, 2)} nats`],
        ["floor", `${formatted(total, 2)} nats`],
        ["distortion", `${formatted(distortion, 2)} nats`],
        ["ELBO", `${formatted(-rate - distortion, 2)} nats`],
      ].map(([name, value]) => make("span", {}, make("b", {}, `${name} `), value)),
    );
  }

  /** Update the small pictures after a pause in the input, so that dragging stays fluent. */
  showStripsSoon() {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.showStrips(), 100);
  }

  /** Draw the small pictures of neighbors, draws and steps between rows. */
  showStrips() {
    const ofRow = (row) => this.thumbnail(this.rows[row].original, this.nameOf(row), () => this.selectRow(row));
    refill(this.neighborStrip, this.neighbors().map(ofRow));
    const ofCode = (code, name) => this.thumbnail(this.model.decoded(code, this.context), name, () => this.goTo(code));
    refill(this.drawStrip, this.draws.map((code, i) => ofCode(code, `draw ${i + 1}`)));
    const steps = Array.from({ length: N_STEPS }, (_, i) => i / (N_STEPS - 1));
    refill(this.walkStrip, steps.map((share) => ofCode(this.between(share), `${Math.round(100 * share)} percent of the way`)));
  }

  /** A small picture of a row, as a button. */
  thumbnail(row, name, click) {
    return make("li", {}, make("button", { type: "button", title: name, click }, this.view.thumbnail(row, name)));
  }

  // -- the page -------------------------------------------------------------------------------

  build() {
    this.drawFromPrior();
    this.walk = [0, Math.min(1, this.rows.length - 1)];
    const { title, summary } = this.data;
    return [
      make("header", {}, make("h1", {}, title), make("p", {}, summary)),
      ...(this.model.hasDial ? [this.buildDial()] : []),
      make(
        "div", { class: `columns of-${this.view.kind}` },
        this.buildDecoded(), ...(this.model.reader ? [this.buildSentence()] : []), this.buildSliders(), this.buildMap(), this.buildRow(), this.buildDraws(), this.buildWalk(),
      ),
    ];
  }

  section(name, title, ...children) {
    const id = `title-${name}`;
    return make("section", { class: name, "aria-labelledby": id }, make("h2", { id }, title), ...children);
  }

  buildDial() {
    const { low, high, at } = this.model.tau;
    this.dial = make("input", {
      type: "range", id: "tau", min: logit(low), max: logit(high), step: "any", value: logit(at),
      input: () => this.setTau(Math.min(Math.max(sigmoid(this.dial.value), low), high)),
      change: () => this.sortSliders(),
    });
    moveByArrows(this.dial);
    this.dialValues = make("p", { class: "values", id: "dial-values" });
    return this.section(
      "dial", "The dial",
      make("label", { for: "tau" }, `\u03c4, the least share of signal in each component, from ${low} to ${high}`),
      this.dial,
      this.dialValues,
    );
  }

  buildMap() {
    const choice = (axis, title) => {
      const options = Array.from(this.code, (_, j) => make("option", { value: j, selected: j === this.axes[axis] }, `component ${j}`));
      const change = (event) => {
        this.axes[axis] = Number(event.target.value);
        this.updateSoon("map");
      };
      return make("label", {}, `${title} `, make("select", { change }, ...options));
    };
    return this.section(
      "codes", "Map of the codes",
      this.map.canvas,
      make("p", { class: "axes" }, choice(0, "across"), choice(1, "up")),
      ...(this.data.colors.legend ? [legendOf(this.data.colors.legend)] : []),
      make("p", { class: "hint" }, "Click a point to select its row; drag to move the code. With the keyboard: arrow keys move the code, Enter selects the nearest row."),
    );
  }

  buildDecoded() {
    return this.section("decoded", "Decoded", ...this.buildConditions(), this.view.element);
  }

  buildSentence() {
    const { refusal } = this.model.reader;
    this.sentenceField = refusal ? null : sentenceField({
      number: this.nOfFile,
      onType: (sentence) => this.typeSentence(sentence),
    });
    return this.section("sentence", "Your sentence", ...(this.sentenceField?.elements ?? [make("p", {}, refusal)]));
  }

  /** The nearest whole number that is one of a row. */
  rowNear(value) {
    return Math.min(Math.max(Math.round(value) || 0, 0), this.rows.length - 1);
  }

  buildRow() {
    const select = (row) => this.selectRow(this.rowNear(row));
    this.rowInput = make("input", { type: "number", id: "row", min: 0, value: 0, change: () => select(this.rowInput.value) });
    this.rowInputs = [this.rowInput];
    this.rowName = make("span", { class: "name" });
    this.neighborStrip = make("ul", { class: "strip" });
    const button = (name, click) => make("button", { type: "button", click }, name);
    return this.section(
      "row", "The row",
      make(
        "p", { class: "choice" },
        make("label", { for: "row" }, `Row, of ${this.nOfFile} `), this.rowInput,
        button("previous", () => select(this.row - 1)), button("next", () => select(this.row + 1)),
        button("back to its code", () => this.selectRow(this.row)),
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
        this.setContext(context);
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
    this.sortSliders();
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
    const input = make("input", { type: "range", id: `component-${j}`, step: 0.01, input: () => this.moveComponent(j, Number(input.value)) });
    moveByArrows(input);
    const [value, nats] = [make("output", { for: input.id }), make("span", { class: "nats" })];
    const [kl, floor, band] = [make("span", { class: "fill" }), make("span", { class: "floor" }), make("span", { class: "band" })];
    const klBar = make("span", { class: "bar" }, kl, floor);
    const label = make("label", { for: input.id }, make("span", { class: "word" }, "component "), `${j}`);
    const item = make("li", {}, label, make("span", { class: "kl" }, klBar, nats), make("span", { class: "slide" }, input, band), value);
    return { item, input, value, nats, kl, floor, band, bar: klBar };
  }

  /** Sort the sliders by the KL of their components. */
  sortSliders() {
    this.order = this.byKL();
    const held = document.activeElement;
    this.sliderList.replaceChildren(...this.order.map((j) => this.sliders[j].item));
    held?.focus();
  }

  buildDraws() {
    this.drawStrip = make("ul", { class: "strip" });
    return this.section(
      "draws", "Draws from the prior",
      make("p", {}, make("button", { type: "button", click: () => this.drawFromPrior() }, `draw ${N_DRAWS} more`)),
      this.drawStrip,
    );
  }

  buildWalk() {
    this.walkStrip = make("ul", { class: "strip" });
    const share = make("input", { type: "range", min: 0, max: 1, step: 0.01, value: 0, input: () => this.goTo(this.between(Number(share.value))) });
    moveByArrows(share);
    const end = (which, title) => {
      const input = make("input", {
        type: "number", min: 0, value: this.walk[which],
        change: () => {
          this.walk[which] = this.rowNear(input.value);
          input.value = this.walk[which];
          this.updateSoon("strips");
        },
      });
      this.rowInputs.push(input);
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
  const element = make("input", { type: "number", step: "any", title: `seen from ${formatted(low)} to ${formatted(high)}`, input });
  const show = (context) => (element.value = Number((context[place] * scale + mean).toPrecision(6)));
  return { element, show };
}

const root = document.getElementById("explorer");
if (root) globalThis.explorer = new Explorer(root, JSON.parse(document.getElementById("data").textContent));
