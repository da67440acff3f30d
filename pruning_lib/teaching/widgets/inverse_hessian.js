// Inverse Hessian: two matrices of a tiny network, and what a column of the inverse does to it. All is computed here.

import { halo, rectangle, setFont, sheet, stroke, subscript, superscript, write } from "./canvas.js";
import { chart, list, setSlider, short, slider, stage } from "./charts.js";
import { drawNodes, watchLines, weightNames } from "./network_drawing.js";
import { follow } from "./redraw.js";
import { hessian, inverse, jacobian, judge, move, outputs } from "./tiny_network.js";

const CONTROLS = list("weight", "Delete") + slider("alpha", "damping α");
const PANELS = {
  network: `Point at a connection. Thickness: |w|, dashed: negative; <b style="color:var(--violet)">violet</b>: how far it moves`,
  outputs: `Outputs on all cases: <i class="target"></i> target, <b style="color:var(--muted)">■</b> trained,
    △ others stay, <b style="color:var(--kept)">●</b> others follow`,
  matrix: `H, second derivatives of E, + αI: <b style="color:var(--kept)">■</b> positive, <b style="color:var(--accent)">■</b> negative`,
  inverse: "(H + αI)⁻¹: its violet column, scaled, is the move δw",
};

/** Both matrices, and for every weight: how all move without it, and loss and cases right if the others stay or follow. */
export function surgeries({ names, hidden, weights, cases, targets }, alpha) {
  const net = { inputs: names.length, hidden };
  const H = hessian(jacobian(net, weights, cases, [...weights.keys()]), alpha);
  const H_inv = inverse(H);
  const each = weights.map((_, q) => {
    const ways = {};
    for (const way of ["stay", "follow"]) {
      const delta = move(weights, H_inv, q, way === "follow");
      const after = weights.map((w, a) => (a === q ? 0 : w + delta[a]));
      ways[way] = { delta, after, outputs: outputs(net, after, cases), ...judge(net, after, cases, targets) };
    }
    return { ...ways, saliency: weights[q] ** 2 / (2 * H_inv[q][q]) };
  });
  return { H, H_inv, each, trained: { outputs: outputs(net, weights, cases), ...judge(net, weights, cases, targets) } };
}

const minus = (text) => text.replace("-", "−");

/** The squares of a matrix, the column `lit` outlined; with `move`, that column times its factor, beside it. Gives which column is at a place. */
function drawMatrix(canvas, matrix, lit, move) {
  const n = matrix.length;
  const width = canvas.parentElement.clientWidth;
  const side = Math.floor(Math.min(34, (width - 34) / (n + 1.4))); // room for δw in both: squares of one size
  const narrow = side < 31; // for a decimal point, and the unit beside w₁
  const paper = sheet(canvas, n * side + (narrow ? 50 : 30));
  const { g } = paper;
  const [left, top] = [30, 24];
  const square = (x, y, value, largest, text) => {
    const strength = Math.min(1, Math.abs(value) / largest) ** 0.6;
    rectangle(g, x, y, side - 1, side - 1, { fill: value < 0 ? palette.accent : palette.kept, alpha: 0.85 * strength, line: palette.muted, thick: 0.5 });
    setFont(g, 12);
    write(paper, minus(text), x + side / 2, y + side / 2);
  };
  const largest = Math.max(...matrix.flatMap((row) => [...row].map(Math.abs)));
  const digits = narrow ? 0 : 1; // after the point
  const unitOf = (most) => Math.floor(Math.log10(most)) - (1 - digits);
  const inUnits = (value, exponent) => (value / 10 ** exponent).toFixed(digits).replace(/^-(0(\.0)?)$/, "$1");
  const exponent = unitOf(largest);
  const text = (value) => inUnits(value, exponent);
  let units = `in units of 10${superscript(exponent)}`;
  matrix.forEach((row, a) => row.forEach((value, b) => square(left + b * side, top + a * side, value, largest, text(value))));
  if (exponent && !narrow) write(paper, `×10${superscript(exponent)}`, 0, top - 10, { align: "left" });
  for (let k = 0; k < n; k++) {
    write(paper, `w${subscript(k + 1)}`, left + (k + 0.5) * side, top - 10);
    write(paper, `w${subscript(k + 1)}`, left - 4, top + (k + 0.5) * side, { align: "right" });
  }
  if (move) {
    const x = left + (n + 0.4) * side;
    const most = Math.max(...move.map(Math.abs)) || 1;
    const hundredths = (value) => value.toFixed(Math.abs(value) < 0.995 ? 2 : 1).replace(/^(-?)0\./, "$1.").replace("-.00", ".00");
    move.forEach((value, a) => square(x, top + a * side, value, most, narrow ? inUnits(value, unitOf(most)) : hundredths(value)));
    units += `, δw of 10${superscript(unitOf(most))}`;
    write(paper, "δw", x + side / 2, top - 10);
    rectangle(g, x - 2, top - 2, side + 3, n * side + 3, { line: palette.violet, thick: 3 });
  }
  if (narrow) write(paper, units, left, top + n * side + 14, { align: "left" });
  rectangle(g, left + lit * side - 2, top - 2, side + 3, n * side + 3, { line: move ? palette.violet : paper.ink, thick: move ? 3 : 1.5 });
  return (x) => (x >= left && x < left + n * side ? Math.floor((x - left) / side) : null);
}

function drawNetwork(canvas, learned, names, q, { follow }) {
  const paper = drawNodes(canvas, learned.names, learned.hidden);
  const { g, lines } = paper;
  const largest = Math.max(...learned.weights.map(Math.abs));
  const thick = (value) => Math.min(12, (7 * Math.abs(value)) / largest);
  lines.forEach((line, k) => {
    if (k === q) stroke(g, line, palette.pruned, { width: thick(learned.weights[k]) + 6 });
    else stroke(g, line, palette.violet, { width: thick(learned.weights[k]) + 2 * thick(follow.delta[k]), alpha: 0.8 });
    stroke(g, line, palette.kept, { width: thick(learned.weights[k]), dash: learned.weights[k] < 0 ? [6, 4] : [] });
  });
  paper.finish();
  const named = [];
  lines.forEach(([[x0, y0], [x1, y1]], k) => {
    const along = [k % 2 ? 0.3 : 0.22, 0.38, 0.46, 0.54].map((at) => [x0 + at * (x1 - x0), y0 + at * (y1 - y0)]); // lines that cross have their names apart
    const place = along.find(([x, y]) => named.every(([left, top]) => Math.abs(left - x) > 18 || Math.abs(top - y) > 13)) ?? along[0];
    named.push(place);
    halo(paper, `w${subscript(k + 1)}`, ...place, paper.page);
  });
  return lines;
}

function drawOutputs(canvas, { cases, targets, names }, trained, { stay, follow }) {
  const last = cases.length - 1;
  const titles = cases.map((ones) => names.map((_, i) => Number(ones.includes(i))).join(" "));
  const c = chart(canvas, 215, { x: [-0.5, last + 0.5], y: [-1.3, 1.3], names: titles, xTitle: `inputs ${names.join(" ")}`, yTitle: "output" });
  c.line([[-0.5, 0], [last + 0.5, 0]], palette.muted, { width: 1, dash: [4, 4] });
  targets.forEach((target, k) => {
    c.line([[k - 0.35, target], [k + 0.35, target]], palette.good, { width: 1 });
    c.marker([k - 0.3, target], palette.good, { shape: "diamond", size: 5, filled: false });
    c.marker([k - 0.1, trained.outputs[k]], palette.muted, { shape: "square", size: 4.5 });
    c.marker([k + 0.1, stay.outputs[k]], c.ink, { shape: "triangle", size: 6, filled: false });
    c.marker([k + 0.3, follow.outputs[k]], palette.kept, { size: 5 });
  });
}

function render({ model, el }) {
  const [learned, limits] = ["learned", "limits"].map((name) => model.get(name));
  const { root, find, describe } = stage(el, "inverse-hessian", CONTROLS, PANELS);
  const names = weightNames(learned.names, learned.hidden);
  names.forEach((name, k) => find(".weight").add(new Option(`w${subscript(k + 1)}: ${name}`, k)));
  const [min, max] = limits.map(Math.log10);
  Object.assign(find(".alpha"), { min, max, step: 0.25 });
  let lines = [];
  let columnAt = () => null;
  let pointed = null; // the weight under the pointer
  let known = { alpha: null };

  function draw({ weight, alpha }) {
    if (known.alpha !== alpha) known = { alpha, ...surgeries(learned, alpha) };
    const q = pointed ?? weight;
    const { H, H_inv, each, trained } = known;
    const one = each[q];
    find(".weight").value = weight;
    setSlider(find(".alpha"), Math.log10(alpha), short(alpha));
    lines = drawNetwork(find(".network canvas"), learned, names, q, one);
    drawOutputs(find(".outputs canvas"), learned, trained, one);
    drawMatrix(find(".matrix canvas"), H, q, null);
    columnAt = drawMatrix(find(".inverse canvas"), H_inv, q, one.follow.delta);
    const factor = -learned.weights[q] / H_inv[q][q];
    const total = learned.cases.length;
    const said = ({ right, error }) => `${right} of ${total} cases right, E = ${short(error)}`;
    const least = each.reduce((best, { saliency }, k) => (saliency < each[best].saliency ? k : best), 0);
    const name = `w${subscript(q + 1)}, ${names[q]} (${short(learned.weights[q])})`;
    const verdict = least === q ? "It is OBS's choice." : `OBS would delete w${subscript(least + 1)}.`;
    const rise = one.follow.error - trained.error;
    const outcome = `Without ${name}: others stay, ${said(one.stay)}; others follow by ${short(factor)} times the column, ${said(one.follow)}.`;
    find("[role=status]").textContent = `Trained: ${said(trained)}. ${outcome} E rises by ${short(rise)}, ${short(Number((rise / one.saliency).toPrecision(2)))} times OBS's forecast L = ${short(one.saliency)}, which takes E for a parabola. ${verdict}`;
    describe(".network", `Network with ${names.length} weights. ${outcome}`);
    describe(".outputs", `Outputs: trained ${trained.outputs.map(short)}; others stay ${one.stay.outputs.map(short)}; others follow ${one.follow.outputs.map(short)}`);
    describe(".matrix", `H plus alpha on the diagonal, ${names.length} by ${names.length}`);
    describe(".inverse", `Its inverse; column ${q + 1}: ${H_inv.map((row) => short(row[q])).join(", ")}; the move: ${one.follow.delta.map(short).join(", ")}`);
  }

  const { set, draw: again, end } = follow(
    model,
    { weight: Number, alpha: (text) => Math.min(limits[1], Math.max(limits[0], 10 ** Number(text))) },
    root,
    draw,
  );
  const point = (q) => q === pointed || ((pointed = q), again());
  const choose = (q) => ((pointed = null), q !== null && set({ weight: q }));
  watchLines(find(".network canvas"), () => lines, () => names.keys(), point, choose);
  for (const panel of [".matrix", ".inverse"]) {
    const canvas = find(`${panel} canvas`);
    canvas.addEventListener("pointermove", ({ offsetX }) => point(columnAt(offsetX)));
    canvas.addEventListener("pointerleave", () => point(null));
    canvas.addEventListener("click", ({ offsetX }) => choose(columnAt(offsetX)));
  }
  return end;
}

export default { render };
