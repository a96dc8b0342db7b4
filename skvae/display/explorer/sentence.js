// The reader's own sentence: a field to type it, its tokens, and its code.

import { formatted, make } from "./elements.js";

/** The field and what belongs to it; `onType` is called with the sentence, which becomes the row `number`. */
export function sentenceField({ number, onType }) {
  const field = make("textarea", {
    id: "sentence", rows: 2, dir: "auto", spellcheck: "false", autocomplete: "off", "aria-describedby": "sentence-note",
    input: () => onType(field.value),
  });
  const note = make("p", { class: "hint", id: "sentence-note", role: "status" }, "What you type is encoded on this page, and the sliders move to its code.");
  const tokens = make("ul", { class: "tokens", "aria-label": "Its tokens" });
  const code = make("ol", { class: "code scroll", tabindex: "0", "aria-label": "Its code: mean \u00b1 standard deviation of each component" });
  const back = make("button", { type: "button", click: () => onType(field.value) }, "to its code");
  const caption = make("p", { class: "hint" }, "Its code: mean \u00b1 standard deviation of each component");
  const result = make("div", { hidden: true }, tokens, caption, code, make("p", { class: "choice" }, back, make("span", { class: "hint" }, `It is row ${number} of this page.`)));

  /** Show an encoded sentence, its components in an order. */
  const show = ({ tokens: read, nTokens, loc, scale }, order) => {
    result.hidden = false;
    note.textContent = summaryOf(read, nTokens);
    tokens.replaceChildren(...read.map(tokenItem));
    code.replaceChildren(...order.map((j) => make("li", {}, make("b", {}, `${j}`), ` ${formatted(loc[j], 3)} \u00b1 ${formatted(scale[j], 3)}`)));
  };
  return { elements: [make("label", { for: "sentence" }, "Type a sentence"), field, note, result], show };
}

function tokenItem({ token, known }) {
  return make("li", known ? { dir: "auto" } : { class: "unknown", dir: "auto" }, token, ...(known ? [] : [make("small", {}, " unknown")]));
}

/** How many tokens there are, are unknown, and are read. */
function summaryOf(read, nTokens) {
  const nUnknown = read.filter(({ known }) => !known).length;
  const counted = `${nTokens} ${nTokens === 1 ? "token" : "tokens"}`;
  const cut = read.length < nTokens ? `, of which the model reads the first ${read.length}` : "";
  const unknown = nUnknown ? `; ${nUnknown} unknown, which the model cannot tell apart` : "";
  return `${counted}${cut}${unknown}.`;
}
