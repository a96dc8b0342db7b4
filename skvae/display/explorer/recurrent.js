// Sentences: word by word, they are encoded and decoded, each word the most probable next one.

import { rowOf, sigmoid } from "./arrays.js";
import { linear } from "./network.js";

const [PADDING, BOUNDARY, UNKNOWN] = [0, 1, 2];

const added = (a, b) => a.map((value, i) => value + b[i]);

/** One step of an LSTM, whose gates are input, forget, cell and output. */
function lstm({ ofInput, ofState }, x, { hidden, cell }) {
  const gates = added(linear(ofInput, x), linear(ofState, hidden));
  const n = hidden.length;
  const next = cell.map((c, i) => sigmoid(gates[n + i]) * c + sigmoid(gates[i]) * Math.tanh(gates[2 * n + i]));
  return { hidden: next.map((c, i) => sigmoid(gates[3 * n + i]) * Math.tanh(c)), cell: next };
}

/** One step of a GRU, whose gates are reset, update and new. */
function gru({ ofInput, ofState }, x, { hidden }) {
  const [fromInput, fromState] = [linear(ofInput, x), linear(ofState, hidden)];
  const n = hidden.length;
  return {
    hidden: hidden.map((h, i) => {
      const [reset, update] = [sigmoid(fromInput[i] + fromState[i]), sigmoid(fromInput[n + i] + fromState[n + i])];
      const candidate = Math.tanh(fromInput[2 * n + i] + reset * fromState[2 * n + i]);
      return (1 - update) * candidate + update * h;
    }),
  };
}

/** The most probable token other than padding and the unknown word. */
function mostProbableToken(logits) {
  let best = BOUNDARY;
  for (let token = 0; token < logits.length; token++) {
    if (token !== PADDING && token !== UNKNOWN && logits[token] > logits[best]) best = token;
  }
  return best;
}

/** The size of the state of a recurrence, and its step from an input and a state to the next state. */
function recurrenceOf({ cell, recurrence }) {
  const weights = {
    ofInput: { weight: recurrence.weight_ih_l0, bias: recurrence.bias_ih_l0 },
    ofState: { weight: recurrence.weight_hh_l0, bias: recurrence.bias_hh_l0 },
  };
  const next = { lstm, gru }[cell];
  return { n: recurrence.weight_hh_l0.shape[1], step: (x, state) => next(weights, x, state) };
}

/** From the states after each token to one vector. */
const POOLS = {
  mean: (states) => states.reduce(added).map((sum) => sum / states.length),
  last: (states) => states.at(-1),
  max: (states) => states.reduce((most, state) => most.map((value, i) => Math.max(value, state[i]))),
};

/** Features of a sentence from the numbers of its tokens, to which its end belongs. */
export function sentenceFeatures(reader, numbers) {
  const { n, step } = recurrenceOf(reader);
  let state = { hidden: new Float32Array(n), cell: new Float32Array(n) };
  const states = [...numbers, BOUNDARY].map((number) => {
    state = step(rowOf(reader.embedding, number), state);
    return state.hidden;
  });
  return POOLS[reader.pooling](states);
}

/** The number of each token, which for a word that the training did not have is that of the unknown word. */
export function numbersOf(words, tokens) {
  const number = new Map(words.map((word, i) => [word, i]).slice(UNKNOWN + 1)); // the words before are none
  return tokens.map((token) => number.get(token) ?? UNKNOWN);
}

/** Whether a number is that of the unknown word. */
export const isUnknown = (number) => number === UNKNOWN;

/** Decode a code to a sentence by greedy search. */
export function greedySentence(writer, code) {
  const { n, step } = recurrenceOf(writer);
  const initial = linear(writer.to_state, code).map(Math.tanh);
  let state = { hidden: initial.subarray(0, n), cell: initial.subarray(n) };
  const [toInput, toOutput] = [linear(writer.to_input, code), linear(writer.to_output, code)];
  const output = { weight: writer.output.weight ?? writer.embedding, bias: writer.output.bias };

  const tokens = [];
  for (let token = BOUNDARY; tokens.length < writer.max_length; ) {
    state = step(added(rowOf(writer.embedding, token), toInput), state);
    const narrowed = writer.narrow ? linear(writer.narrow, state.hidden) : state.hidden;
    token = mostProbableToken(linear(output, added(narrowed, toOutput)));
    if (token === BOUNDARY) break;
    tokens.push(token);
  }
  return joinWords(writer, tokens);
}

/** Join words to a sentence, with spaces where the script has them. */
function joinWords({ words, tight_after: after, tight_before: before }, tokens) {
  const spaced = (token, i) => i > 0 && !after[tokens[i - 1]] && !before[token];
  return tokens.map((token, i) => (spaced(token, i) ? " " : "") + words[token]).join("");
}
