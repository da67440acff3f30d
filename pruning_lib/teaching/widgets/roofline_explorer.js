// Roofline explorer: the bounds of a square layer, dense and 2:4, from the peaks that Python sends. Computed here.

import { number } from "./canvas.js";
import { chart, list, setSlider, short, slider, stage } from "./charts.js";
import { follow } from "./redraw.js";

const CONTROLS = list("gpu", "GPU") + list("dtype", "numbers") + slider("width", "width") + slider("tokens", "tokens");
const PANELS = {
  roofs: `<i class="second"></i> dense, <i class="first"></i> 2:4; left of the bend memory is the limit, right of it computing`,
  gain: `Speed-up of 2:4 at most; <b style="color:var(--accent)">◆</b> here`,
};

/** Least time of W X, W (width, width), X (width, tokens): see `roofline` in acceleration/roofline.py. */
function bound({ bandwidth, peak }, { bytes, share }, width, tokens, sparse) {
  const flop = 2 * width * width * tokens;
  const moved = width * width * bytes * (sparse ? share : 1) + 2 * width * tokens * bytes;
  const compute = flop / (peak[sparse ? 1 : 0] * 1e12);
  const memory = moved / (bandwidth * 1e12);
  return { flop, bytes: moved, compute, memory, seconds: Math.max(compute, memory), bound: compute >= memory ? "compute" : "memory", intensity: flop / moved };
}

/** Both bounds and their ratio. */
export function prediction(table, { gpu, width, tokens, dtype }) {
  const card = { bandwidth: table.gpus[gpu].bandwidth, peak: table.gpus[gpu].peak[dtype] };
  const [dense, sparse] = [false, true].map((kind) => bound(card, table.dtypes[dtype], width, tokens, kind));
  return { dense, sparse, speedUp: dense.seconds / sparse.seconds };
}

const KINDS = { dense: { color: "updated", shape: "square", dash: [6, 4] }, sparse: { color: "kept", shape: "circle", dash: [] } };

function drawRoofs(canvas, table, values, result, intensities) {
  const { bandwidth, peak } = table.gpus[values.gpu];
  const highest = Math.max(...Object.values(table.gpus).flatMap((gpu) => Object.values(gpu.peak).flat())); // one scale for all GPUs
  const c = chart(canvas, 270, { x: intensities, y: [0.2, 2 * highest], log: true, logX: true, xTitle: "FLOP per byte moved", yTitle: "TFLOP/s at most" });
  Object.entries(KINDS).forEach(([name, { color, shape, dash }], k) => {
    const top = peak[values.dtype][k];
    const bend = top / bandwidth;
    c.line([[intensities[0], intensities[0] * bandwidth], [bend, top], [intensities[1], top]], palette[color], { dash });
    const { flop, seconds, intensity } = result[name];
    const point = [intensity, flop / seconds / 1e12];
    c.line([[intensity, 0.2], point], palette[color], { width: 1, dash: [2, 3] });
    c.marker(point, palette[color], { shape, size: 5 });
  });
}

function drawGain(canvas, table, values, result) {
  const counts = Array.from({ length: 57 }, (_, k) => 2 ** (k / 4));
  const c = chart(canvas, 270, { x: [1, 2 ** 14], y: [0.9, 2.15], logX: true, xTitle: "tokens", yTitle: "speed-up at most" });
  c.line([[1, 1], [2 ** 14, 1]], palette.muted, { width: 1, dash: [2, 3] });
  c.line(counts.map((tokens) => [tokens, prediction(table, { ...values, tokens }).speedUp]), palette.kept);
  c.marker([values.tokens, result.speedUp], palette.accent, { shape: "diamond", size: 6 });
}

/** Seconds as µs or ms. */
const time = (seconds) => (seconds < 1e-3 ? `${short(1e6 * seconds)} µs` : `${short(1e3 * seconds)} ms`);

function render({ model, el }) {
  const [table, limits, intensities] = ["table", "limits", "intensities"].map((name) => model.get(name));
  const { root, find, describe } = stage(el, "roofline-explorer", CONTROLS, PANELS);
  for (const name of Object.keys(limits)) [find(`.${name}`).min, find(`.${name}`).max] = limits[name].map(Math.log2); // a step doubles
  for (const name of ["gpu", "dtype"]) for (const key of Object.keys(table[`${name}s`])) find(`.${name}`).add(new Option(key, key));

  function draw(values) {
    const result = prediction(table, values);
    for (const name of ["gpu", "dtype"]) find(`.${name}`).value = values[name];
    for (const name of Object.keys(limits)) setSlider(find(`.${name}`), Math.log2(values[name]), number(values[name]));
    const { dense, sparse, speedUp } = result;
    const words = (one) => `${time(one.seconds)} (bound by ${one.bound === "memory" ? "memory" : "computing"}, ${short(one.intensity)} FLOP per byte)`;
    const promise = `2:4 can be at most ${speedUp.toFixed(2)} times as fast`;
    find("p").textContent = `At least: dense ${words(dense)}, 2:4 ${words(sparse)}. ${promise}. A bound, not a forecast: a kernel may be far slower.`;
    drawRoofs(find(".roofs canvas"), table, values, result, intensities);
    drawGain(find(".gain canvas"), table, values, result);
    describe(".roofs", `Rooflines of ${values.gpu}: dense at ${short(dense.intensity)} FLOP per byte bound by ${dense.bound}, 2:4 at ${short(sparse.intensity)} bound by ${sparse.bound}`);
    describe(".gain", `Speed-up over the number of tokens; at ${values.tokens} tokens ${promise}`);
  }

  const doubled = (steps) => 2 ** steps;
  return follow(model, { gpu: String, dtype: String, width: doubled, tokens: doubled }, root, draw).end;
}

export default { render };
