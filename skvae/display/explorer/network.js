// Networks: lists of layers, each of which is a function from numbers to numbers.

/** A linear layer, x W^T + b; four rows at a time, because the sum of one row would wait for each addition. */
export function linear(layer, x) {
  const [rows, columns] = layer.weight.shape;
  const weight = layer.weight.values;
  const out = layer.bias ? layer.bias.values.slice() : new Float32Array(rows);
  let i = 0;
  for (; i + 4 <= rows; i += 4) {
    let [a, b, c, d] = [0, 0, 0, 0];
    for (let j = 0, k = i * columns; j < columns; j++, k++) {
      const value = x[j];
      a += weight[k] * value;
      b += weight[k + columns] * value;
      c += weight[k + 2 * columns] * value;
      d += weight[k + 3 * columns] * value;
    }
    out[i] += a;
    out[i + 1] += b;
    out[i + 2] += c;
    out[i + 3] += d;
  }
  for (; i < rows; i++) {
    let sum = 0;
    for (let j = 0, k = i * columns; j < columns; j++, k++) sum += weight[k] * x[j];
    out[i] += sum;
  }
  return out;
}

/** Error function with an error of at most 2e-7 (Abramowitz & Stegun 7.1.26). */
function erf(x) {
  const s = 1 / (1 + 0.3275911 * Math.abs(x));
  const tail = ((((1.061405429 * s - 1.453152027) * s + 1.421413741) * s - 0.284496736) * s + 0.254829592) * s;
  return Math.sign(x) * (1 - tail * Math.exp(-x * x));
}

const ACTIVATIONS = {
  relu: (x) => (x > 0 ? x : 0),
  tanh: Math.tanh,
  logistic: (x) => 1 / (1 + Math.exp(-x)),
  elu: (x) => (x > 0 ? x : Math.expm1(x)),
  gelu: (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
  silu: (x) => x / (1 + Math.exp(-x)),
};

/** A convolution: each output plane is the sum of all input planes, each filtered by a kernel. */
function convolution(layer, x, [planes, height, width]) {
  const [outPlanes, , kernelHeight, kernelWidth] = layer.weight.shape;
  const [[strideY, strideX], [padY, padX]] = [layer.stride, layer.padding];
  const outHeight = Math.floor((height + 2 * padY - kernelHeight) / strideY) + 1;
  const outWidth = Math.floor((width + 2 * padX - kernelWidth) / strideX) + 1;
  const out = new Float32Array(outPlanes * outHeight * outWidth);
  const weight = layer.weight.values;
  for (let o = 0, k = 0; o < outPlanes; o++) {
    const target = out.subarray(o * outHeight * outWidth, (o + 1) * outHeight * outWidth);
    target.fill(layer.bias.values[o]);
    for (let p = 0; p < planes; p++) {
      const source = x.subarray(p * height * width, (p + 1) * height * width);
      for (let dy = 0; dy < kernelHeight; dy++) {
        for (let dx = 0; dx < kernelWidth; dx++, k++) {
          addShifted(target, source, weight[k], { dy: dy - padY, dx: dx - padX, strideY, strideX, height, width, outHeight, outWidth });
        }
      }
    }
  }
  return { x: out, shape: [outPlanes, outHeight, outWidth] };
}

/** Add a shifted and weighted plane to another plane. */
function addShifted(target, source, weight, { dy, dx, strideY, strideX, height, width, outHeight, outWidth }) {
  for (let row = 0; row < outHeight; row++) {
    const y = row * strideY + dy;
    if (y < 0 || y >= height) continue;
    for (let column = 0; column < outWidth; column++) {
      const x = column * strideX + dx;
      if (x >= 0 && x < width) target[row * outWidth + column] += weight * source[y * width + x];
    }
  }
}

/** Enlarge planes to another height and width by repeating the nearest pixel. */
function upsample(layer, x, [planes, height, width]) {
  const [outHeight, outWidth] = layer.size;
  const out = new Float32Array(planes * outHeight * outWidth);
  for (let p = 0, k = 0; p < planes; p++) {
    for (let row = 0; row < outHeight; row++) {
      const y = Math.floor((row * height) / outHeight);
      for (let column = 0; column < outWidth; column++, k++) {
        out[k] = x[(p * height + y) * width + Math.floor((column * width) / outWidth)];
      }
    }
  }
  return { x: out, shape: [planes, outHeight, outWidth] };
}

/** Send one row through all layers; the context of a conditional model is appended to it. */
export function forward(layers, x, context = []) {
  let shape = null; // planes, height and width, once a layer has set them
  for (const layer of layers) {
    if (layer.layer === "context") {
      if (context.length) x = Float32Array.of(...x, ...context);
    } else if (layer.layer === "linear") {
      x = linear(layer, x);
    } else if (layer.layer === "shape") {
      shape = layer.shape;
    } else if (layer.layer === "convolution") {
      ({ x, shape } = convolution(layer, x, shape));
    } else if (layer.layer === "upsample") {
      ({ x, shape } = upsample(layer, x, shape));
    } else {
      x = x.map(ACTIVATIONS[layer.layer]);
    }
  }
  return x;
}
