// The model: posterior, likelihood and their networks at the current tau.

import { alongParabola, between, logit, unpack } from "./arrays.js";
import { inputs, expected } from "./likelihood.js";
import { forward } from "./network.js";
import { momentsAt, standardised } from "./posterior.js";
import { written } from "./recurrent.js";

export class Model {
  constructor(description) {
    this.told = []; // weights that are functions of tau
    Object.assign(this, this.unpacked(description));
    this.hasDial = this.tau.low !== undefined;
    this.moveTo(this.tau.at);
  }

  /** Copy a description with all packed arrays unpacked. */
  unpacked(thing) {
    if (Array.isArray(thing)) return thing.map((one) => this.unpacked(one));
    if (thing === null || typeof thing !== "object") return thing;
    if (!thing.shape || (thing.float32 === undefined && thing.uint8 === undefined)) {
      return Object.fromEntries(Object.entries(thing).map(([name, one]) => [name, this.unpacked(one)]));
    }
    const array = unpack(thing);
    if (!thing.parabola) return array;
    const [coefficients, shape] = [array.values, array.shape.slice(1)];
    const weights = { shape, values: new Float32Array(coefficients.length / 3) };
    this.told.push({ coefficients, weights });
    return weights;
  }

  /** Set the weights, moments and nats to those of another tau. */
  moveTo(tau) {
    this.at = tau;
    const { low, high } = this.tau;
    const middle = (logit(low) + logit(high)) / 2;
    const t = this.hasDial ? (2 * (logit(tau) - middle)) / (logit(high) - logit(low)) : 0;
    for (const { coefficients, weights } of this.told) alongParabola(coefficients, t, weights.values);
    this.moments = momentsAt(this.posterior, t);
    const { kl, floor, distortion } = this.terms;
    const excess = { shape: kl.shape, values: kl.values.map((nats, i) => nats - floor.values[i]) };
    const d = this.n_components;
    const least = Array.from({ length: d }, (_, j) => Math.min(...excess.values.filter((_, i) => i % d === j)));
    this.floor = between(floor, t);
    // Near the floor the excess is almost 0, and a polynomial between its nodes could be negative.
    this.kl = between(excess, t).map((nats, j) => Math.max(nats, least[j]) + this.floor[j]);
    this.distortion = between(distortion, t)[0];
    this.rate = this.kl.reduce((a, b) => a + b);
  }

  /** Features of a row from the encoder, which are the same for every tau. */
  features(row, context) {
    return forward(this.encoder, inputs(this.likelihood, this.units, row), context);
  }

  /** Posterior mean and standard deviation of a row from its features. */
  encoded(features) {
    return standardised(this.posterior, this.at, this.moments, features);
  }

  /** Decode a code: to the expected row in the units of the data, or to a sentence. */
  decoded(code, context) {
    if (this.writer) return written(this.writer, code);
    return expected(this.likelihood, this.units, forward(this.decoder, Float32Array.from(code), context));
  }
}
