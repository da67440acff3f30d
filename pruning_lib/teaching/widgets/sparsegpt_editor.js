// The view "change the layer" of the SparseGPT stepper: numbers of W and H by hand, and what correlation is worth.

import { percent, rectangle, setFont, sheet } from "./canvas.js";
import { chart, setSlider } from "./charts.js";
import { digits, fillTable, fixed, gone, label, largest, thinLine, x } from "./sparsegpt_drawing.js";
import { correlated, correlation, losses } from "./sparsegpt_layer.js";

export const LAYER_PANELS = {
  before: `<b>W</b> as given, and below each number what SparseGPT makes of it: <span class="key"><i class="kept"></i> stays and may move</span>, <span class="key"><i class="now"></i> pruned</span>. Drag a number sideways, or type it above.`,
  hessian: "<b>H = XXᵀ</b>, how alike the inputs are. Drag a number sideways; its mirror image follows.",
  curve: `Share of the output's square ‖WX‖² that is lost: <span class="key"><i class="dashed"></i> only set to zero</span>, <span class="key"><i class="second"></i> SparseGPT</span>, <span class="key"><i class="first"></i> exact per row</span>, which must halve every row. Lines: all inputs equally correlated, with a kink where the mask changes; marks: this layer.`,
  lost: "The layer as it is now",
};
const WAYS = { alone: ["muted", "diamond", [6, 4]], shared: ["updated", "square", []], exact: ["kept", "circle", []] };
const RHOS = Array.from({ length: 23 }, (_, k) => Math.min(0.99, 0.045 * k));
const [TOP, GAP] = [24, 4];

export const numbered = (value) => String(Math.round(100 * value) / 100).replace("-", "−");

/** Where the numbers stand on a sheet of that width. */
function grid(width, rows, columns) {
  const left = width < 420 ? 20 : 46;
  const wide = Math.min(58, (width - left - 2) / columns);
  return { left, wide, high: rows === columns ? Math.min(30, wide) : 38 };
}

/** Row and column of the number under the pointer; null beside them. */
export function cellAt(canvas, event, rows, columns) {
  const { left, wide, high } = grid(canvas.clientWidth, rows, columns);
  const box = canvas.getBoundingClientRect();
  const [row, column] = [Math.floor((event.clientY - box.top - TOP) / high), Math.floor((event.clientX - box.left - left) / wide)];
  return row >= 0 && row < rows && column >= 0 && column < columns ? { row, column } : null;
}

/** A matrix of numbers; `look` gives of each the style of its square and a second line. */
function drawMatrix(canvas, matrix, names, selected, look) {
  const [rows, columns] = [matrix.length, matrix[0].length];
  const { left, wide, high } = grid(canvas.parentElement.clientWidth, rows, columns);
  const c = sheet(canvas, TOP + rows * high + 8);
  for (let k = 0; k < columns; k++) label(c, x(k), left + (k + 0.5) * wide, 12, { size: 14 });
  matrix.forEach((line, i) => {
    label(c, names(i, left < 30), left - 6, TOP + (i + 0.5) * high, { align: "right" });
    line.forEach((value, k) => {
      const { style, second } = look(value, i, k);
      const square = [left + k * wide + 1, TOP + i * high + 1, wide - GAP / 2, high - GAP / 2];
      const here = selected && selected.row === i && selected.column === k;
      rectangle(c.g, ...square, here ? { ...style, line: c.ink, thick: 3 } : { ...style, line: style.line ?? thinLine(c) });
      setFont(c.g, 13);
      const middle = [left + (k + 0.5) * wide, TOP + (i + (second ? 0.3 : 0.5)) * high];
      label(c, digits(c.g, value, wide - 3), ...middle, { size: 13 });
      if (second) label(c, second, middle[0], TOP + (i + 0.72) * high, { size: 12 });
    });
  });
}

/** The losses of this W and of inputs as strong as these, over their correlation; kept until one of them changes. */
function lossCurve(memory, weight, hessian, settings) {
  const key = JSON.stringify([weight, hessian.map((row, j) => row[j])]);
  if (memory.key !== key) Object.assign(memory, { key, curve: RHOS.map((rho) => losses(weight, correlated(hessian, rho), settings)) });
  return memory.curve;
}

function layerStory(mean, equal, { alone, shared }, count) {
  const inputs = mean < 0.005 ? "Independent inputs." : `${equal ? "All inputs are correlated by" : "The inputs are correlated by, on average,"} ${fixed(mean)}.`;
  const loss = `Setting ${count} weights to zero loses ${percent(alone)} of the output's square; after compensation ${percent(shared)} ${shared < 0.1 * alone ? "is" : "are"} left.`;
  const made = alone > 0 ? 1 - shared / alone : 0;
  if (mean < 0.005) return `${inputs} ${loss} No weight can do another's work: compensation changes nothing.`;
  if (made > 0.9) return `${inputs} ${loss} Nearly everything is made up for: each input says what the others say.`;
  return `${inputs} ${loss} ${percent(made)} of the loss is made up for.`;
}

/** The layer with the number that is to be changed, and its losses beside those at any correlation. */
export function drawLayer({ find, describe, inputs }, { weight, hessian, settings, forms, cell, refused, memory }) {
  const end = forms.synchronized.at(-1);
  const now = losses(weight, hessian, settings);
  const mean = correlation(hessian);
  const equal = JSON.stringify(correlated(hessian, mean).map((row) => row.map(fixed))) === JSON.stringify(hessian.map((row) => row.map(fixed)));
  const count = end.marks.flat().filter(gone).length;
  setSlider(inputs.rho, mean, `${equal ? "" : "mean "}${fixed(mean)}`, `${fixed(mean)}${equal ? "" : " on average, each pair its own"}`);
  find("p").textContent = refused || layerStory(mean, equal, now, count);
  find("p").classList.toggle("refused", Boolean(refused));

  const [wScale, hScale] = [largest(weight), largest(hessian)];
  const place = (matrix) => (cell.matrix === matrix ? cell : null);
  drawMatrix(find(".before canvas"), weight, (i, short) => (short ? `${i + 1}` : `row ${i + 1}`), place("weight"), (value, i, k) => {
    const pruned = gone(end.marks[i][k]);
    const style = pruned ? { line: palette.accent, thick: 2 } : { fill: palette.kept, alpha: (0.6 * Math.abs(value)) / wScale };
    const after = fixed(end.weight[i][k]);
    return { style, second: pruned ? "0" : after === fixed(value) ? "" : after };
  });
  drawMatrix(find(".hessian canvas"), hessian, x, place("hessian"), (value, i, k) => ({
    style: { fill: palette.muted, alpha: 0.05 + (0.5 * Math.abs(value)) / hScale, line: i === k ? palette.muted : undefined },
  }));

  const curve = lossCurve(memory, weight, hessian, settings);
  const most = Math.max(...curve.flatMap(Object.values), ...Object.values(now));
  const c = chart(find(".curve canvas"), 195, { x: [0, 1], y: [0, 108 * most], xTitle: "correlation of the inputs", yTitle: "% of ‖WX‖² lost" });
  for (const [way, [color, shape, dash]] of Object.entries(WAYS)) {
    c.line(RHOS.map((rho, k) => [rho, 100 * curve[k][way]]), palette[color], { dash });
    c.marker([mean, 100 * now[way]], palette[color], { shape, size: 5, filled: way !== "alone" });
  }
  const made = (share) => (now.alone > 0 ? percent(1 - share / now.alone) : "–");
  fillTable(
    find(".lost table"),
    ["", "lost, of ‖WX‖²", "made up for"],
    [
      ["only set to zero", percent(now.alone), "–"],
      ["SparseGPT, the same mask", percent(now.shared), made(now.shared)],
      [`exact OBS, ${percent(settings.sparsity).replace(".0", "")} of every row`, percent(now.exact), "–"],
    ],
    "SparseGPT, the same mask",
  );
  const rowsOf = (matrix) => matrix.map((row, i) => `row ${i + 1}: ${row.map(fixed).join(", ")}`).join(". ");
  describe(".before", `Weights as given, ${rowsOf(weight)}. After SparseGPT, ${rowsOf(end.weight)}`);
  describe(".hessian", `H, ${rowsOf(hessian)}`);
  describe(".curve", `Share lost over the correlation of the inputs; here, at ${fixed(mean)}: only set to zero ${percent(now.alone)}, SparseGPT ${percent(now.shared)}, exact ${percent(now.exact)}`);
}
