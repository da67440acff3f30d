// A small network of linear layers with ReLU between them, run here: numbers from bytes, which neurons stay, logits, loss.

import { chooser, roundHalfEven } from "./sparsity_choice.js";

const BLOCK = 8; // so many images go through a row side by side; so many numbers may be read and written beyond the last

/** Little-endian float16 as float64. */
export function fromHalves(bytes) {
  return Float64Array.from({ length: bytes.byteLength / 2 }, (_, i) => {
    const bits = bytes.getUint16(2 * i, true);
    const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
    const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
    return bits >> 15 ? -size : size;
  });
}

/** Layers as the choice needs them, with their biases: of a vector with all weights, then all biases. */
export function layersOf(shapes, vector) {
  let [weight, bias] = [0, shapes.reduce((sum, { shape }) => sum + shape[0] * shape[1], 0)];
  return shapes.map(({ name, shape, obstacles }) => {
    const [rows, cols] = shape;
    const values = vector.subarray(weight, (weight += rows * cols));
    return { name, shape, obstacles, rows, cols, kernel: 1, total: rows * cols, values, biases: vector.subarray(bias, (bias += rows)) };
  });
}

/** The images as the first layer reads them: pixel by pixel, of each all images. `grays` are the values that a byte stands for. */
export function inputsOf(pixels, grays, count) {
  const size = pixels.byteLength / count;
  const inputs = new Float64Array(pixels.byteLength + BLOCK);
  for (let image = 0, at = 0; image < count; image++)
    for (let pixel = 0; pixel < size; pixel++, at++) inputs[pixel * count + image] = grays[pixels.getUint8(at)];
  return inputs;
}

/** Logits (class, image) of the weights that stay, image by image within a class. The zeros are skipped. */
export function logitsOf(layers, keeps, inputs, count) {
  let before = inputs;
  layers.forEach((layer, l) => {
    const last = l === layers.length - 1;
    const after = new Float64Array(layer.rows * count + BLOCK);
    const [places, weights] = [new Int32Array(layer.cols), new Float64Array(layer.cols)];
    for (let row = 0; row < layer.rows; row++) {
      let kept = 0;
      for (let col = 0, i = row * layer.cols; col < layer.cols; col++, i++)
        if (keeps[l][i]) {
          places[kept] = col * count;
          weights[kept++] = layer.values[i];
        }
      sumsOf(places, weights, kept, layer.biases[row], before, after, row * count, count, last ? -Infinity : 0);
    }
    before = after;
  });
  return before.subarray(0, layers.at(-1).rows * count);
}

/** One row for all images, a block at a time in registers: max(least, bias + Σ weight · input). What is written beyond `count` the next row overwrites. */
function sumsOf(places, weights, kept, bias, before, after, start, count, least) {
  for (let image = 0; image < count; image += BLOCK) {
    let [a, b, c, d, e, f, g, h] = [bias, bias, bias, bias, bias, bias, bias, bias];
    for (let j = 0; j < kept; j++) {
      const weight = weights[j];
      const at = places[j] + image;
      a += weight * before[at];
      b += weight * before[at + 1];
      c += weight * before[at + 2];
      d += weight * before[at + 3];
      e += weight * before[at + 4];
      f += weight * before[at + 5];
      g += weight * before[at + 6];
      h += weight * before[at + 7];
    }
    const to = start + image;
    after[to] = a > least ? a : least;
    after[to + 1] = b > least ? b : least;
    after[to + 2] = c > least ? c : least;
    after[to + 3] = d > least ? d : least;
    after[to + 4] = e > least ? e : least;
    after[to + 5] = f > least ? f : least;
    after[to + 6] = g > least ? g : least;
    after[to + 7] = h > least ? h : least;
  }
}

/** What is read in every image, how many are right, and the mean cross-entropy. */
export function reading(logits, labels) {
  const count = labels.length;
  const classes = logits.length / count;
  const read = new Uint8Array(count);
  let [right, loss] = [0, 0];
  for (let image = 0; image < count; image++) {
    for (let k = 1; k < classes; k++) if (logits[k * count + image] > logits[read[image] * count + image]) read[image] = k;
    const largest = logits[read[image] * count + image];
    let sum = 0;
    for (let k = 0; k < classes; k++) sum += Math.exp(logits[k * count + image] - largest);
    loss += Math.log(sum) + largest - logits[labels[image] * count + image];
    if (read[image] === labels[image]) right++;
  }
  return { logits, read, right, accuracy: right / count, loss: loss / count };
}

/**
 * A function (structure, scope, sparsity) -> for each layer which weights stay. Beyond what `chooser` knows, "neurons":
 * units of the hidden layers by the L1 norm of their rows, as choose_units does; with a row goes the column that reads it.
 */
export function networkChooser(layers) {
  const choose = chooser(layers.map((layer) => ({ ...layer, values: Float32Array.from(layer.values) })));
  const norms = layers.slice(0, -1).map(({ rows, cols, values }) =>
    Array.from({ length: rows }, (_, row) => values.subarray(row * cols, (row + 1) * cols).reduce((sum, w) => sum + Math.abs(w), 0)),
  );
  for (const own of norms) own[own.indexOf(Math.max(...own))] = Infinity; // one of every layer stays

  function neurons(scope, sparsity) {
    const units = norms.map((own, layer) => own.map((norm, row) => ({ norm, layer, row })));
    const stays = norms.map((own) => new Uint8Array(own.length));
    for (const pool of scope === "global" ? [units.flat()] : units) {
      const kept = Math.max(roundHalfEven(pool.length * (1 - sparsity)), pool.filter(({ norm }) => norm === Infinity).length);
      pool.sort((one, other) => (one.norm === other.norm ? 0 : other.norm - one.norm)); // stable: of equals the first stays
      for (const { layer, row } of pool.slice(0, kept)) stays[layer][row] = 1;
    }
    return layers.map(({ rows, cols, total }, l) => {
      const keep = new Uint8Array(total);
      for (let row = 0, i = 0; row < rows; row++)
        for (let col = 0; col < cols; col++, i++) keep[i] = (stays[l]?.[row] ?? 1) & (stays[l - 1]?.[col] ?? 1);
      return keep;
    });
  }
  return (structure, scope, sparsity) =>
    structure === "neurons" ? neurons(scope, sparsity) : choose(structure, scope, sparsity).map(({ keep }) => keep());
}
