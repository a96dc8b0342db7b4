// q(z|x): mean and standard deviation from the features, with the equations of skvae.posteriors.

import { interpolated, sigmoid } from "./arrays.js";
import { linear } from "./network.js";

/** Moments over the training rows at t. Mean squares are interpolated by their logs, which keeps them positive. */
export function momentsAt(posterior, t) {
  const { mean, variance, mean_square: square } = posterior.moments;
  const logSquare = { shape: square.shape, values: Float64Array.from(square.values, Math.log) };
  return { mean: interpolated(mean, t), variance: interpolated(variance, t), meanSquare: interpolated(logSquare, t).map(Math.exp) };
}

/** The variance from the head's log variance, bounded away from 0 and infinity. */
const varianceOf = (head) => Math.exp(Math.min(Math.max(head, -40), 30));

/** gamma_mu^2, which is at least tau, and gamma_sigma^2 = 1 - gamma_mu^2, from theta. */
function gammaSquares(tau, theta) {
  return [tau + (1 - tau) * sigmoid(theta), (1 - tau) * sigmoid(-theta)];
}

/** Matched moments: each component has unit second moment, at least the share tau of it signal. */
function moment({ tau, eps, theta, theta_pace: pace }, moments, location, head) {
  return perComponent(location, head, (m, l, j) => {
    const [variance, square] = [moments.variance[j] + eps, moments.meanSquare[j]];
    let rest = (1 - tau) / (variance + square);
    let signal = rest + tau / variance;
    if (theta) {
      const [gammaMu, gammaSigma] = gammaSquares(tau, pace * theta.values[j]);
      [signal, rest] = [gammaMu / variance, gammaSigma / square];
    }
    const noise = rest + (eps * signal) / square;
    return [Math.sqrt(signal) * (m - moments.mean[j]), Math.sqrt(noise * varianceOf(l))];
  });
}

/** The plain VAE: both heads unchanged. */
function gaussian(_, moments, location, head) {
  return perComponent(location, head, (m, l) => [m, Math.sqrt(varianceOf(l))]);
}

/** Batch normalization of the mean only. */
function batchnormMean({ tau, eps, beta }, moments, location, head) {
  return perComponent(location, head, (m, l, j) => {
    const standard = (m - moments.mean[j]) / Math.sqrt(moments.variance[j] + eps);
    return [beta.values[j] + Math.sqrt(tau) * standard, Math.sqrt(varianceOf(l))];
  });
}

/** Batch normalization of the mean and of a signed standard deviation. */
function batchnorm({ tau, eps, theta }, moments, location, head) {
  const d = location.length;
  const standard = (value, j) => (value - moments.mean[j]) / Math.sqrt(moments.variance[j] + eps);
  return perComponent(location, head, (m, s, j) => {
    const [gammaMu, gammaSigma] = gammaSquares(tau, theta.values[j]);
    const scale = Math.abs(Math.sqrt(gammaSigma) * standard(s, d + j));
    return [Math.sqrt(gammaMu) * standard(m, j), Math.max(scale, 1e-15)];
  });
}

/** Layer normalization, within the row. */
function layernorm({ tau, eps }, moments, location, head) {
  const mean = location.reduce((a, b) => a + b, 0) / location.length;
  const variance = location.reduce((sum, m) => sum + (m - mean) ** 2, 0) / location.length;
  const factor = Math.sqrt(tau / (variance + eps));
  return perComponent(location, head, (m, l) => [factor * (m - mean), Math.sqrt(varianceOf(l))]);
}

/** At least delta nats in every component of every row. */
function delta({ tau, eps }, moments, location, head) {
  const wanted = 1 - Math.log1p(-tau); // u - log u of the variances u whose KL is delta at mean 0
  const [lowest, highest] = [rootOf(wanted, -wanted), rootOf(wanted, Math.log(2 * wanted))];
  return perComponent(location, head, (m, l) => {
    const log = lowest + (highest - lowest) * sigmoid(l);
    const missing = Math.max(wanted + log - Math.exp(log), 0);
    return [Math.sqrt(missing + eps) + Math.max(m, 0), Math.exp(log / 2)];
  });
}

/** log u with u - log u = wanted, by Newton's method from a first guess of log u. */
function rootOf(wanted, log) {
  for (let step = 0; step < 60; step++) log -= (Math.exp(log) - log - wanted) / (Math.exp(log) - 1);
  return log;
}

const KINDS = { moment, gaussian, "batchnorm-mean": batchnormMean, batchnorm, layernorm, delta };

/** Posterior mean and standard deviation of every component. */
export function posteriorOf(posterior, tau, moments, features) {
  const heads = linear(posterior.heads, features);
  const d = heads.length / 2;
  return KINDS[posterior.kind]({ ...posterior, tau }, moments, heads.subarray(0, d), heads.subarray(d));
}

/** Apply an equation, from both heads to mean and standard deviation, to each component. */
function perComponent(location, head, equation) {
  const [loc, scale] = [new Float64Array(location.length), new Float64Array(location.length)];
  location.forEach((m, j) => ([loc[j], scale[j]] = equation(m, head[j], j)));
  return { loc, scale };
}
