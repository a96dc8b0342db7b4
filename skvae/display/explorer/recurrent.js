// Sentences: a code is decoded word by word, each the most probable next word.

import { rowOf, sigmoid } from "./arrays.js";
import { linear } from "./network.js";

const [PADDING, BOUNDARY, UNKNOWN] = [0, 1, 2];

const plus = (a, b) => a.map((value, i) => value + b[i]);

/** One step of an LSTM, whose gates are input, forget, cell and output. */
function lstm({ ofInput, ofState }, x, { hidden, cell }) {
  const gates = plus(linear(ofInput, x), linear(ofState, hidden));
  const n = hidden.length;
  const next = cell.map((c, i) => sigmoid(gates[n + i]) * c + sigmoid(gates[i]) * Math.tanh(gates[2 * n + i]));
  return { hidden: next.map((c, i) => sigmoid(gates[3 * n + i]) * Math.tanh(c)), cell: next };
}

/** One step of a GRU, whose gates are reset, update and new. */
function gru({ ofInput, ofState }, x, { hidden }) {
  const [given, remembered] = [linear(ofInput, x), linear(ofState, hidden)];
  const n = hidden.length;
  return {
    hidden: hidden.map((h, i) => {
      const [reset, update] = [sigmoid(given[i] + remembered[i]), sigmoid(given[n + i] + remembered[n + i])];
      const fresh = Math.tanh(given[2 * n + i] + reset * remembered[2 * n + i]);
      return (1 - update) * fresh + update * h;
    }),
  };
}

/** The most probable token other than padding and the unknown word. */
function likeliest(logits) {
  let best = BOUNDARY;
  for (let token = 0; token < logits.length; token++) {
    if (token !== PADDING && token !== UNKNOWN && logits[token] > logits[best]) best = token;
  }
  return best;
}

/** Decode a code to a sentence by greedy search. */
export function written(writer, code) {
  const { recurrence } = writer;
  const weights = {
    ofInput: { weight: recurrence.weight_ih_l0, bias: recurrence.bias_ih_l0 },
    ofState: { weight: recurrence.weight_hh_l0, bias: recurrence.bias_hh_l0 },
  };
  const step = { lstm, gru }[writer.cell];
  const n = recurrence.weight_hh_l0.shape[1];
  const first = linear(writer.to_state, code).map(Math.tanh);
  let state = { hidden: first.subarray(0, n), cell: first.subarray(n) };
  const [toInput, toOutput] = [linear(writer.to_input, code), linear(writer.to_output, code)];
  const output = { weight: writer.output.weight ?? writer.embedding, bias: writer.output.bias };

  const tokens = [];
  for (let token = BOUNDARY; tokens.length < writer.max_length; ) {
    state = step(weights, plus(rowOf(writer.embedding, token), toInput), state);
    const narrow = writer.narrow ? linear(writer.narrow, state.hidden) : state.hidden;
    token = likeliest(linear(output, plus(narrow, toOutput)));
    if (token === BOUNDARY) break;
    tokens.push(token);
  }
  return joined(writer, tokens);
}

/** Join words to a sentence, with spaces where the script has them. */
function joined({ words, tight_after: after, tight_before: before }, tokens) {
  const spaced = (token, i) => i > 0 && !after[tokens[i - 1]] && !before[token];
  return tokens.map((token, i) => (spaced(token, i) ? " " : "") + words[token]).join("");
}
