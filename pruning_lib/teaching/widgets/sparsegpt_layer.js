// A small layer, pruned as the library does it, in double precision: the states of every form, and what correlation does.

import { roundHalfEven } from "./sparsity_choice.js";

const SAFE = 1e-3; // a Cholesky pivot below this share of its diagonal entry: inputs that nearly depend on one another
const NUMBER_BYTES = 4; // of a float32 weight

const copy = (matrix) => matrix.map((row) => [...row]);
const filled = (rows, columns, value) => Array.from({ length: rows }, () => Array(columns).fill(value));

/** Lower L with LLᵀ = `H`, the pivots L_jj², and the first place where a pivot is below `SAFE` of H_jj; −1: nowhere. */
function cholesky(H) {
  const n = H.length;
  const L = filled(n, n, 0);
  const pivots = [];
  for (let j = 0; j < n; j++) {
    pivots.push(H[j][j] - L[j].reduce((sum, value) => sum + value * value, 0));
    if (!(pivots[j] > 0)) return { L, pivots, unsafe: j };
    L[j][j] = Math.sqrt(pivots[j]);
    for (let i = j + 1; i < n; i++) {
      let rest = H[i][j];
      for (let k = 0; k < j; k++) rest -= L[i][k] * L[j][k];
      L[i][j] = rest / L[j][j];
    }
  }
  return { L, pivots, unsafe: pivots.findIndex((pivot, j) => pivot < SAFE * H[j][j]) };
}

/** H⁻¹ = L⁻ᵀL⁻¹. */
function inverse(H) {
  const { L } = cholesky(H);
  const n = L.length;
  const R = filled(n, n, 0); // L⁻¹
  for (let j = 0; j < n; j++)
    for (let i = j; i < n; i++) {
      let rest = i === j ? 1 : 0;
      for (let k = j; k < i; k++) rest -= L[i][k] * R[k][j];
      R[i][j] = rest / L[i][i];
    }
  const product = filled(n, n, 0);
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) for (let k = Math.max(i, j); k < n; k++) product[i][j] += R[k][i] * R[k][j];
  return product;
}

/** U, upper triangular, with UᵀU = B. */
const upper = (B) => {
  const { L } = cholesky(B);
  return L.map((_, i) => L.map((row) => row[i]));
};

/** tr(ΔHΔᵀ) of Δ = W − Ŵ. */
function errorOf(W, pruned, H) {
  let error = 0;
  for (let i = 0; i < W.length; i++)
    for (let a = 0; a < H.length; a++) {
      const delta = W[i][a] - pruned[i][a];
      for (let b = 0; delta && b < H.length; b++) error += delta * H[a][b] * (W[i][b] - pruned[i][b]);
    }
  return error;
}

/** What stays in the columns from `start` to before `end`: the largest |w|/√pivot, as many as the sparsity leaves; of equal ones the first, column by column. */
function chosen(W, pivots, start, end, sparsity) {
  const scores = [];
  for (let j = start; j < end; j++) W.forEach((row, i) => scores.push({ i, j, score: Math.abs(row[j]) / Math.sqrt(pivots[j]) }));
  const kept = roundHalfEven(scores.length * (1 - sparsity));
  return scores.sort((one, other) => other.score - one.score).slice(kept); // stable: equal ones keep their order
}

/** The states "synchronized" and "cholesky": column after column, one inverse or one factor for all rows; `end`: the last alone. */
function columnStates(weight, H, { sparsity, maskBlock }, form, end = false) {
  const [rows, columns] = [weight.length, weight[0].length];
  const B0 = inverse(H);
  const U = upper(B0);
  const factored = form === "cholesky";
  const W = copy(weight);
  const goes = filled(rows, columns, false);
  let B = copy(B0);
  let [updates, entries] = [0, 0];
  const shown = () => [factored ? U : copy(B)];
  const states = [{ weight: copy(W), marks: filled(rows, columns, "kept"), planned: copy(goes), error: 0, inverses: shown(), columns: [], updates, entries }];
  for (let j = 0; j < columns; j++) {
    if (j % maskBlock === 0)
      for (const { i, j: column } of chosen(W, U.map((row, k) => row[k] ** 2), j, Math.min(j + maskBlock, columns), sparsity)) goes[i][column] = true;
    const first = factored ? U[j].map((value) => U[j][j] * value) : B[j];
    const marks = filled(rows, columns, "kept");
    for (let i = 0; i < rows; i++) {
      const scaled = W[i][j] / first[j];
      for (let k = 0; k < columns; k++) {
        if (k < j) marks[i][k] = goes[i][k] ? "pruned" : "frozen";
        else if (k === j) marks[i][k] = goes[i][k] ? "now" : "frozen";
        else if (goes[i][j]) {
          marks[i][k] = "moved";
          // w_S ← w_S − w_j/[(H_S)⁻¹]₁₁ · row 1 of (H_S)⁻¹
          W[i][k] -= scaled * first[k];
        }
      }
      if (goes[i][j]) W[i][j] = 0;
    }
    const planned = () => goes.map((row) => row.map((gone, k) => gone && k > j));
    if (!end || j === columns - 1)
      states.push({ weight: copy(W), marks, planned: planned(), error: errorOf(weight, W, H), inverses: shown(), columns: Array(rows).fill(j), updates, entries });
    if (factored) continue;
    // GPT-7: B − B_{:,1} B_{1,:} / B₁₁, without its first row and column
    B = B.map((row, a) => row.map((value, b) => (a > j && b > j ? value - (B[a][j] * B[j][b]) / B[j][j] : 0)));
    updates += 1;
    entries += (columns - j - 1) ** 2;
  }
  return states;
}

/** The states "exact": in each step every row deletes its cheapest weight and downdates an inverse of its own; `end`: the last alone. */
function exactStates(weight, H, { sparsity }, end = false) {
  const [rows, columns] = [weight.length, weight[0].length];
  const W = copy(weight);
  const B0 = inverse(H);
  const B = weight.map(() => B0);
  const gone = filled(rows, columns, false);
  const count = columns - roundHalfEven(columns * (1 - sparsity));
  const states = [{ weight: copy(W), marks: filled(rows, columns, "kept"), planned: copy(gone), error: 0, inverses: [...B], columns: [], updates: 0, entries: 0 }];
  let [updates, entries] = [0, 0];
  for (let step = 0; step < count; step++) {
    const inverses = [...B];
    const chosenColumns = [];
    const marks = gone.map((row) => row.map((there) => (there ? "pruned" : "moved")));
    for (let i = 0; i < rows; i++) {
      // OBS-5: the least w_q²/[H⁻¹]_qq goes, of equal ones the last
      const cost = (q) => (0.5 * W[i][q] ** 2) / B[i][q][q];
      const q = gone[i].reduce((best, there, k) => (there || (best >= 0 && cost(k) > cost(best)) ? best : k), -1);
      const row = [...B[i][q]];
      const scaled = W[i][q] / row[q];
      gone[i][q] = true;
      W[i] = W[i].map((value, k) => (gone[i][k] ? 0 : value - scaled * row[k]));
      const left = (line, a) => (a === q ? line.map(() => 0) : gone[i][a] ? line : line.map((value, b) => (gone[i][b] ? 0 : value - (row[a] * row[b]) / row[q])));
      if (step < count - 1) B[i] = B[i].map(left); // the last state shows it as it was before
      marks[i][q] = "now";
      chosenColumns.push(q);
    }
    if (!end || step === count - 1)
      states.push({ weight: copy(W), marks, planned: filled(rows, columns, false), error: errorOf(weight, W, H), inverses, columns: chosenColumns, updates, entries });
    updates += rows;
    entries += rows * (columns - step - 1) ** 2;
  }
  return states;
}

/** Bytes of weights that updates read and write: `eager`, each column at once everything from it on; `lazy`, only to the end of its block, and the rest once a block. */
export function traffic(rows, columns, block, done = columns) {
  const each = 2 * NUMBER_BYTES * rows; // of one column: read and written
  const moved = { eager: 0, lazy: 0 };
  for (let j = 0; j < done; j++) {
    const end = Math.min(j - (j % block) + block, columns);
    moved.eager += each * (columns - j);
    moved.lazy += each * (end - j);
    if (j === end - 1) moved.lazy += each * (columns - end);
  }
  return moved;
}

/** GPT-8 as it runs: of each block its mask, its columns with updates inside it, then once the columns to its right. */
export function blockStates(weight, H, { sparsity, maskBlock }) {
  const [rows, columns] = [weight.length, weight[0].length];
  const U = upper(inverse(H));
  const W = copy(weight);
  const goes = filled(rows, columns, false);
  const states = [];
  function add(phase, at, start, end, done, marks) {
    const planned = goes.map((row, i) => row.map((gone, k) => gone && k < end && ["kept", "moved"].includes(marks[i][k]) && phase !== "lazy"));
    const moved = traffic(rows, columns, maskBlock, done);
    if (phase === "column" && at === end - 1) moved.lazy -= 2 * NUMBER_BYTES * rows * (columns - end); // comes with the lazy step
    states.push({ phase, at, start, end, weight: copy(W), marks, planned, moved, U });
  }
  const past = (i, k) => (goes[i][k] ? "pruned" : "frozen");
  add("start", -1, 0, 0, 0, filled(rows, columns, "kept"));
  for (let start = 0; start < columns; start += maskBlock) {
    const end = Math.min(start + maskBlock, columns);
    for (const { i, j } of chosen(W, U.map((row, k) => row[k] ** 2), start, end, sparsity)) goes[i][j] = true;
    add("mask", -1, start, end, start, goes.map((row, i) => row.map((_, k) => (k < start ? past(i, k) : "kept"))));
    const E = filled(rows, end - start, 0);
    for (let j = start; j < end; j++) {
      for (let i = 0; i < rows; i++) {
        // E_{:,j} = (W_{:,j} − M_{:,j} ⊙ W_{:,j}) / U_jj,  W_{:,j:b_end} ← W_{:,j:b_end} − E_{:,j} U_{j,j:b_end}
        E[i][j - start] = goes[i][j] ? W[i][j] / U[j][j] : 0;
        for (let k = j + 1; k < end; k++) W[i][k] -= E[i][j - start] * U[j][k];
        if (goes[i][j]) W[i][j] = 0;
      }
      const owes = (i) => goes[i].slice(start, j + 1).some(Boolean); // something of this block waits for the columns after it
      const mark = (i, k) => {
        if (k < j) return past(i, k);
        if (k === j) return goes[i][k] ? "now" : "frozen";
        if (k < end) return goes[i][j] ? "moved" : "kept";
        return owes(i) ? "waits" : "kept";
      };
      add("column", j, start, end, j + 1, W.map((row, i) => row.map((_, k) => mark(i, k))));
    }
    if (end === columns) break;
    // W_{:,b_end:} ← W_{:,b_end:} − E U_{b,b_end:}
    for (let i = 0; i < rows; i++) for (let k = end; k < columns; k++) for (let j = start; j < end; j++) W[i][k] -= E[i][j - start] * U[j][k];
    const owed = (i) => goes[i].slice(start, end).some(Boolean);
    add("lazy", -1, start, end, end, W.map((row, i) => row.map((_, k) => (k < end ? past(i, k) : owed(i) ? "moved" : "kept"))));
  }
  return states;
}

/** The states of the three forms that the stepper compares: of each a list, its start first. */
export const formStates = (weight, H, settings) => ({
  exact: exactStates(weight, H, settings),
  synchronized: columnStates(weight, H, settings, "synchronized"),
  cholesky: columnStates(weight, H, settings, "cholesky"),
});

/** Errors of the layer, shares of ‖WX‖²: SparseGPT's mask with nothing else changed, SparseGPT, and exact OBS per row. */
export function losses(weight, H, settings) {
  const nothing = weight.map((row) => row.map(() => 0));
  const whole = errorOf(weight, nothing, H);
  const final = columnStates(weight, H, settings, "cholesky", true).at(-1);
  const alone = weight.map((row, i) => row.map((value, j) => (["now", "pruned"].includes(final.marks[i][j]) ? 0 : value)));
  return { alone: errorOf(weight, alone, H) / whole, shared: final.error / whole, exact: exactStates(weight, H, settings, true).at(-1).error / whole };
}

/** H of inputs that keep their strengths (the diagonal) and are all equally correlated: H_ij = ρ √(H_ii H_jj). */
export const correlated = (H, rho) => H.map((row, i) => row.map((_, j) => (i === j ? H[i][i] : rho * Math.sqrt(H[i][i] * H[j][j]))));

/** Mean of the absolute correlations of all pairs of inputs. */
export function correlation(H) {
  const pairs = H.flatMap((row, i) => row.slice(0, i).map((value, j) => Math.abs(value) / Math.sqrt(H[i][i] * H[j][j])));
  return pairs.reduce((sum, value) => sum + value, 0) / pairs.length;
}

/** What forbids such a layer, in words; "" if nothing does. */
export function refusal(weight, H, name) {
  if (!weight.flat().some((value) => value !== 0)) return "all weights would be 0, and a layer that outputs nothing has no error to compare";
  const { pivots, unsafe } = cholesky(H);
  if (unsafe < 0) return "";
  const what = pivots[unsafe] > 0 ? `all but ${((100 * pivots[unsafe]) / H[unsafe][unsafe]).toFixed(2)} % of input ${name(unsafe)} would follow from the inputs before it` : `H would be indefinite (pivot ${pivots[unsafe].toFixed(2).replace("-", "−")} at ${name(unsafe)}): some mixture of the inputs would have negative power`;
  return `${what}, and H = XXᵀ has no usable inverse`;
}
