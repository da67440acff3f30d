// Roofline explorer: the bounds of a square layer, dense and 2:4, from the peaks that Python sends. Computed here.

import { number, percent } from "./canvas.js";
import { chart, list, setSlider, short, slider, stage } from "./charts.js";
import { follow } from "./redraw.js";

const CONTROLS = list("gpu", "GPU") + list("dtype", "numbers") + slider("width", "layer width") + slider("tokens", "tokens") + slider("share", "share of time in products");
const PANELS = {
  roofs: `<span class="key"><i class="second"></i> dense</span>, <span class="key"><i class="first"></i> 2:4</span>; left of the bend memory is the limit, right of it computing`,
  gain: `Speed-up of 2:4 at most (it dips as inputs and outputs, which stay dense, weigh more): <span class="key"><i class="line"></i> this layer</span>, <span class="key"><i class="model"></i> the whole model</span>; <span class="key"><b style="color:var(--accent)">◆</b> here</span>; hollow: timed`,
};

/** Least time of W X, W (rows, columns), X (columns, tokens): see `roofline` in acceleration/roofline.py. */
function bound({ bandwidth, peak }, { bytes, share }, rows, columns, tokens, sparse) {
  const flop = 2 * rows * columns * tokens;
  const moved = rows * columns * bytes * (sparse ? share : 1) + (rows + columns) * tokens * bytes;
  const compute = flop / (peak[sparse ? 1 : 0] * 1e12);
  const memory = moved / (bandwidth * 1e12);
  return { flop, bytes: moved, compute, memory, seconds: Math.max(compute, memory), bound: compute >= memory ? "compute" : "memory", intensity: flop / moved };
}

const cardOf = (table, { gpu, dtype }) => ({ bandwidth: table.gpus[gpu].bandwidth, peak: table.gpus[gpu].peak[dtype] });

/** Amdahl's law: how much faster the whole is if what takes a `share` of its time is `speedUp` times as fast. */
export const amdahl = (share, speedUp) => 1 / (1 - share + share / speedUp);

/** Both bounds and their ratio, and what it makes of the whole model. */
export function prediction(table, { gpu, width, tokens, dtype, share }) {
  const [dense, sparse] = [false, true].map((kind) => bound(cardOf(table, { gpu, dtype }), table.dtypes[dtype], width, width, tokens, kind));
  const speedUp = dense.seconds / sparse.seconds;
  return { dense, sparse, speedUp, whole: amdahl(share, speedUp) };
}

/** Where the measured products of this GPU and format stand: FLOP per byte and TFLOP/s, dense and 2:4. */
export function measured(table, runs, { gpu, dtype }) {
  return runs
    .filter((run) => run.gpu === gpu && run.dtype === dtype)
    .map((run) => {
      const point = (kind) => {
        const { flop, intensity } = bound(cardOf(table, run), table.dtypes[dtype], run.rows, run.columns, run.tokens, kind === "sparse");
        return [intensity, flop / run[kind] / 1e12];
      };
      return { dense: point("dense"), sparse: point("sparse"), gain: [run.tokens, run.dense / run.sparse] };
    });
}

const unitOf = ({ dtype }) => (dtype === "int8" ? "OP" : "FLOP");
const KINDS = { dense: { color: "updated", shape: "square", dash: [6, 4] }, sparse: { color: "kept", shape: "circle", dash: [] } };

function drawRoofs(canvas, table, values, result, intensities, points) {
  const { bandwidth, peak } = table.gpus[values.gpu];
  const unit = unitOf(values);
  const highest = Math.max(...Object.values(table.gpus).flatMap((gpu) => Object.values(gpu.peak).flat())); // one scale for all GPUs
  const lowest = Math.min(0.2, ...points.flatMap(({ dense, sparse }) => [0.7 * dense[1], 0.7 * sparse[1]]));
  const c = chart(canvas, 270, { x: intensities, y: [lowest, 2 * highest], log: true, logX: true, xTitle: `${unit} per byte moved (skipped ones count)`, yTitle: `T${unit}/s at most` });
  Object.entries(KINDS).forEach(([name, { color, shape, dash }], k) => {
    const top = peak[values.dtype][k];
    const bend = top / bandwidth;
    c.line([[intensities[0], intensities[0] * bandwidth], [bend, top], [intensities[1], top]], palette[color], { dash });
    const { flop, seconds, intensity } = result[name];
    const point = [intensity, flop / seconds / 1e12];
    c.line([[intensity, lowest], point], palette[color], { width: 1, dash: [2, 3] });
    c.marker(point, palette[color], { shape, size: 5 });
    for (const one of points) c.marker(one[name], palette[color], { shape, size: 3, filled: false, alpha: 0.8 });
  });
}

function drawGain(canvas, table, values, result, points) {
  const counts = Array.from({ length: 225 }, (_, k) => 2 ** (k / 16)); // so fine that the dip before the bend is met
  const c = chart(canvas, 270, { x: [1, 2 ** 14], y: [0.9, 2.15], logX: true, xTitle: "tokens", yTitle: "speed-up at most" });
  c.line([[1, 1], [2 ** 14, 1]], palette.muted, { width: 1, dash: [2, 3] });
  const curve = counts.map((tokens) => [tokens, prediction(table, { ...values, tokens })]);
  c.line(curve.map(([tokens, { speedUp }]) => [tokens, speedUp]), palette.kept);
  c.line(curve.map(([tokens, { whole }]) => [tokens, whole]), palette.good, { dash: [2, 4] });
  for (const { gain } of points) c.marker(gain, palette.kept, { size: 4, filled: false });
  for (const speedUp of [result.speedUp, result.whole]) c.marker([values.tokens, speedUp], palette.accent, { shape: "diamond", size: 6 });
}

/** Seconds as µs or ms. */
const time = (seconds) => (seconds < 1e-3 ? `${short(1e6 * seconds)} µs` : `${short(1e3 * seconds)} ms`);

function render({ model, el }) {
  const [table, limits, intensities, runs] = ["table", "limits", "intensities", "runs"].map((name) => model.get(name));
  const { root, find, describe } = stage(el, "roofline-explorer", CONTROLS, PANELS);
  for (const name of Object.keys(limits)) [find(`.${name}`).min, find(`.${name}`).max] = limits[name].map(Math.log2); // a step doubles
  Object.assign(find(".share"), { max: 1, step: 0.05 });
  for (const name of ["gpu", "dtype"]) for (const key of Object.keys(table[`${name}s`])) find(`.${name}`).add(new Option(key, key));

  function draw(values) {
    const result = prediction(table, values);
    for (const name of ["gpu", "dtype"]) find(`.${name}`).value = values[name];
    for (const name of Object.keys(limits)) setSlider(find(`.${name}`), Math.log2(values[name]), number(values[name]));
    setSlider(find(".share"), values.share, percent(values.share).replace(".0", ""));
    const { dense, sparse, speedUp, whole } = result;
    const points = measured(table, runs, values);
    const words = (one) => `${time(one.seconds)} (bound by ${one.bound === "memory" ? "memory" : "computing"}, ${short(one.intensity)} ${unitOf(values)} per byte)`;
    const promise = `2:4 can be at most ${speedUp.toFixed(2)} times as fast`;
    const end = `with ${percent(values.share).replace(".0", "")} of a model's time in such products, the whole model at most ${whole.toFixed(2)} times`;
    const count = `${points.length} product${points.length === 1 ? "" : "s"}`;
    const record = points.length ? `Hollow marks: ${count} timed on this card, each of its own size.` : "Nobody's times on this card are given.";
    find("p").textContent = `At least: dense ${words(dense)}, 2:4 ${words(sparse)}. ${promise}; ${end}. Bounds, not forecasts. ${record}`;
    drawRoofs(find(".roofs canvas"), table, values, result, intensities, points);
    drawGain(find(".gain canvas"), table, values, result, points);
    describe(".roofs", `Rooflines of ${values.gpu}: dense at ${short(dense.intensity)} ${unitOf(values)} per byte bound by ${dense.bound}, 2:4 at ${short(sparse.intensity)} bound by ${sparse.bound}; ${points.length} measured points`);
    describe(".gain", `Speed-up over the number of tokens; at ${values.tokens} tokens ${promise}, the whole model at most ${whole.toFixed(2)} times`);
  }

  const doubled = (steps) => 2 ** steps;
  return follow(model, { gpu: String, dtype: String, width: doubled, tokens: doubled, share: Number }, root, draw).end;
}

export default { render };
