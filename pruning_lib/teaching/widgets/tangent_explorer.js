// Tangent explorer: the loss of a tiny network over one indicator, its tangent and its chord. All is computed here.

import { drawMark, pageOf, setFont, sheet, stroke, subscript, write } from "./canvas.js";
import { chart, setSlider, short, slider, stage } from "./charts.js";
import { lineAt } from "./network_drawing.js";
import { follow } from "./redraw.js";

const CONTROLS = slider("connection", "Connection") + slider("indicator", "indicator cⱼ") + '<button class="restore">put all back</button>';
const PANELS = {
  curve: `<i class="line"></i> loss, <i class="line closes"></i> tangent at 1 (SNIP-3),
    <b style="color:var(--good)">⋯</b> chord (SNIP-2); drag the dot`,
  "ranks tall": `Ranks by size, largest first; minus: the loss rises without it; <b style="color:var(--violet)">– –</b> the tangent has the wrong sign`,
  network: "Thickness: |c·w|; gray: the connection shown. Click another.",
};
const RANGE = 1.12; // of c_j in the drawing: a little beyond 1, so that the tangent is seen to touch

const total = (values) => values.reduce((sum, value) => sum + value, 0);

/** Mean cross-entropy of the network with the indicators c, and its slopes ∂L/∂c_j = w_j · ∂L/∂(c_j w_j) (SNIP-3). */
export function lossAndSlopes({ first, second, inputs, targets }, c) {
  const [wide, hidden] = [first[0].length, first.length];
  const [one, two] = [(n, k) => n * wide + k, (m, n) => hidden * wide + m * hidden + n]; // places in c
  const slopes = c.map(() => 0);
  let loss = 0;
  inputs.forEach((x, i) => {
    const h = first.map((row, n) => Math.tanh(total(row.map((w, k) => c[one(n, k)] * w * x[k]))));
    const o = second.map((row, m) => total(row.map((w, n) => c[two(m, n)] * w * h[n])));
    const top = Math.max(...o);
    const parts = o.map((value) => Math.exp(value - top));
    const all = total(parts);
    loss += (Math.log(all) + top - o[targets[i]]) / inputs.length;
    const by = parts.map((part, m) => (part / all - (m === targets[i] ? 1 : 0)) / inputs.length); // ∂L/∂o
    for (let n = 0; n < hidden; n++) {
      const back = total(by.map((value, m) => value * c[two(m, n)] * second[m][n])) * (1 - h[n] ** 2);
      by.forEach((value, m) => (slopes[two(m, n)] += value * second[m][n] * h[n]));
      x.forEach((value, k) => (slopes[one(n, k)] += back * first[n][k] * value));
    }
  });
  return { loss, slopes };
}

const withValue = (c, j, value) => c.with(j, value);
const lossAt = (network, c) => lossAndSlopes(network, c).loss;

/** Of every connection, the others as they stand: g_j at c_j = 1, and ΔL_j = L(c_j = 1) − L(c_j = 0) (SNIP-2). */
export function effects(network, c) {
  return c.map((_, j) => {
    const { loss, slopes } = lossAndSlopes(network, withValue(c, j, 1));
    return { tangent: slopes[j], chord: loss - lossAt(network, withValue(c, j, 0)) };
  });
}

/** The place of each value when ordered by size, 0 the largest; equal sizes keep their order. */
export function ranks(values) {
  const order = values.map((_, j) => j).sort((i, j) => Math.abs(values[j]) - Math.abs(values[i]) || i - j);
  const places = [];
  order.forEach((j, place) => (places[j] = place));
  return places;
}

/** Names of the connections as c has them: x₁→h₁ and so on. */
function namesOf({ first, second }) {
  const low = (n) => subscript(n + 1);
  const layer = (weights, from, to) => weights.flatMap((row, n) => row.map((_, k) => `${from}${low(k)}→${to}${low(n)}`));
  return [...layer(first, "x", "h"), ...layer(second, "h", "o")];
}

const wrong = ({ tangent, chord }) => Math.sign(tangent) * Math.sign(chord) < 0;

/** L over c_j with the tangent at 1 and the chord; what both say of c_j = 0 is joined by a bar. Gives the chart. */
function drawCurve(canvas, network, c, j, { tangent, chord }) {
  const at = (value) => lossAt(network, withValue(c, j, value));
  const line = Array.from({ length: 57 }, (_, k) => (RANGE * k) / 56).map((value) => [value, at(value)]);
  const full = at(1);
  const [promised, real] = [full - tangent, full - chord];
  const shown = [...line.map(([, loss]) => loss), promised, full + (RANGE - 1) * tangent];
  const room = 0.1 * (Math.max(...shown) - Math.min(...shown)) || 0.1;
  const y = [Math.min(...shown) - room, Math.max(...shown) + room];
  const height = Math.max(260, Math.min(330, 0.7 * canvas.parentElement.clientWidth));
  const d = chart(canvas, height, { x: [-0.04, RANGE], y, xTitle: "cⱼ: 1 there, 0 gone", yTitle: "loss" });
  d.line([[0, real], [1, full]], palette.good, { dash: [2, 3] });
  d.line([[0, promised], [RANGE, full + (RANGE - 1) * tangent]], palette.accent, { dash: [6, 4] });
  d.line(line, palette.kept, { width: 2.5 });
  d.line([[0, promised], [0, real]], d.ink, { width: 2, alpha: 0.6 });
  d.marker([0, promised], palette.accent, { filled: false, size: 5 });
  d.marker([0, real], palette.good, { shape: "diamond", size: 4.5 });
  d.marker([1, full], palette.kept, { size: 3.5 });
  d.marker([c[j], at(c[j])], palette.kept, { size: 7 });
  const below = promised < real;
  write(d, "promised", d.X(0) + 10, d.Y(promised) + (below ? 9 : -9), { align: "left", color: palette.accent });
  write(d, "true", d.X(0) + 10, d.Y(real) + (below ? -9 : 9), { align: "left", color: palette.good });
  return d;
}

/** All connections by |g| at the left and by |ΔL| at the right, joined; gives where each stands, for clicks. */
function drawRanks(canvas, names, all, chosen) {
  const [top, step] = [40, names.length > 14 ? 16 : 24];
  const paper = sheet(canvas, top + step * names.length);
  const { g, width } = paper;
  const [left, right] = [Math.min(130, 0.4 * width), width - Math.min(130, 0.4 * width)];
  const sides = { tangent: ranks(all.map(({ tangent }) => tangent)), chord: ranks(all.map(({ chord }) => chord)) };
  const y = (place) => top + step * place + step / 2;
  write(paper, "tangent g", left - 8, 12, { align: "right", color: palette.accent });
  write(paper, "chord ΔL", right + 8, 12, { align: "left", color: palette.good });
  const order = names.map((_, j) => j).sort((i, j) => (i === chosen) - (j === chosen)); // the chosen one on top
  for (const j of order) {
    const color = wrong(all[j]) ? palette.violet : j === chosen ? paper.ink : palette.muted;
    const look = { width: j === chosen ? 4 : 1.5, dash: wrong(all[j]) ? [6, 4] : [], alpha: j === chosen ? 1 : 0.8 };
    stroke(g, [[left, y(sides.tangent[j])], [right, y(sides.chord[j])]], color, look);
    setFont(g, 12, j === chosen);
    write(paper, `${names[j]}  ${short(Number(all[j].tangent.toPrecision(2)))}`, left - 8, y(sides.tangent[j]), { align: "right" });
    write(paper, `${short(Number(all[j].chord.toPrecision(2)))}  ${names[j]}`, right + 8, y(sides.chord[j]), { align: "left" });
  }
  setFont(g, 12, false);
  return { sides, at: (px, py) => sides[px < width / 2 ? "tangent" : "chord"].indexOf(Math.floor((py - top) / step)) };
}

/** Neurons in three columns and all connections; gives the one at a point, or −1, for clicks. */
function drawNetwork(canvas, { first, second }, c, chosen) {
  const paper = sheet(canvas, 210);
  const { g, width, height, ink } = paper;
  const page = pageOf(canvas);
  const columns = [first[0].length, first.length, second.length];
  const place = (column, n) => [36 + ((width - 72) * column) / 2, (height * (n + 1)) / (columns[column] + 1)];
  const ends = [
    ...first.flatMap((row, n) => row.map((_, k) => [place(0, k), place(1, n)])),
    ...second.flatMap((row, m) => row.map((_, n) => [place(1, n), place(2, m)])),
  ];
  const weights = [...first.flat(), ...second.flat()];
  const largest = Math.max(...weights.map(Math.abs)) || 1;
  ends.forEach((line, j) => {
    const size = Math.abs(c[j] * weights[j]) / largest;
    if (j === chosen) stroke(g, line, ink, { width: 13, alpha: 0.25 });
    if (size) stroke(g, line, palette.kept, { width: 0.7 + 6 * size });
    else stroke(g, line, palette.muted, { width: 1, dash: [2, 4] });
  });
  columns.forEach((count, column) => {
    for (let n = 0; n < count; n++) {
      drawMark(g, ...place(column, n), ink, { size: 13, inside: page });
      write(paper, `${"xho"[column]}${subscript(n + 1)}`, ...place(column, n));
    }
  });
  return (x, y) => lineAt(ends, ends.keys(), x, y) ?? -1;
}

const moves = (by) => (by > 0 ? `a fall by ${short(by)}` : by < 0 ? `a rise by ${short(-by)}` : "no change");

/** What tangent and chord say of the chosen connection. */
function sentences(names, c, j, loss, full, one, sides) {
  const { tangent, chord } = one;
  let verdict = `${short(Number(Math.abs(tangent / chord).toPrecision(2)))} times the truth.`;
  if (wrong(one)) verdict = "even the sign is wrong.";
  else if (chord === 0) verdict = tangent === 0 ? "the tangent is right." : "the tangent is wrong.";
  const others = c.map((value, i) => [i, value]).filter(([i, value]) => i !== j && value < 1);
  const context = others.length ? ` All this with ${others.map(([i, value]) => `${names[i]} at ${short(value)}`).join(", ")}.` : "";
  return (
    `${names[j]} at c = ${short(c[j])}: loss ${short(loss)}. From ${short(full)} at c = 1 the tangent promises ${short(full - tangent)} at c = 0, ${moves(tangent)}; ` +
    `the truth is ${short(full - chord)}, ${moves(chord)}: ${verdict} Of ${names.length} it ranks ${sides.tangent[j] + 1} by |g| and ${sides.chord[j] + 1} by |ΔL|.${context}`
  );
}

function render({ model, el }) {
  const network = model.get("network");
  const { root, find, describe } = stage(el, "tangent-explorer", CONTROLS, PANELS);
  const names = namesOf(network);
  Object.assign(find(".connection"), { max: names.length - 1 });
  Object.assign(find(".indicator"), { max: 1, step: 0.01 });
  let [curve, ladder, nearest] = [];

  function draw({ connection: j, c }) {
    const all = effects(network, withValue(c, j, 1)); // so that no rank moves while c_j is dragged
    const loss = lossAt(network, c);
    const full = lossAt(network, withValue(c, j, 1));
    setSlider(find(".connection"), j, names[j], `connection ${names[j]}`);
    setSlider(find(".indicator"), c[j], short(c[j]), `c = ${short(c[j])}`);
    curve = drawCurve(find(".curve canvas"), network, c, j, all[j]);
    ladder = drawRanks(find(".ranks canvas"), names, all, j);
    nearest = drawNetwork(find(".network canvas"), network, c, j);
    find("p").textContent = sentences(names, c, j, loss, full, all[j], ladder.sides);
    describe(".curve", `Loss over the indicator of ${names[j]}: ${short(full)} at 1, ${short(full - all[j].chord)} at 0, where the tangent promises ${short(full - all[j].tangent)}`);
    const listed = (side) => names.map((_, place) => names[ladder.sides[side].indexOf(place)]).join(", ");
    describe(".ranks", `By the tangent: ${listed("tangent")}. By the chord: ${listed("chord")}`);
    describe(".network", `A network with ${names.length} connections; gone: ${names.filter((_, i) => !c[i]).join(", ") || "none"}; shown: ${names[j]}`);
  }

  const { set, end } = follow(model, { connection: Number, c: null }, root, draw);
  const indicate = (value) => set({ c: withValue(model.get("c"), model.get("connection"), value) });
  find(".indicator").addEventListener("input", ({ target }) => indicate(Number(target.value)));
  find(".restore").addEventListener("click", () => set({ c: names.map(() => 1) }));
  const valueAt = (px) => (px - curve.X(0)) / (curve.X(1) - curve.X(0));
  const drag = ({ offsetX }) => indicate(Math.max(0, Math.min(1, Math.round((100 * valueAt(offsetX))) / 100)));
  find(".curve canvas").addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return; // not the primary one
    event.target.setPointerCapture(event.pointerId);
    drag(event);
  });
  find(".curve canvas").addEventListener("pointermove", (event) => event.target.hasPointerCapture(event.pointerId) && drag(event));
  const choose = (j) => j >= 0 && set({ connection: j });
  find(".ranks canvas").addEventListener("click", ({ offsetX, offsetY }) => choose(ladder.at(offsetX, offsetY)));
  find(".network canvas").addEventListener("click", ({ offsetX, offsetY }) => choose(nearest(offsetX, offsetY)));
  return end;
}

export default { render };
