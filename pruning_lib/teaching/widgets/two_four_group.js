// A row in 2:4: of one group of four the two that stay and the multiplexers, of all groups what is stored. Computed here.

import { rectangle, sheet, stroke, write } from "./canvas.js";
import { chart, list, setSlider, short, slider, stage } from "./charts.js";
import { follow } from "./redraw.js";
import { binary, drawLoads, drawRow, groupAt, hex, loadOf, wordsOf } from "./two_four_row.js";

const NAMES = ["₀", "₁", "₂", "₃"];
const CONTROLS =
  slider("group", "group") +
  slider("row", "store this row as row") +
  list("preset", "its weights", '<option value="">own values</option>') +
  NAMES.map((name, i) => slider(`w${i}`, `w${name}`)).join("");
const PANELS = {
  whole: `A row of 32 weights: <span class="key"><i class="kept"></i> stays</span>, <span class="key"><i class="pruned"></i> becomes zero</span>; below, the two values stored of each group and its nibble (4 bits). Choose a group with the slider or a click.`,
  group: `The group chosen: <span class="key"><i class="kept"></i> stays</span>, <span class="key"><i class="pruned"></i> becomes zero</span>`,
  multiplexer: "Its two indices: each opens one way for an operand",
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

function drawGroup(canvas, weights, { keep }) {
  const top = 1.25 * Math.max(1, ...weights.map(Math.abs));
  const c = chart(canvas, 240, { x: [-0.6, 3.6], y: [-top, top], names: NAMES.map((name) => `w${name}`), xTitle: "", yTitle: "weight" });
  c.line([[-0.6, 0], [3.6, 0]], palette.muted, { width: 1 });
  weights.forEach((w, i) => {
    const look = keep[i] ? { filled: true } : { filled: false, dash: [5, 4] };
    c.bar(i, 0.6, w, keep[i] ? palette.kept : palette.muted, { texts: [short(w)], ...look });
  });
}

function drawMultiplexer(canvas, operands, { values, indices, selected, sparse, dense }) {
  const c = sheet(canvas, 240);
  const { g, width, height } = c;
  const total = `Σ = ${short(sparse)}`;
  const holds = (texts, share) => Math.max(share * width, Math.max(...texts.map((text) => g.measureText(text).width)) / 2 + 4);
  const half = { operand: holds(operands.map((x, i) => `x${NAMES[i]} = ${short(x)}`), 0.09), gate: 0.1 * width, product: 0.09 * width, sum: holds([total], 0.085) };
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
    write(c, `x${NAMES[i]} = ${short(x)}`, at.operand, row(i));
  });
  box(at.sum, height / 2, half.sum, palette.kept);
  write(c, total, at.sum, height / 2);
  const said = `dense ${short(dense)}`;
  const lines = at.sum + g.measureText(said).width / 2 < width ? [said] : said.split(" ");
  lines.forEach((text, k) => write(c, text, at.sum, height / 2 + 30 + 15 * k));
}

function render({ model, el }) {
  const [limit, presets] = ["limit", "presets"].map((name) => model.get(name));
  const { root, find, describe } = stage(el, "two-four-group", CONTROLS, PANELS);
  const count = model.get("weights").length / 4;
  for (let i = 0; i < 4; i++) Object.assign(find(`.w${i}`), { min: -limit, max: limit, step: 0.5 });
  Object.assign(find("input.group"), { max: count - 1 });
  Object.assign(find("input.row"), { max: 31 });
  for (const name of Object.keys(presets)) find(".preset").add(new Option(name, name));

  function draw({ weights, operands, group, row }) {
    const { groups, words } = packedRow(weights, operands);
    const result = groups[group];
    const fate = (i) => (result.keep[i] ? "stays" : "becomes zero");
    result.weights.forEach((w, i) => setSlider(find(`.w${i}`), w, short(w), `${short(w)}, ${fate(i)}`));
    setSlider(find("input.group"), group, `${group} (0–${count - 1})`);
    setSlider(find("input.row"), row, `${row} (0–31)`);
    find(".preset").value = Object.keys(presets).find((name) => presets[name].every((w, i) => w === result.weights[i])) ?? "";
    const { values, indices, nibble, selected, sparse, dense } = result;
    const both = (pair, form = short) => pair.map(form).join(" and ");
    const lost = Math.abs(dense - sparse) < 1e-9 ? "nothing is lost" : `${short(dense - sparse)} is lost`;
    const [first, second] = words.map((_, w) => loadOf(row, w));
    find("p").textContent =
      `Stored of group ${group}: values ${both(values)}, indices ${both(indices)}, nibble ${binary(nibble, 4)} (the second index in the upper two bits). ` +
      `Selected: ${both(indices, (i) => `x${NAMES[i]}`)}. ` +
      `${values.map((value, k) => `${signed(value)} · ${signed(selected[k])}`).join(" + ")} = ${short(sparse)}; dense ${short(dense)}: ${lost}. ` +
      `The row in float16: ${2 * weights.length} bytes become ${weights.length} of values and ${2 * words.length} of words, ${words.map(hex).join(" and ")}; ` +
      `stored as row ${row} they are the ${first.half ? "upper (right)" : "lower (left)"} halves of loads ${first.load} and ${second.load}.`;
    drawRow(find(".whole canvas"), groups, words, group);
    drawGroup(find(".group canvas"), result.weights, result);
    drawMultiplexer(find(".multiplexer canvas"), operands, result);
    drawLoads(find(".loads canvas"), row, words);
    describe(".whole", `Groups of four: ${groups.map((one, k) => `${k}: ${one.weights.map(short).join(", ")}, stored ${both(one.values)}, nibble ${binary(one.nibble, 4)}`).join("; ")}. Words ${words.map(hex).join(" and ")}`);
    describe(".group", `Weights ${result.weights.map((w, i) => `${short(w)} ${result.keep[i] ? "stays" : "goes"}`).join(", ")}`);
    describe(".multiplexer", `Index 0 selects x${NAMES[indices[0]]}, index 1 selects x${NAMES[indices[1]]}; the sum is ${short(sparse)}, dense ${short(dense)}`);
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
    const group = groupAt(event.target, event, count);
    if (group >= 0) set({ group });
  });
  return end;
}

export default { render };
