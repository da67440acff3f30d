// Which weights stay: pure functions that choose exactly as pruning_lib.structure does.

/** Python's round: a half goes to the even neighbor. */
export function roundHalfEven(x) {
  const below = Math.floor(x);
  if (x - below !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}

/** Indices of non-negative float32 scores from the largest to the smallest; equal scores keep the order of their indices. */
export function descending(scores) {
  // The bits of non-negative floats are ordered as the floats are, so two stable passes of a radix sort do it.
  const bits = new Uint32Array(scores.slice().buffer);
  let order = Uint32Array.from(bits.keys());
  let sorted = new Uint32Array(bits.length);
  for (const shift of [0, 16]) {
    const start = new Uint32Array(65537);
    for (const key of bits) start[((~key >>> shift) & 0xffff) + 1]++;
    for (let digit = 0; digit < 65536; digit++) start[digit + 1] += start[digit];
    for (const index of order) sorted[start[(~bits[index] >>> shift) & 0xffff]++] = index;
    [order, sorted] = [sorted, order];
  }
  return order;
}

// What is kept or pruned as one: how many such units a layer has and which one a weight of the 2-D view belongs to.
const UNITS = {
  unstructured: ({ rows, cols }) => ({ count: rows * cols, of: (row, col) => row * cols + col }),
  rows: ({ rows }) => ({ count: rows, of: (row) => row }),
  columns: ({ cols }) => ({ count: cols, of: (row, col) => col }),
  stripes: ({ rows, kernel }) => ({ count: rows * kernel, of: (row, col) => row * kernel + (col % kernel) }),
};

/** L1 norm of each unit. Summed in double, then rounded, so that another order of summation gives the same float32. */
export function unitScores(layer, structure) {
  const unit = UNITS[structure](layer);
  const sums = new Float64Array(unit.count);
  for (let row = 0, i = 0; row < layer.rows; row++)
    for (let col = 0; col < layer.cols; col++, i++) sums[unit.of(row, col)] += Math.abs(layer.values[i]);
  return Float32Array.from(sums);
}

/** N:M: of every m neighbors in a row of the 2-D view the n largest stay, ties by index. m divides the columns. */
export function keepNOfM(values, n, m) {
  const keep = new Uint8Array(values.length);
  for (let start = 0; start < values.length; start += m)
    for (let i = start; i < start + m; i++) {
      let ahead = 0;
      for (let j = start; j < start + m; j++) {
        const difference = Math.abs(values[j]) - Math.abs(values[i]);
        if (difference > 0 || (difference === 0 && j < i)) ahead++;
      }
      keep[i] = ahead < n ? 1 : 0;
    }
  return keep;
}

/** Layers as the choice needs them, from their descriptions and all float32 values in one buffer. */
export function unpack(descriptions, bytes) {
  const all = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  let offset = 0;
  return descriptions.map(({ name, shape, obstacles }) => {
    const total = shape.reduce((a, b) => a * b, 1);
    const values = all.subarray(offset, (offset += total));
    const kernel = shape.slice(2).reduce((a, b) => a * b, 1);
    return { name, shape, obstacles, values, total, kernel, rows: shape[0], cols: total / shape[0] };
  });
}

export const parseNOfM = (structure) => (structure.match(/^(\d+):(\d+)$/) ?? []).slice(1).map(Number);

/**
 * A function (structure, scope, sparsity) -> for each layer {kept, threshold, keep()}. What does not depend on the sparsity is
 * sorted once and remembered; then a layer's count is a binary search, and a mask is one comparison per weight.
 */
export function chooser(layers) {
  const remembered = new Map();
  const once = (key, make) => remembered.get(key) ?? remembered.set(key, make()).get(key);

  function ranked(structure, scope) {
    const possible = layers.filter((layer) => !layer.obstacles[structure]);
    const plans = new Map();
    for (const members of scope === "global" ? [possible] : possible.map((layer) => [layer])) {
      const parts = members.map((layer) => unitScores(layer, structure));
      const scores = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
      parts.reduce((offset, part) => (scores.set(part, offset), offset + part.length), 0);
      const order = descending(scores);
      const rank = new Uint32Array(order.length);
      order.forEach((index, place) => (rank[index] = place));
      let offset = 0;
      members.forEach((layer, i) => {
        const own = rank.subarray(offset, (offset += parts[i].length));
        plans.set(layer, { scores, order, rank: own, ascending: own.slice().sort() });
      });
    }
    return plans;
  }

  return function choose(structure, scope, sparsity) {
    const [n, m] = parseNOfM(structure);
    if (structure !== "unstructured") scope = "layer";
    const plans = m ? null : once(`${structure} ${scope}`, () => ranked(structure, scope));
    return layers.map((layer) => {
      if (layer.obstacles[structure])
        return { kept: layer.total, threshold: null, keep: () => new Uint8Array(layer.total).fill(1) };
      if (m) {
        const keep = () => once(`${structure} ${layer.name}`, () => keepNOfM(layer.values, n, m));
        return { kept: (layer.total / m) * n, threshold: null, keep };
      }
      const { scores, order, rank, ascending } = plans.get(layer);
      const limit = roundHalfEven(order.length * (1 - sparsity)); // so many units of the pool stay
      let low = 0;
      for (let high = ascending.length; low < high; ) {
        const middle = (low + high) >> 1;
        if (ascending[middle] < limit) low = middle + 1;
        else high = middle;
      }
      const partly = structure === "unstructured" && 0 < limit && limit < order.length;
      return {
        kept: (low * layer.total) / rank.length,
        threshold: partly ? scores[order[limit - 1]] : null,
        keep() {
          const keep = new Uint8Array(layer.total);
          if (structure === "unstructured") {
            for (let i = 0; i < keep.length; i++) keep[i] = rank[i] < limit ? 1 : 0;
            return keep;
          }
          const unit = UNITS[structure](layer);
          for (let row = 0, i = 0; row < layer.rows; row++)
            for (let col = 0; col < layer.cols; col++, i++) keep[i] = rank[unit.of(row, col)] < limit ? 1 : 0;
          return keep;
        },
      };
    });
  };
}
