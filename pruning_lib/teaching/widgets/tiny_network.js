// A network inputs–hidden–1 with tanh in both layers, small enough for all of Optimal Brain Surgeon at every key.
// A case is the list of its inputs that are 1. The weights stand in one list, as torch names them: hidden (hidden, inputs),
// its biases, output (hidden), its bias.

/** Where each weight is: from which node to which. Nodes are ["in", i], ["h", j], ["out", 0], and ["one", layer] for biases. */
export function connections(inputs, hidden) {
  const list = [];
  for (let j = 0; j < hidden; j++) for (let i = 0; i < inputs; i++) list.push([["in", i], ["h", j]]);
  for (let j = 0; j < hidden; j++) list.push([["one", 0], ["h", j]]);
  for (let j = 0; j < hidden; j++) list.push([["h", j], ["out", 0]]);
  list.push([["one", 1], ["out", 0]]);
  return list;
}

/** The output for one case; those of the hidden units go into `h`. */
function forward({ inputs, hidden }, w, ones, h) {
  const bias = inputs * hidden;
  let sum = w[bias + 2 * hidden];
  for (let j = 0; j < hidden; j++) {
    let inner = w[bias + j];
    for (const i of ones) inner += w[j * inputs + i];
    h[j] = Math.tanh(inner);
    sum += h[j] * w[bias + hidden + j];
  }
  return Math.tanh(sum);
}

export function outputs(net, w, cases) {
  const h = new Float64Array(net.hidden);
  return cases.map((ones) => forward(net, w, ones, h));
}

/** E = 1/(2P) Σ (t − o)² (OBS-6), and how many of the cases are on the right side of 0. */
export function judge(net, w, cases, targets) {
  let [error, right] = [0, 0];
  outputs(net, w, cases).forEach((o, k) => {
    error += (targets[k] - o) ** 2;
    if (o > 0 === targets[k] > 0) right++; // an output of exactly 0 is a no, as in monks.accuracy
  });
  return { error: error / (2 * cases.length), right };
}

/** ∂o/∂w of every case, for the weights `alive` only. */
export function jacobian(net, w, cases, alive) {
  const { inputs, hidden } = net;
  const bias = inputs * hidden;
  const h = new Float64Array(hidden);
  return cases.map((ones) => {
    const o = forward(net, w, ones, h);
    const outer = 1 - o * o;
    const row = new Float64Array(bias + 2 * hidden + 1);
    h.forEach((value, j) => {
      const inner = outer * w[bias + hidden + j] * (1 - value * value);
      for (const i of ones) row[j * inputs + i] = inner;
      row[bias + j] = inner;
      row[bias + hidden + j] = outer * value;
    });
    row[bias + 2 * hidden] = outer;
    return Float64Array.from(alive, (index) => row[index]);
  });
}

/** H + αI of OBS-9: 1/P Σ X Xᵀ + αI. */
export function hessian(rows, alpha) {
  const n = rows[0].length;
  const H = Array.from({ length: n }, () => new Float64Array(n));
  for (const X of rows)
    for (let a = 0; a < n; a++) if (X[a]) for (let b = 0; b <= a; b++) H[a][b] += X[a] * X[b];
  for (let a = 0; a < n; a++) {
    for (let b = 0; b <= a; b++) H[b][a] = H[a][b] /= rows.length;
    H[a][a] += alpha;
  }
  return H;
}

/** The inverse of a positive definite matrix, by Gauss and Jordan: its pivots need no order. */
export function inverse(matrix) {
  const n = matrix.length;
  const left = matrix.map((row) => row.slice());
  const right = matrix.map((_, a) => new Float64Array(n).fill(1, a, a + 1));
  for (let k = 0; k < n; k++) {
    const pivot = left[k][k];
    for (let b = 0; b < n; b++) {
      left[k][b] /= pivot;
      right[k][b] /= pivot;
    }
    for (let a = 0; a < n; a++) {
      const factor = left[a][k];
      if (a === k || !factor) continue;
      for (let b = 0; b < n; b++) {
        left[a][b] -= factor * left[k][b];
        right[a][b] -= factor * right[k][b];
      }
    }
  }
  return right;
}

/** What each method compares, and which of the weights `local` it deletes: of equal ones the first. */
export function choices(local, H, H_inv) {
  const scores = {
    magnitude: local.map(Math.abs),
    OBD: local.map((w, q) => 0.5 * H[q][q] * w * w),
    OBS: local.map((w, q) => (w * w) / (2 * H_inv[q][q])), // OBS-5
  };
  const least = (values) => values.reduce((best, value, q) => (value < values[best] ? q : best), 0);
  return Object.fromEntries(Object.entries(scores).map(([name, values]) => [name, { scores: values, q: least(values) }]));
}

/** The change δw of all weights when the q-th of `local` goes: the others stay, or follow by OBS-5. */
export function move(local, H_inv, q, follow) {
  // δw = −w_q/[H⁻¹]_qq · H⁻¹e_q
  const delta = local.map((_, a) => (follow ? -(local[q] / H_inv[q][q]) * H_inv[a][q] : 0));
  delta[q] = -local[q];
  return delta;
}
