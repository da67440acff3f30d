// One group of 2:4: four weights, the two that stay, and the multiplexers. All is computed here: sliders need no kernel.

import { rectangle, sheet, stroke, write } from "./canvas.js";
import { chart, list, setSlider, short, slider, stage } from "./charts.js";
import { follow } from "./redraw.js";

const NAMES = ["₀", "₁", "₂", "₃"];
const CONTROLS =
  list("preset", "Example", '<option value="">own values</option>') +
  NAMES.map((name, i) => slider(`w${i}`, `w${name}`)).join("");
const PANELS = {
  group: `<i class="kept"></i> stays, <i class="pruned"></i> becomes zero`,
  multiplexer: "Stored: two values and two 2-bit indices; each index opens one way for an operand",
};

/** The two places stored for four weights of which at most two are not zero; fewer are filled up as CUTLASS does. */
export function places(weights) {
  const [first, second, , last] = weights.map((w) => w !== 0);
  const low = first ? 0 : second ? 1 : 2;
  if (first && second) return [low, 1];
  return [low, last || !(first || second) ? 3 : 2];
}

/** What becomes of a group: the two largest abs(w) stay, the first of equal ones. */
export function packed(weights, operands) {
  const order = [0, 1, 2, 3].sort((i, j) => Math.abs(weights[j]) - Math.abs(weights[i]) || i - j);
  const keep = weights.map((_, i) => order.indexOf(i) < 2);
  const indices = places(weights.map((w, i) => (keep[i] ? w : 0)));
  const values = indices.map((i) => (keep[i] ? weights[i] : 0));
  const selected = indices.map((i) => operands[i]);
  const sum = (one, other) => one.reduce((total, value, i) => total + value * other[i], 0);
  return { keep, values, indices, nibble: indices[0] | (indices[1] << 2), selected, sparse: sum(values, selected), dense: sum(weights, operands) };
}

const signed = (x) => (x < 0 ? `(${short(x)})` : short(x));
const binary = (n, digits) => n.toString(2).padStart(digits, "0");

function drawGroup(canvas, weights, { keep }) {
  const top = 1.25 * Math.max(1, ...weights.map(Math.abs));
  const c = chart(canvas, 270, { x: [-0.6, 3.6], y: [-top, top], names: NAMES.map((name) => `w${name}`), xTitle: "", yTitle: "weight" });
  c.line([[-0.6, 0], [3.6, 0]], palette.muted, { width: 1 });
  weights.forEach((w, i) => {
    const look = keep[i] ? { filled: true } : { filled: false, dash: [5, 4] };
    c.bar(i, 0.6, w, keep[i] ? palette.kept : palette.muted, { texts: [short(w)], ...look });
  });
}

function drawMultiplexer(canvas, operands, { values, indices, selected, sparse, dense }) {
  const c = sheet(canvas, 270);
  const { g, width, height } = c;
  const at = { operand: 0.11 * width, gate: 0.42 * width, product: 0.67 * width, sum: 0.9 * width };
  const half = { operand: 0.09 * width, gate: 0.1 * width, product: 0.09 * width, sum: 0.085 * width };
  const row = (i) => 34 + (i * (height - 68)) / 3;
  const middle = (k) => height / 2 + (k - 0.5) * 0.46 * height;
  const box = (x, y, wide, line, dash) => rectangle(g, x - wide - 1, y - 16, 2 * wide + 2, 32, { line, thick: 2, dash });
  const wire = (from, to, color) => stroke(g, [from, to], color, { width: 2.5 });
  for (let k = 0; k < 2; k++) {
    const y = middle(k);
    for (let i = 0; i < 4; i++) {
      const ends = [[at.operand + half.operand, row(i)], [at.gate - half.gate, y + (i - 1.5) * 12]];
      if (indices[k] === i) wire(...ends, palette.updated);
      else stroke(g, ends, palette.muted, { width: 1, alpha: 0.45 });
    }
    const [left, right] = [at.gate - half.gate, at.gate + half.gate]; // a trapezoid: four ways in, one out
    stroke(g, [[left, y - 32], [right, y - 18], [right, y + 18], [left, y + 32]], palette.updated, { closed: true });
    write(c, `index ${k}`, at.gate, y - 8);
    write(c, `${indices[k]} = ${binary(indices[k], 2)}`, at.gate, y + 8);
    wire([at.gate + half.gate, y], [at.product - half.product, y], palette.updated);
    box(at.product, y, half.product, palette.kept);
    write(c, `${short(values[k])} × ${short(selected[k])}`, at.product, y);
    wire([at.product + half.product, y], [at.sum - half.sum, height / 2 + (k - 0.5) * 14], palette.kept);
  }
  operands.forEach((x, i) => {
    const taken = indices.includes(i);
    box(at.operand, row(i), half.operand, taken ? palette.updated : palette.muted, taken ? [] : [5, 4]);
    write(c, `x${NAMES[i]} = ${short(x)}`, at.operand, row(i));
  });
  box(at.sum, height / 2, half.sum, palette.kept);
  write(c, `Σ = ${short(sparse)}`, at.sum, height / 2);
  write(c, `dense ${short(dense)}`, at.sum, height / 2 + 30);
}

function render({ model, el }) {
  const [limit, presets] = ["limit", "presets"].map((name) => model.get(name));
  const { root, find, describe } = stage(el, "two-four-group", CONTROLS, PANELS);
  for (let i = 0; i < 4; i++) Object.assign(find(`.w${i}`), { min: -limit, max: limit, step: 0.5 });
  for (const name of Object.keys(presets)) find(".preset").add(new Option(name, name));

  function draw({ weights, operands }) {
    const result = packed(weights, operands);
    const fate = (i) => (result.keep[i] ? "stays" : "becomes zero");
    weights.forEach((w, i) => setSlider(find(`.w${i}`), w, short(w), `${short(w)}, ${fate(i)}`));
    find(".preset").value = Object.keys(presets).find((name) => presets[name].every((w, i) => w === weights[i])) ?? "";
    const { values, indices, nibble, selected, sparse, dense } = result;
    const both = (pair, form = short) => pair.map(form).join(" and ");
    const lost = Math.abs(dense - sparse) < 1e-9 ? "nothing is lost" : `${short(dense - sparse)} is lost`;
    find("p").textContent =
      `Stored: values ${both(values)}, indices ${both(indices)}, nibble ${binary(nibble, 4)} (index 1 in the upper two bits). ` +
      `Selected: ${both(indices, (i) => `x${NAMES[i]}`)}. ` +
      `${values.map((value, k) => `${signed(value)} · ${signed(selected[k])}`).join(" + ")} = ${short(sparse)}; dense ${short(dense)}: ${lost}.`;
    drawGroup(find(".group canvas"), weights, result);
    drawMultiplexer(find(".multiplexer canvas"), operands, result);
    describe(".group", `Weights ${weights.map((w, i) => `${short(w)} ${result.keep[i] ? "stays" : "goes"}`).join(", ")}`);
    describe(".multiplexer", `Index 0 selects x${NAMES[indices[0]]}, index 1 selects x${NAMES[indices[1]]}; the sum is ${short(sparse)}, dense ${short(dense)}`);
  }

  const { set, end } = follow(model, { weights: null, operands: null }, root, draw);
  for (let i = 0; i < 4; i++)
    find(`.w${i}`).addEventListener("input", (event) => set({ weights: model.get("weights").map((w, j) => (j === i ? Number(event.target.value) : w)) }));
  find(".preset").addEventListener("input", () => find(".preset").value && set({ weights: [...presets[find(".preset").value]] }));
  return end;
}

export default { render };
