// The model: posterior, likelihood and their networks at the current tau.

import { evaluateParabolas, interpolated, logit, unpack } from "./arrays.js";
import { encoderInputs, expectedRow } from "./likelihood.js";
import { forward } from "./network.js";
import { momentsAt, posteriorOf } from "./posterior.js";
import { greedySentence, isUnknown, numbersOf, sentenceFeatures } from "./recurrent.js";
import { tokenizer } from "./tokens.js";

export class Model {
  constructor(description) {
    this.weightsOfTau = []; // weights that change with tau, and the coefficients that give them
    Object.assign(this, this.unpacked(description));
    this.hasDial = this.tau.low !== undefined;
    if (this.reader?.tokens) this.tokensOf = tokenizer(this.reader.tokens);
    this.moveTo(this.tau.at);
  }

  /** Copy a description with all packed arrays unpacked. */
  unpacked(value) {
    if (Array.isArray(value)) return value.map((item) => this.unpacked(item));
    if (value === null || typeof value !== "object") return value;
    if (!value.shape || (value.float32 === undefined && value.uint8 === undefined)) {
      return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, this.unpacked(item)]));
    }
    const array = unpack(value);
    if (!value.parabola) return array;
    const [coefficients, shape] = [array.values, array.shape.slice(1)];
    const weights = { shape, values: new Float32Array(coefficients.length / 3) };
    this.weightsOfTau.push({ coefficients, weights });
    return weights;
  }

  /** Set the weights, moments and nats to those of another tau. */
  moveTo(tau) {
    this.at = tau;
    const { low, high } = this.tau;
    const middle = (logit(low) + logit(high)) / 2;
    const t = this.hasDial ? (2 * (logit(tau) - middle)) / (logit(high) - logit(low)) : 0;
    for (const { coefficients, weights } of this.weightsOfTau) evaluateParabolas(coefficients, t, weights.values);
    this.moments = momentsAt(this.posterior, t);
    const { kl, floor, distortion } = this.terms;
    const excess = { shape: kl.shape, values: kl.values.map((nats, i) => nats - floor.values[i]) };
    const d = this.n_components;
    const least = Array.from({ length: d }, (_, j) => Math.min(...excess.values.filter((_, i) => i % d === j)));
    this.floor = interpolated(floor, t);
    // Near the floor the excess is almost 0, and a polynomial between its nodes could be negative.
    this.kl = interpolated(excess, t).map((nats, j) => Math.max(nats, least[j]) + this.floor[j]);
    this.distortion = interpolated(distortion, t)[0];
    this.rate = this.kl.reduce((a, b) => a + b);
  }

  /** Features of a row from the encoder, which are the same for every tau. */
  features(row, context) {
    return forward(this.encoder, encoderInputs(this.likelihood, this.units, row), context);
  }

  /** Number of tokens of a sentence; those that the encoder reads, each known or not; their features. */
  readSentence(sentence) {
    const tokens = this.tokensOf(sentence);
    const read = tokens.slice(0, this.writer.max_length);
    const numbers = numbersOf(this.writer.words, read);
    return {
      nTokens: tokens.length,
      tokens: read.map((token, i) => ({ token, known: !isUnknown(numbers[i]) })),
      features: sentenceFeatures(this.reader, numbers),
    };
  }

  /** Posterior mean and standard deviation of a row from its features. */
  encoded(features) {
    return posteriorOf(this.posterior, this.at, this.moments, features);
  }

  /** Decode a code: to the expected row in the units of the data, or to a sentence. */
  decoded(code, context) {
    if (this.writer) return greedySentence(this.writer, code);
    return expectedRow(this.likelihood, this.units, forward(this.decoder, Float32Array.from(code), context));
  }
}
