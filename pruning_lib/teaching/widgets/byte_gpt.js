// The GPT over bytes, run in the page: unpacked from whole numbers, fed byte by byte, with a key-value cache.

const EPSILON = 1e-5; // of a layer norm
const SPARSE = 0.5; // share of the weights: with more, looking up their columns costs more than it saves

/** The content of a part that `packed_gpt.py` deflated. */
async function inflated(part) {
  const stream = new Blob([part]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** What all variants share: `floats` and, of every matrix, `codes`, by name; `shapes` has the names in their order. */
async function dense(part, shapes) {
  const bytes = await inflated(part);
  let at = 0;
  const take = (count, size, Kind) => new Kind(bytes.buffer.slice(at, (at += count * size)));
  const [floats, codes] = [{}, {}];
  for (const [name, shape] of shapes) floats[name] = take(shape[0], 4, Float32Array); // a vector, or the scales of a matrix's rows
  for (const [name, shape] of shapes) if (shape.length > 1) codes[name] = take(shape[0] * shape[1], 1, Int8Array);
  return { floats, codes };
}

/** Places in the order of a key below 1024: those with equal keys as they come. */
function sorted(keys) {
  const starts = new Uint32Array(1025);
  for (const key of keys) starts[key + 1]++;
  for (let i = 0; i < 1024; i++) starts[i + 1] += starts[i];
  const order = new Uint32Array(keys.length);
  keys.forEach((key, i) => (order[starts[key]++] = i));
  return order;
}

/** Codes of a pruned variant by name: a bit for each weight (1: stays), then what is added to the `base`'s code where it stays. */
async function pruned(part, names, first, base) {
  const bytes = await inflated(part);
  const weights = names.reduce((sum, name) => sum + first[name].length, 0);
  let [bit, change] = [0, Math.ceil(weights / 8)];
  const codes = {};
  for (const name of names) {
    const [original, from] = [first[name], base[name]];
    const key = Uint16Array.from(original, (code, i) => Math.abs(code) + (from[i] ? 256 : 0));
    const to = (codes[name] = new Int8Array(from.length));
    for (const i of sorted(key)) {
      if (bytes[bit >> 3] & (128 >> (bit & 7))) to[i] = from[i] + ((bytes[change++] << 24) >> 24);
      bit++;
    }
  }
  return codes;
}

/** A matrix as one multiplies with it: only the codes that are not zero, with their columns, where that pays. */
function matrix(codes, scales, columns, mayBeSparse) {
  const rows = scales.length;
  const filled = codes.reduce((count, code) => count + (code !== 0), 0);
  if (!mayBeSparse || filled > SPARSE * codes.length) return { rows, columns, scales, values: codes };
  const [values, places, ends] = [new Int8Array(filled), new Uint16Array(filled), new Uint32Array(rows)];
  let at = 0;
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      if (!codes[i * columns + j]) continue;
      values[at] = codes[i * columns + j];
      places[at++] = j;
    }
    ends[i] = at;
  }
  return { rows, columns, scales, values, places, ends };
}

/** scale · (codes x) + bias, in float64. Four sums at a time: each would wait for its own last addition. */
function product({ rows, columns, scales, values, places, ends }, x, bias) {
  const y = new Float64Array(rows);
  let at = 0;
  for (let i = 0; i < rows; i++) {
    let a = 0, b = 0, c = 0, d = 0;
    if (places) {
      const end = ends[i];
      for (; at + 3 < end; at += 4) {
        a += values[at] * x[places[at]];
        b += values[at + 1] * x[places[at + 1]];
        c += values[at + 2] * x[places[at + 2]];
        d += values[at + 3] * x[places[at + 3]];
      }
      for (; at < end; at++) a += values[at] * x[places[at]];
    } else {
      let j = 0;
      for (; j + 3 < columns; j += 4) {
        a += values[at + j] * x[j];
        b += values[at + j + 1] * x[j + 1];
        c += values[at + j + 2] * x[j + 2];
        d += values[at + j + 3] * x[j + 3];
      }
      for (; j < columns; j++) a += values[at + j] * x[j];
      at += columns;
    }
    y[i] = scales[i] * (a + b + c + d) + (bias ? bias[i] : 0);
  }
  return y;
}

function normalized(x, weight, bias) {
  let [mean, square] = [0, 0];
  for (const value of x) mean += value / x.length;
  for (const value of x) square += (value - mean) ** 2 / x.length;
  return x.map((value, i) => ((value - mean) / Math.sqrt(square + EPSILON)) * weight[i] + bias[i]);
}

/** x·Φ(x), with the error function to 1.5e-7 (Abramowitz and Stegun 1964, 7.1.26). */
function gelu(x) {
  const z = Math.abs(x) / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * z);
  const tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))) * Math.exp(-z * z);
  return x * (x < 0 ? tail / 2 : 1 - tail / 2);
}

export function softmax(values, temperature = 1) {
  const most = values.reduce((one, other) => Math.max(one, other));
  const powers = values.map((value) => Math.exp((value - most) / temperature));
  const sum = powers.reduce((one, other) => one + other);
  return powers.map((power) => power / sum);
}

/** Reads bytes one by one: `feed` gives the logits of the byte that comes next, `rewind` forgets all but the first ones. */
export function reader({ config: { width, depth, heads, context }, floats, matrices }) {
  const size = width / heads;
  const caches = Array.from({ length: depth }, () => [new Float32Array(context * width), new Float32Array(context * width)]);
  let length = 0;

  const layer = (name, x) => product(matrices[`${name}.weight`], x, floats[`${name}.bias`]);
  const norm = (name, x) => normalized(x, floats[`${name}.weight`], floats[`${name}.bias`]);

  function attention(name, x, [keys, values]) {
    const query = layer(`${name}.query`, x);
    keys.set(layer(`${name}.key`, x), length * width);
    values.set(layer(`${name}.value`, x), length * width);
    const mixed = new Float64Array(width);
    for (let from = 0; from < width; from += size) {
      const scores = new Float64Array(length + 1);
      for (let t = 0, at = from; t <= length; t++, at += width) {
        let sum = 0;
        for (let i = 0; i < size; i++) sum += query[from + i] * keys[at + i];
        scores[t] = sum / Math.sqrt(size);
      }
      const shares = softmax(scores);
      for (let t = 0, at = from; t <= length; t++, at += width) {
        const share = shares[t];
        for (let i = 0; i < size; i++) mixed[from + i] += share * values[at + i];
      }
    }
    return layer(`${name}.output`, mixed);
  }

  function feed(byte) {
    if (length === context) throw new Error(`the context of ${context} bytes is full`);
    const row = (name, i) => matrices[name].values.subarray(i * width, (i + 1) * width);
    const [token, position] = [row("token.weight", byte), row("position.weight", length)];
    const [one, other] = [floats["token.weight"][byte], floats["position.weight"][length]];
    const x = new Float64Array(token).map((code, i) => code * one + position[i] * other);
    const add = (change) => change.forEach((value, i) => (x[i] += value));
    for (let k = 0; k < depth; k++) {
      const name = `blocks.${k}`;
      add(attention(`${name}.attention`, norm(`${name}.norm1`, x), caches[k]));
      add(layer(`${name}.mlp.down`, layer(`${name}.mlp.up`, norm(`${name}.norm2`, x)).map(gelu)));
    }
    length++;
    return product(matrices["token.weight"], norm("norm", x));
  }
  const rewind = (count) => (length = Math.min(length, count));
  return { feed, rewind };
}

/**
 * The networks of `packed` bytes, as `packed_gpt.py` says what is where: a function that unpacks one by its name, once.
 * The first one is dense, the others are told by a mask and by what differs from another.
 */
export function networks(packed, { config, shapes, parts }) {
  const bytes = new Uint8Array(packed.buffer, packed.byteOffset, packed.byteLength);
  const part = (name) => bytes.subarray(parts[name].at, parts[name].at + parts[name].length);
  const [first] = Object.keys(parts);
  const names = shapes.filter(([name, shape]) => name.startsWith("blocks.") && shape.length > 1).map(([name]) => name);
  const once = (make) => {
    const made = {};
    return (name) => (made[name] ??= make(name));
  };
  const shared = once(() => dense(part(first), shapes));
  const codes = once(async (name) => {
    const { codes: own } = await shared();
    return name === first ? own : { ...own, ...(await pruned(part(name), names, own, await codes(parts[name].base))) };
  });
  return once(async (name) => {
    const [{ floats }, own] = [await shared(), await codes(name)];
    const matrices = {};
    for (const [key, values] of Object.entries(own))
      matrices[key] = matrix(values, floats[key], values.length / floats[key].length, names.includes(key));
    return { config, floats, matrices };
  });
}
