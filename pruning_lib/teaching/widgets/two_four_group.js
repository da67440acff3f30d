// A row in 2:4: of one group of four the two that stay and the multiplexers, of all groups what is stored. Computed here.

import { rectangle, setFont, sheet, stroke, subscript, write } from "./canvas.js";
import { chart, list, setSlider, short, slider, stage } from "./charts.js";
import { follow } from "./redraw.js";
import { binary, drawLoads, drawRow, groupAt, hex, loadOf, wordsOf } from "./two_four_row.js";

const NAMES = ["₀", "₁", "₂", "₃"];
const CONTROLS =
  slider("group", "group") +
  list("preset", "its weights", '<option value="">as set below</option>') +
  NAMES.map((name, i) => slider(`w${i}`, `w${name}`)).join("") +
  slider("row", "words in memory");
const PANELS = {
  whole: `A row of 32 weights: <span class="key"><i class="kept"></i> stored</span>, <span class="key"><i class="pruned"></i> left out, so zero</span>; below each group its two values and its nibble (4 bits). Click a group to edit it.`,
  group: `The group chosen: <span class="key"><i class="kept"></i> stored</span>, <span class="key"><i class="pruned"></i> left out, so zero</span>`,
  multiplexer: "Each index lets one of the four inputs through",
  loads: `The words of 32 rows in memory. A box is what a thread loads at once: 32 bits, one word each of rows r and r + 8. <span class="key"><i class="second"></i> this row</span>`,
};

/** The two places stored for four weights of which at most two are not zero; fewer are filled up as CUTLASS does. */
export function places(weights) {
  const [first, second, , last] = weights.map((w) => w !== 0);
  const low = first ? 0 : second ? 1 : 2;
  if (first && second) return [low, 1];
  return [low, last || !(first || second) ? 3 : 2];
}

/** What is stored of a whole row: each of its groups packed, its metadata words. */
export function packedRow(weights, operands) {
  const groups = [];
  for (let at = 0; at < weights.length; at += 4) {
    const four = weights.slice(at, at + 4);
    groups.push({ weights: four, ...packed(four, operands) });
  }
  return { groups, words: wordsOf(groups.map(({ nibble }) => nibble)) };
}

/** What becomes of a group: the two largest abs(w) stay, the first of equal ones; stored is a zero with a lone one. */
export function packed(weights, operands) {
  const order = [0, 1, 2, 3].sort((i, j) => Math.abs(weights[j]) - Math.abs(weights[i]) || i - j);
  const keep = weights.map((_, i) => order.indexOf(i) < 2);
  const indices = places(weights.map((w, i) => (keep[i] ? w : 0)));
  const stored = weights.map((_, i) => indices.includes(i));
  const values = indices.map((i) => (keep[i] ? weights[i] : 0));
  const selected = indices.map((i) => operands[i]);
  const sum = (one, other) => one.reduce((total, value, i) => total + value * other[i], 0);
  return { keep, stored, values, indices, nibble: indices[0] | (indices[1] << 2), selected, sparse: sum(values, selected), dense: sum(weights, operands) };
}

const signed = (x) => (x < 0 ? `(${short(x)})` : short(x));

function drawGroup(canvas, { weights, stored }, limit) {
  const top = 1.4 * limit;
  const c = chart(canvas, 240, { x: [-0.6, 3.6], y: [-top, top], names: NAMES.map((name) => `w${name}`), xTitle: "", yTitle: "weight" });
  c.line([[-0.6, 0], [3.6, 0]], palette.muted, { width: 1 });
  weights.forEach((w, i) => {
    const look = stored[i] ? { filled: true } : { filled: false, dash: [5, 4] };
    c.bar(i, 0.6, w, stored[i] ? palette.kept : palette.muted, { texts: [short(w)], ...look });
  });
}

function drawMultiplexer(canvas, names, operands, { values, indices, selected, sparse, dense }) {
  const c = sheet(canvas, 240);
  const { g, width, height } = c;
  const total = `Σ = ${short(sparse)}`;
  const holds = (texts, share) => Math.max(share * width, Math.max(...texts.map((text) => g.measureText(text).width)) / 2 + 4);
  const half = { operand: holds(operands.map((x, i) => `${names[i]} = ${short(x)}`), 0.09), gate: 0.1 * width, product: 0.09 * width, sum: holds([total], 0.085) };
  const at = { operand: half.operand + 0.02 * width, gate: 0.42 * width, product: 0.67 * width, sum: Math.min(0.9 * width, width - half.sum - 2) };
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
    write(c, `${names[i]} = ${short(x)}`, at.operand, row(i));
  });
  box(at.sum, height / 2, half.sum, palette.kept);
  write(c, total, at.sum, height / 2);
  const same = Math.abs(dense - sparse) < 1e-9;
  [`dense ${short(dense)}`, same ? "the same" : `off by ${short(sparse - dense)}`].forEach((text, k) => {
    setFont(g, 13, k === 1);
    write(c, text, width - 2, height - 28 + 17 * k, { align: "right", color: [undefined, same ? palette.kept : palette.accent][k] });
  });
}

function render({ model, el }) {
  const [limit, presets] = ["limit", "presets"].map((name) => model.get(name));
  const { root, find, describe } = stage(el, "two-four-group", CONTROLS, PANELS);
  const count = model.get("weights").length / 4;
  for (let i = 0; i < 4; i++) Object.assign(find(`.w${i}`), { min: -limit, max: limit, step: 0.5 });
  Object.assign(find("input.group"), { max: count - 1 });
  Object.assign(find("input.row"), { min: -1, max: 31 });
  for (const name of Object.keys(presets)) find(".preset").add(new Option(name, name));

  function draw({ weights, operands, group, row }) {
    const memory = row >= 0;
    const { groups, words } = packedRow(weights, operands);
    const result = groups[group];
    const names = operands.map((_, i) => `x${subscript(4 * group + i)}`);
    const fate = (i) => (result.stored[i] ? "stored" : "left out");
    root.classList.toggle("without-memory", !memory);
    result.weights.forEach((w, i) => setSlider(find(`.w${i}`), w, short(w), `${short(w)}, ${fate(i)}`));
    setSlider(find("input.group"), group, `${group} (0–${count - 1})`);
    setSlider(find("input.row"), row, memory ? `as row ${row}` : "not shown");
    find(".preset").value = Object.keys(presets).find((name) => presets[name].every((w, i) => w === result.weights[i])) ?? "";
    const { values, indices, nibble, selected, sparse, dense } = result;
    const both = (pair, form = short) => pair.map(form).join(" and ");
    const lost = Math.abs(dense - sparse) < 1e-9 ? "the same" : `${short(dense)}, so it is off by ${short(sparse - dense)}`;
    const [first, second] = words.map((_, w) => loadOf(row, w));
    const half = first.half ? "upper (right)" : "lower (left)";
    const kept =
      `The row in float16: ${2 * weights.length} bytes become ${weights.length} of values and ${2 * words.length} of words, ${words.map(hex).join(" and ")}; ` +
      `stored as row ${row} they are the ${half} halves of loads ${first.load} and ${second.load}.`;
    find("p").textContent =
      `Group ${group} is stored as ${both(values)} from places ${both(indices)}: nibble ${binary(nibble, 4)}, the second place in front. ` +
      `${values.map((value, k) => `${signed(value)} · ${signed(selected[k])}`).join(" + ")} = ${short(sparse)}; dense it is ${lost}. ${memory ? kept : ""}`.trim();
    drawRow(find(".whole canvas"), groups, memory ? words : [], group);
    drawGroup(find(".group canvas"), result, limit);
    drawMultiplexer(find(".multiplexer canvas"), names, operands, result);
    if (memory) drawLoads(find(".loads canvas"), row, words);
    describe(".whole", `Groups of four: ${groups.map((one, k) => `${k}: ${one.weights.map(short).join(", ")}, stored ${both(one.values)}, nibble ${binary(one.nibble, 4)}`).join("; ")}`);
    describe(".group", `Weights ${result.weights.map((w, i) => `${short(w)} ${fate(i)}`).join(", ")}`);
    describe(".multiplexer", `Index 0 selects ${names[indices[0]]}, index 1 selects ${names[indices[1]]}; the sum is ${short(sparse)}, dense ${short(dense)}`);
    describe(".loads", `Row ${row}: word 0 in the ${first.half ? "upper" : "lower"} half of load ${first.load}, word 1 in that of load ${second.load}`);
  }

  const { set, end } = follow(model, { weights: null, operands: null, group: null, row: null }, root, draw);
  const change = (four) => set({ weights: model.get("weights").map((w, j) => four[j - 4 * model.get("group")] ?? w) });
  const chosen = () => model.get("weights").slice(4 * model.get("group"), 4 * model.get("group") + 4);
  for (let i = 0; i < 4; i++)
    find(`.w${i}`).addEventListener("input", (event) => change(chosen().map((w, j) => (j === i ? Number(event.target.value) : w))));
  for (const name of ["group", "row"]) find(`input.${name}`).addEventListener("input", ({ target }) => set({ [name]: Number(target.value) }));
  find(".preset").addEventListener("input", () => find(".preset").value && change(presets[find(".preset").value]));
  find(".whole canvas").addEventListener("click", (event) => {
    const group = groupAt(event.target, event, count, model.get("row") >= 0);
    if (group >= 0) set({ group });
  });
  return end;
}

export default { render };
