// Arrays of numbers: unpacking from the text of the page, and interpolation.

/** Unpack an array that Python packed: {shape, values}. */
export function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed.float32 ?? packed.uint8), (letter) => letter.charCodeAt(0));
  if (packed.float32 !== undefined) {
    return { shape: packed.shape, values: new Float32Array(bytes.buffer) };
  }
  const distinct = unpack(packed.values).values; // the bytes are indices of these values
  return { shape: packed.shape, values: Float32Array.from(bytes, (index) => distinct[index]) };
}

/** Row i of a matrix, as a view of its values. */
export function rowOf(matrix, i) {
  const width = matrix.shape[1];
  return matrix.values.subarray(i * width, (i + 1) * width);
}

/** Evaluate weights at t, each of which is a parabola a + b t + c t^2. */
export function evaluateParabolas(coefficients, t, out) {
  const n = out.length;
  for (let i = 0; i < n; i++) {
    out[i] = coefficients[i] + t * (coefficients[n + i] + t * coefficients[2 * n + i]);
  }
}

/** Extrema of a Chebyshev polynomial in increasing order, from -1 to 1. */
export function chebyshevNodes(n) {
  return Array.from({ length: n }, (_, i) => Math.sin((Math.PI * (2 * i + 1 - n)) / (2 * (n - 1))));
}

/** Values at t of the polynomials through the rows of a matrix at the Chebyshev nodes (Salzer 1972). */
export function interpolated(matrix, t) {
  const [n, width] = [matrix.shape[0], matrix.values.length / matrix.shape[0]];
  const at = (i, j) => matrix.values[i * width + j];
  const distances = n === 1 ? [0] : chebyshevNodes(n).map((node) => t - node);
  const hit = distances.indexOf(0);
  if (hit >= 0) return Float64Array.from({ length: width }, (_, j) => at(hit, j));
  const weights = distances.map((d, i) => ((i % 2 ? -1 : 1) * (i === 0 || i === n - 1 ? 0.5 : 1)) / d);
  const total = weights.reduce((a, b) => a + b);
  return Float64Array.from({ length: width }, (_, j) => {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += weights[i] * at(i, j);
    return sum / total;
  });
}

export const sigmoid = (x) => 1 / (1 + Math.exp(-x));
export const logit = (p) => Math.log(p / (1 - p));

/** Softmax, computed after subtracting the largest number so that none overflows. */
export function softmax(logits) {
  const largest = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - largest));
  const total = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / total);
}
