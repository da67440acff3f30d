// Surgery: two weights and a quadratic error. All is computed here, so that the sliders need no kernel.

import { write } from "./canvas.js";
import { chart, list, setSlider, short, slider, stage } from "./charts.js";
import { follow } from "./redraw.js";

const SLIDERS = { w1: "w₁*", w2: "w₂*", ratio: "curvatures h₁₁/h₂₂", correlation: "correlation ρ" };
const CONTROLS =
  list("preset", "Example", '<option value="">own values</option>') +
  Object.entries(SLIDERS).map((one) => slider(...one)).join("");
const PANELS = {
  "plane tall": `<i class="target"></i> trained w*,
    <b style="color:var(--updated)">□</b> magnitude, <b style="color:var(--accent)">△</b> OBD, <b style="color:var(--kept)">●</b> OBS,
    each with the ellipse of its error; OBS takes the best point of the thick line`,
  errors: "Error E after deletion by magnitude, by Optimal Brain Damage (OBD) or Surgeon (OBS)",
  scores: "What each method compares; filled: the smaller, deleted",
};

const MARKS = {
  magnitude: { color: "updated", shape: "square", size: 8, filled: false },
  OBD: { color: "accent", shape: "triangle", size: 7, filled: false },
  OBS: { color: "kept", shape: "circle", size: 4.5 }, // drawn last and smallest: all three are seen where they coincide
};
const WEIGHTS = ["w₁", "w₂"];

/** H of a curvature ratio h₁₁/h₂₂ and a correlation, with h₁₁h₂₂ = 1. */
const hessian = ({ ratio, correlation }) => [[Math.sqrt(ratio), correlation], [correlation, 1 / Math.sqrt(ratio)]];

/** What each method does: both scores, the weight deleted, the weights afterwards and the error there. */
export function outcomes({ w1, w2, ratio, correlation }) {
  const w = [w1, w2];
  const H = hessian({ ratio, correlation });
  const determinant = H[0][0] * H[1][1] - correlation ** 2;
  const inverse = [H[1][1] / determinant, H[0][0] / determinant]; // its diagonal; off it, −correlation / determinant
  const scores = {
    magnitude: w.map(Math.abs),
    OBD: w.map((value, q) => 0.5 * H[q][q] * value ** 2),
    OBS: w.map((value, q) => value ** 2 / (2 * inverse[q])),
  };
  const result = {};
  for (const [name, both] of Object.entries(scores)) {
    const deleted = both[1] < both[0] ? 1 : 0;
    const other = 1 - deleted;
    const point = [...w];
    point[deleted] = 0;
    // δw = −w_q/[H⁻¹]_qq · H⁻¹e_q
    if (name === "OBS") point[other] -= (w[deleted] / inverse[deleted]) * (-correlation / determinant);
    const [x, y] = point.map((value, q) => value - w[q]);
    const error = 0.5 * (H[0][0] * x * x + 2 * correlation * x * y + H[1][1] * y * y);
    result[name] = { scores: both, deleted, point, error };
  }
  return result;
}

/** The closed line of all w with E(w) = error: w* + √(2·error) L⁻ᵀu, where H = LLᵀ and u goes around the circle. */
export function ellipse(values, error) {
  const H = hessian(values);
  const a = Math.sqrt(H[0][0]);
  const b = H[1][0] / a;
  const c = Math.sqrt(H[1][1] - b * b);
  return Array.from({ length: 97 }, (_, k) => {
    const turn = (2 * Math.PI * k) / 96;
    const y = (Math.sqrt(2 * error) * Math.sin(turn)) / c;
    return [values.w1 + (Math.sqrt(2 * error) * Math.cos(turn) - b * y) / a, values.w2 + y];
  });
}

function drawPlane(canvas, values, result) {
  const size = canvas.parentElement.clientWidth;
  const height = Math.max(300, Math.min(460, size));
  const aspect = (size - 74) / (height - 56); // chart()'s margins: both axes on one scale
  const reach = (points) => Math.max(...points.flatMap(([x, y]) => [Math.abs(x) / aspect, Math.abs(y)]));
  const half = Math.max(2.4, ...Object.values(result).map(({ point, error }) => Math.max(1.15 * reach([point]), 1.03 * reach(ellipse(values, error)))));
  const wide = half * aspect;
  const c = chart(canvas, height, { x: [-wide, wide], y: [-half, half], xTitle: "w₁", yTitle: "w₂" });
  for (let k = 1; k < 9; k++) c.line(ellipse(values, 0.16 * k * k), palette.muted, { width: 1, alpha: 0.55 });
  const width = (q) => (result.OBS.deleted === q ? 3 : 1.5);
  c.line([[0, -half], [0, half]], c.ink, { width: width(0), alpha: 0.6 });
  c.line([[-wide, 0], [wide, 0]], c.ink, { width: width(1), alpha: 0.6 });
  const start = [values.w1, values.w2];
  const [right, top] = start.map((value) => value <= 0); // the names go where w* is not
  const baseline = "alphabetic";
  write(c, "w₁ = 0", c.X(0) + 6, top ? c.box.top + 14 : c.box.top + c.box.height - 8, { align: "left", baseline });
  write(c, "w₂ = 0", right ? c.box.left + c.box.width - 6 : c.box.left + 6, c.Y(0) - 6, { align: right ? "right" : "left", baseline });
  for (const [name, { color, ...mark }] of Object.entries(MARKS)) {
    const { point, error } = result[name];
    c.line(ellipse(values, error), palette[color], { width: 1.5, dash: name === "OBS" ? [] : [6, 4] });
    c.line([start, point], palette[color], { width: name === "OBS" ? 2.5 : 1.5 });
    c.marker(point, palette[color], mark);
  }
  c.marker(start, palette.good, { shape: "diamond", size: 6, filled: false });
}

function drawErrors(canvas, result) {
  const names = Object.keys(MARKS);
  const top = 1.2 * Math.max(...names.map((name) => result[name].error)) || 1;
  const c = chart(canvas, 190, { x: [-0.6, 2.6], y: [0, top], names, xTitle: "", yTitle: "E" });
  names.forEach((name, k) => c.bar(k, 0.6, result[name].error, palette[MARKS[name].color], { texts: [short(result[name].error)] }));
}

function drawScores(canvas, result) {
  const names = ["magnitude |w|", "OBD ½hw²", "OBS ½w²/[H⁻¹]"];
  const c = chart(canvas, 210, { x: [-0.6, 2.6], y: [0, 1.35], names, xTitle: "", yTitle: "share of the larger" });
  Object.entries(MARKS).forEach(([name, { color }], k) => {
    const { scores, deleted } = result[name];
    const largest = Math.max(...scores) || 1;
    const texts = [3, 2, 1].map((digits) => scores.map((score) => short(Number(score.toPrecision(digits)))));
    const room = 2 * 0.42 * (c.X(1) - c.X(0)) - 6; // of both
    const fits = (both) => c.g.measureText(both.join("")).width < room;
    const said = texts.find(fits) ?? texts.at(-1);
    scores.forEach((score, q) =>
      c.bar(k + 0.42 * q - 0.21, 0.34, score / largest, palette[color], { texts: [WEIGHTS[q], said[q]], filled: q === deleted }),
    );
  });
}

/** Each method's deed in words. */
function sentences(values, result) {
  const start = [values.w1, values.w2];
  const said = Object.entries(result).map(([name, { deleted, point, error }]) => {
    const other = 1 - deleted;
    const moves = short(start[other]) !== short(point[other]);
    const rest = moves ? `moves ${WEIGHTS[other]} from ${short(start[other])} to ${short(point[other])}` : `leaves ${WEIGHTS[other]}`;
    return `${name === "magnitude" ? "Magnitude" : name} deletes ${WEIGHTS[deleted]} and ${rest}: E = ${short(error)}.`;
  });
  return `${said.join(" ")} With two weights OBS's scores are 1 − ρ² = ${short(1 - values.correlation ** 2)} of OBD's: both delete the same one.`;
}

function render({ model, el }) {
  const [limits, presets] = ["limits", "presets"].map((name) => model.get(name));
  const { root, find, describe } = stage(el, "surgery", CONTROLS, PANELS);
  const names = Object.keys(limits);
  const toSlider = (name, value) => (name === "ratio" ? Math.log2(value) : value); // equal steps are equal factors
  for (const name of names) {
    const [min, max] = limits[name].map((value) => toSlider(name, value));
    Object.assign(find(`.${name}`), { min, max, step: name === "ratio" ? 0.25 : 0.05 });
  }
  for (const name of Object.keys(presets)) find(".preset").add(new Option(name, name));

  function draw(values) {
    const result = outcomes(values);
    for (const name of names) setSlider(find(`.${name}`), toSlider(name, values[name]), short(values[name]));
    find(".preset").value = Object.keys(presets).find((key) => names.every((name) => presets[key][name] === values[name])) ?? "";
    find("p").textContent = sentences(values, result);
    drawPlane(find(".plane canvas"), values, result);
    drawErrors(find(".errors canvas"), result);
    drawScores(find(".scores canvas"), result);
    const each = (text) => Object.entries(result).map(([name, one]) => `${name} ${text(one)}`).join(", ");
    const at = ([x, y]) => `(${short(x)}, ${short(y)})`;
    describe(".plane", `Ellipses of constant error around w* = ${at([values.w1, values.w2])}; ends: ${each(({ point }) => at(point))}`);
    describe(".errors", `Error after the deletion: ${each(({ error }) => short(error))}`);
    describe(".scores", `Scores of w₁ and w₂: ${each(({ scores }) => at(scores))}`);
  }

  const { set, end } = follow(model, { w1: Number, w2: Number, ratio: (power) => 2 ** power, correlation: Number }, root, draw);
  find(".preset").addEventListener("input", () => find(".preset").value && set(presets[find(".preset").value]));
  return end;
}

export default { render };
