// Taylor: recorded errors along lines against their Taylor series, under a slider. All is here, no kernel is needed.

import { superscript } from "./canvas.js";
import { chart, list, setSlider, short, slider, stage } from "./charts.js";
import { follow } from "./redraw.js";

const CONTROLS = slider("index", "t") + list("point", "Network") + list("direction", "Direction");
const PANELS = {
  "curves tall": "",
  left: "What each series leaves over; dotted: slope 3",
  terms: "The terms at this t; outlined: second with H's diagonal only",
};

const SERIES = {
  true: { text: "true ΔE", sign: "●", color: "kept", dash: [], shape: "circle", filled: true },
  first: { text: "first order", sign: "◇", color: "good", dash: [2, 3], shape: "diamond", filled: false },
  second: { text: "second order", sign: "□", color: "updated", dash: [7, 4], shape: "square", filled: false },
  diagonal: { text: "second order, diagonal H", sign: "△", color: "accent", dash: [8, 3, 2, 3], shape: "triangle", filled: false },
  cubic: { text: "third order", sign: "○", color: "violet", dash: [8, 3, 2, 3, 2, 3], shape: "circle", filled: false },
};

/** The series cut off: first order, second with H's diagonal, second, and third where it is given. */
export function sums({ first, diagonal, second, cubic }) {
  const plus = (one, other) => one.map((value, i) => value + other[i]);
  const result = { first, second: plus(first, second), diagonal: plus(first, diagonal) };
  if (cubic) result.cubic = plus(result.second, cubic);
  return result;
}

/** ΔE − each of the sums. */
export function remainders(curve) {
  const subtract = (cut) => curve.true.map((value, i) => value - cut[i]);
  return Object.fromEntries(Object.entries(sums(curve)).map(([name, cut]) => [name, subtract(cut)]));
}

/** d log|values| / d log t between the neighbors of an index; null where a logarithm is missing. */
export function slope(t, values, index) {
  const [low, high] = [Math.max(index - 1, 0), Math.min(index + 1, t.length - 1)];
  if (t[low] <= 0 || !values[low] || !values[high]) return null;
  return Math.log(Math.abs(values[high] / values[low])) / Math.log(t[high] / t[low]);
}

/** ΔE at an index, its terms, what they leave over, and the second term with H's diagonal only. */
export function termsAt(curve, index) {
  const rest = remainders(curve)[curve.cubic ? "cubic" : "second"];
  const terms = [["ΔE", curve.true, "kept"], ["first", curve.first, "good"], ["second", curve.second, "updated"]];
  if (curve.cubic) terms.push(["third", curve.cubic, "violet"]);
  terms.push(["rest", rest, "muted"], ["diagonal", curve.diagonal, "accent"]);
  return terms.map(([name, values, color]) => ({ name, value: values[index], color, filled: name !== "diagonal" }));
}

/** Sizes for logarithmic axes; null where there is no logarithm. */
export function sizes(t, lines) {
  const size = (value, i) => (t[i] > 0 && value ? Math.abs(value) : null);
  return Object.fromEntries(Object.entries(lines).map(([name, values]) => [name, values.map(size)]));
}

/** Lines with a mark now and then, and a larger one at the index; `null` where there is no value. */
function drawSeries(c, t, lines, index) {
  const { box } = c;
  const seen = ([x, y]) => c.X(x) >= box.left - 1 && c.X(x) <= box.left + box.width + 1 && c.Y(y) >= box.top - 1 && c.Y(y) <= box.top + box.height + 1;
  const every = Math.max(1, Math.floor(t.length / 7));
  c.line([[t[index], c.bottom], [t[index], c.top]], c.ink, { width: 1, alpha: 0.5 });
  for (const [name, values] of Object.entries(lines)) {
    const { color, dash, shape, filled } = SERIES[name];
    const points = values.map((value, i) => [t[i], value, i]).filter(([, value]) => value !== null);
    c.line(points, palette[color], { dash });
    for (const point of points)
      if (seen(point) && (point[2] === index || point[2] % every === 0)) c.marker(point, palette[color], { shape, filled, size: point[2] !== index ? 3 : filled ? 4 : 6 });
  }
}

function drawCurves(canvas, curve, index) {
  const lines = { true: curve.true, ...sums(curve) };
  let [low, high] = [Math.min(0, ...curve.true), Math.max(0, ...curve.true)];
  const far = 0.6 * (high - low || 1); // where a cut-off series runs further away, the panel ends
  const every = Object.values(lines).flat().map((value) => Math.max(low - far, Math.min(high + far, value)));
  [low, high] = [Math.min(...every), Math.max(...every)];
  const margin = 0.06 * (high - low || 1);
  const y = [low - margin, high + margin];
  const height = Math.max(300, Math.min(420, 0.85 * canvas.parentElement.clientWidth));
  const c = chart(canvas, height, { x: [0, curve.t[curve.t.length - 1]], y, xTitle: "distance t = ‖δw‖", yTitle: "ΔE" });
  c.line([[0, 0], [curve.t[curve.t.length - 1], 0]], c.ink, { width: 1, alpha: 0.5 });
  drawSeries({ ...c, bottom: y[0], top: y[1] }, curve.t, lines, index);
}

function drawRemainders(canvas, curve, left, index) {
  const { t } = curve;
  const lines = sizes(t, left);
  const found = Object.values(lines).flat().filter((value) => value !== null);
  const decades = (values) => [10 ** Math.floor(Math.log10(Math.min(...values))), 10 ** (Math.floor(Math.log10(Math.max(...values))) + 1)];
  const y = found.length ? decades(found) : [0.1, 1];
  const [from, to] = [t.find((value) => value > 0), t[t.length - 1]];
  const c = chart(canvas, 220, { x: [from / 1.15, to * 1.15], y, log: true, logX: true, xTitle: "t", yTitle: "|ΔE − series|" });
  const here = lines.second[index];
  drawSeries({ ...c, bottom: y[0], top: y[1] }, t, lines, index);
  if (here !== null) c.line([from, to].map((at) => [at, here * (at / t[index]) ** 3]), c.ink, { dash: [2, 4], width: 1.5 });
}

/** To a tenth; what is smaller and not zero says so. */
function rounded(value) {
  const tenths = Number(value.toFixed(1));
  return value && !tenths ? "≈ 0" : short(tenths);
}

function drawTerms(canvas, entries) {
  const exponent = Math.floor(Math.log10(Math.max(...entries.map(({ value }) => Math.abs(value))) || 1));
  const values = entries.map(({ value }) => value / 10 ** exponent);
  const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
  const room = 0.2 * (high - low) || 1; // for a line of text
  const y = [low < 0 ? low - room : 0, high > 0 ? high + room : 0];
  const c = chart(canvas, 220, { x: [-0.6, entries.length - 0.4], y, names: entries.map(({ name }) => name), xTitle: "", yTitle: `term${exponent ? `, ×10${superscript(exponent)}` : ""}` });
  entries.forEach(({ color, filled }, k) => c.bar(k, 0.6, values[k], palette[color], { texts: [rounded(values[k])], filled }));
  c.line([[-1, 0], [entries.length, 0]], c.ink, { width: 1, alpha: 0.5 });
}

function render({ model, el }) {
  const points = model.get("points");
  const { root, find, describe } = stage(el, "taylor", CONTROLS, PANELS);
  const names = Object.keys(points);
  const directions = Object.keys(points[names[0]]);
  const some = points[names[0]][directions[0]];
  find(".index").max = some.t.length - 1;
  for (const name of names) find(".point").add(new Option(name, name));
  for (const name of directions) find(".direction").add(new Option(name, name));
  const legend = Object.entries(SERIES).filter(([name]) => some[name]);
  find(".curves figcaption").innerHTML = legend.map(([, { sign, color, text }]) => `<b style="color:var(--${color})">${sign}</b> ${text}`).join(", ");

  function draw({ point, direction, index }) {
    const curve = points[point][direction];
    const left = remainders(curve);
    const [t, change] = [curve.t[index], curve.true[index]];
    setSlider(find(".index"), index, short(t), `t = ${short(t)}`);
    find(".point").value = point;
    find(".direction").value = direction;

    const entries = termsAt(curve, index);
    const off = (name) => (change ? `${short(Number(((100 * Math.abs(left[name][index])) / Math.abs(change)).toPrecision(2)))} %` : short(left[name][index]));
    const measured = slope(curve.t, left.second, index);
    const grows = measured === null ? "" : ` What second order leaves grows as t to the ${measured.toFixed(2).replace("-", "−")}.`;
    const third = curve.cubic ? `, third by ${off("cubic")}` : "";
    find("p").textContent =
      `At t = ${short(t)}, ΔE = ${short(change)}. First order is off by ${off("first")}, second by ${off("second")}${third}; ` +
      `second with H's diagonal only by ${off("diagonal")}.${grows}`;

    drawCurves(find(".curves canvas"), curve, index);
    drawRemainders(find(".left canvas"), curve, left, index);
    drawTerms(find(".terms canvas"), entries);
    const here = `at t = ${short(t)}, expanded at: ${point}, direction: ${direction}`;
    const cut = Object.entries(sums(curve)).map(([name, values]) => `${SERIES[name].text} ${short(values[index])}`);
    describe(".curves", `Change of the error over the distance; ${here}: true ${short(change)}, ${cut.join(", ")}`);
    describe(".left", `What each series leaves over, on logarithmic axes; ${here}: second order ${short(left.second[index])}`);
    describe(".terms", `Terms ${here}: ${entries.map(({ name, value }) => `${name} ${short(value)}`).join(", ")}`);
  }

  return follow(model, { index: Number, point: String, direction: String }, root, draw).end;
}

export default { render };
