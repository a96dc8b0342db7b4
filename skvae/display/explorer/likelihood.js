// p(x|z): expected values from the decoder's outputs, and the encoder's inputs from a row.

import { sigmoid, softmax } from "./arrays.js";

/** Expected values of the columns of one kind; for categories, a list of probabilities per column. */
const MEANS = {
  gaussian: zeroIfConstant,
  student_t: zeroIfConstant,
  bernoulli: (part, outputs) => Array.from(outputs, (output, j) => sigmoid(output + part.bias.values[j])),
  poisson: rates,
  negative_binomial: rates,
  categorical: (part, outputs) => {
    let end = 0;
    return part.n_categories.map((n) => {
      const start = end;
      end += n;
      return softmax(Array.from(outputs.subarray(start, end), (output, i) => output + part.bias.values[start + i]));
    });
  },
};

/** Values unchanged, but 0 where the column had a single value in the training. */
function zeroIfConstant(part, values) {
  return Array.from(values, (value, j) => (part.constant?.values[j] ? 0 : value));
}

function rates(part, outputs) {
  const logMean = part.log_mean.values;
  if (part.exposure === "total") {
    const total = Math.exp(part.log_total.values[0]);
    return softmax(Array.from(outputs, (output, j) => output + logMean[j])).map((share) => share * total);
  }
  // A rate grows exponentially up to `until`, and linearly beyond.
  return Array.from(outputs, (output, j) =>
    Math.exp(Math.min(output, part.until) + Math.log1p(Math.max(output - part.until, 0)) + logMean[j]),
  );
}

/** Inputs of the encoder for the columns of one kind. */
const ENCODER_INPUTS = {
  gaussian: zeroIfConstant,
  student_t: (part, values) => zeroIfConstant(part, values).map(Math.asinh),
  bernoulli: (part, values) => values,
  poisson: countInputs,
  negative_binomial: countInputs,
  categorical: (part, values) =>
    values.flatMap((value, j) => Array.from({ length: part.n_categories[j] }, (_, i) => Number(value === i))),
};

function countInputs(part, values) {
  let share = 1;
  if (part.exposure === "total") {
    const total = values.reduce((sum, value) => sum + (Number.isNaN(value) ? 0 : value), 0);
    share = Math.exp(part.log_total.values[0]) / Math.max(total, 0.5);
  }
  return values.map((value, j) => (Math.log1p(value * share) - part.seen_offset.values[j]) / part.seen_scale.values[j]);
}

/** Expected row in the units of the data: a number per column, or for categories a list of probabilities. */
export function expectedRow(likelihood, units, outputs) {
  const row = new Array(likelihood.n_columns);
  let end = 0;
  for (const part of likelihood.parts) {
    const start = end;
    end += part.n_outputs;
    MEANS[part.kind](part, outputs.subarray(start, end)).forEach((value, i) => {
      const j = part.columns[i];
      row[j] = Array.isArray(value) ? value : value * units.scale.values[j] + units.offset.values[j];
    });
  }
  return row;
}

/** The encoder's input for a row in the units of the data, which is NaN where a cell is missing. */
export function encoderInputs(likelihood, units, row) {
  const standard = Array.from(row, (value, j) => (value - units.offset.values[j]) / units.scale.values[j]);
  const values = likelihood.parts.flatMap((part) => ENCODER_INPUTS[part.kind](part, part.columns.map((j) => standard[j])));
  if (!likelihood.missing) return Float32Array.from(values);
  const observed = standard.map((value) => Number(!Number.isNaN(value)));
  return Float32Array.from([...values.map((value) => (Number.isNaN(value) ? 0 : value)), ...observed]);
}
