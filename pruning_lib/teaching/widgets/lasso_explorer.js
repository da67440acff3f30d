// Lasso explorer: ISTA and APG walk down a lasso of two variables. All is computed here, so that it needs no kernel.

import { rectangle, stroke, write } from "./canvas.js";
import { chart, list, setSlider, short, slider, stage } from "./charts.js";
import { contour, errors, growing, largestStep, lasso, majorizer, walk } from "./lasso.js";
import { follow } from "./redraw.js";
import { STEP_BUTTONS, stepper } from "./stepper.js";

const SLIDERS = { eta: "step η", gamma: "penalty γ", momentum: "momentum μ", condition: "condition κ", angle: "angle of v₁" };
const CONTROLS =
  list("preset", "Example", '<option value="">own values</option>') +
  list("method", "Details of") +
  Object.entries(SLIDERS).map((one) => slider(...one)).join("") +
  '<label><input class="growing" type="checkbox"> μ grows, (t−2)/(t+1)</label>' +
  STEP_BUTTONS + slider("t", "t");
const PANELS = {
  "plane tall": `<i class="first"></i> APG, <i class="second"></i> ISTA, <b style="color:var(--violet)">▲</b> subgradient,
    <i class="hollow"></i> parts of this step, <i class="target"></i> minimum, <i class="band"></i> |z| ≤ ηγ: set to zero`,
  parabola: '<i class="line"></i> F along this step, <i class="line closes"></i> the parabola that the step minimizes',
  threshold: "Soft threshold: ● coordinate 1, ■ coordinate 2",
  gaps: "Distance of F from its minimum",
  errors: "Its error along ● steep v₁, ◇ flat v₂; dotted: by the gradient alone",
};
const STYLES = {
  subgradient: { color: "violet", shape: "triangle", dash: [2, 3], name: "Subgradient" },
  apg: { color: "kept", shape: "circle", dash: [], name: "APG" },
  ista: { color: "updated", shape: "square", dash: [6, 4], name: "ISTA" }, // drawn last and dashed: both are seen where they coincide
};
const GAPS = [1e-10, 1e2]; // beyond, a path is off the picture
const REACHED = 1e-6; // a gap that counts as arrived

const pair = ([one, two]) => `(${short(one)}, ${short(two)})`;
const inGaps = (value) => Math.max(value, GAPS[0]);
const BAND = { fill: palette.muted, alpha: 0.22 };
const band = ({ g, X, box }, a) => rectangle(g, X(-a), box.top, X(a) - X(-a), box.height, BAND);

/** What is drawn, of all values: the problem, and the paths of both methods and of the one whose details are asked for. */
function computedOf(values, { center, start, steps }) {
  const problem = lasso({ ...values, center });
  const how = { ...values, start, steps, momentum: values.growing ? growing : () => values.momentum };
  const names = Object.keys(STYLES).filter((name) => name !== "subgradient" || values.method === name);
  return { problem, paths: Object.fromEntries(names.map((name) => [name, walk(problem, name, how)])) };
}

/** Low and high of both axes on one scale, so that both points and zero are seen. */
function windowOf(canvas, height, points) {
  const [wide, high] = [canvas.parentElement.clientWidth - 74, height - 56]; // chart()'s margins
  const ends = [0, 1].map((i) => [Math.min(0, ...points.map((p) => p[i])), Math.max(0, ...points.map((p) => p[i]))]);
  const [middle, half] = [ends.map(([a, b]) => (a + b) / 2), ends.map(([a, b]) => 0.65 * (b - a) + 0.15)];
  const unit = Math.max(half[0] / wide, half[1] / high);
  return [wide, high].map((size, i) => [middle[i] - unit * size, middle[i] + unit * size]);
}

let drawn = { key: "", lines: [] }; // the contours of the last problem: they stay while a path is stepped along
function contours(problem, x, y) {
  const key = JSON.stringify([problem.H, problem.gamma, problem.center, x, y]);
  if (key !== drawn.key) {
    const top = Math.max(...x.flatMap((a) => y.map((b) => problem.value([a, b])))) - problem.minimum;
    const lines = Array.from({ length: 11 }, (_, k) => contour(problem, problem.minimum + top * ((k + 1) / 12) ** 3));
    drawn = { key, lines };
  }
  return drawn.lines;
}

/** The eigenvectors of H, in a corner. */
function drawCompass(c, { vectors }) {
  const [left, down] = [c.box.left + 40, c.box.top + c.box.height - 40];
  vectors.forEach((v, k) => {
    const way = v[0] < 0 ? -1 : 1; // to the right: a direction has no sign
    stroke(c.g, [[left, down], [left + 24 * way * v[0], down - 24 * way * v[1]]], c.ink, { width: 2 });
    write(c, ["v₁", "v₂"][k], left + 33 * way * v[0], down - 33 * way * v[1]);
  });
}

function drawPlane(canvas, { problem, paths }, { t, method, eta }, points) {
  const height = Math.max(320, Math.min(500, 0.95 * canvas.parentElement.clientWidth));
  const [x, y] = windowOf(canvas, height, points);
  const c = chart(canvas, height, { x, y, xTitle: "λ₁", yTitle: "λ₂" });
  const { X, Y, box } = c;
  const a = eta * problem.gamma;
  c.inside(() => {
    band(c, a);
    rectangle(c.g, box.left, Y(a), box.width, Y(-a) - Y(a), BAND);
  });
  c.lines(contours(problem, x, y), palette.muted, { width: 1, alpha: 0.8 });
  drawCompass(c, problem);
  const outside = [];
  for (const [name, states] of Object.entries(paths)) {
    const { color, shape, dash } = STYLES[name];
    const path = states.slice(0, t + 1).map(({ point }) => point);
    c.line(path, palette[color], { dash });
    c.inside(() => path.forEach((point) => c.marker(point, palette[color], { shape, size: 3 })));
    const [here, edge] = [path[t], path[t].map((at, i) => Math.max([x, y][i][0], Math.min([x, y][i][1], at)))];
    if (here[0] === edge[0] && here[1] === edge[1]) continue;
    c.marker(edge, palette[color], { shape, size: 7, filled: false });
    outside.push(STYLES[name].name);
  }
  if (outside.length) {
    const text = `outside: ${outside.join(", ")}`;
    const wide = c.g.measureText(text).width + 12;
    rectangle(c.g, box.left + box.width - wide - 4, box.top + 4, wide, 20, { fill: c.dark ? "#222" : "#fff", alpha: 0.9 });
    write(c, text, box.left + box.width - 10, box.top + 14, { align: "right" });
  }
  c.marker(problem.optimum, palette.good, { shape: "diamond", size: 7, filled: false });
  if (!t) return;
  const { lookAhead, z, point } = paths[method][t];
  c.line([paths[method][t - 1].point, lookAhead, z, point], palette.accent, { width: 1.5 });
  c.inside(() =>
    [[method === "apg" ? "d" : "", lookAhead, -14, 11], ["z", z, 9, -10], ["λ", point, 9, 12]].forEach(([name, part, right, down]) => {
      c.marker(part, palette.accent, { filled: false, size: 5 });
      write(c, name, X(part[0]) + right, Y(part[1]) + down, { align: "left" });
    }),
  );
}

/** F and the parabola along the line of a step, with what was promised and what came; gives both. */
function drawParabola(canvas, { problem, paths }, { t, method, eta }) {
  const { lookAhead: d, point } = paths[method][Math.max(t, 1)];
  const far = Math.hypot(point[0] - d[0], point[1] - d[1]);
  const way = far < 1e-9 ? problem.vectors[0] : point.map((to, i) => (to - d[i]) / far);
  const parabola = majorizer(problem, d, eta, method !== "subgradient");
  const at = (s) => [d[0] + s * way[0], d[1] + s * way[1]];
  const room = 0.8 * Math.max(far, 1); // so far on either side the curvatures are seen
  const x = [-room, far + room];
  const line = (f) => Array.from({ length: 161 }, (_, k) => x[0] + ((x[1] - x[0]) * k) / 160).map((s) => [s, f(at(s))]);
  const [own, bound] = [line(problem.value), line(parabola)];
  const [promised, came] = [parabola(point), problem.value(point)];
  const [low, high] = [Math.min(promised, ...own.map(([, f]) => f)), Math.max(...own.map(([, f]) => f))];
  const y = [low - 0.08 * (high - low), high + 0.08 * (high - low)];
  const c = chart(canvas, 220, { x, y, xTitle: `step ${Math.max(t, 1)}: distance from ${method === "apg" ? "d" : "λ before"}`, yTitle: "F" });
  c.line(own, palette.kept);
  c.line(bound, palette.accent, { dash: [6, 4] });
  c.line([[far, promised], [far, came]], c.ink, { width: 1.5 });
  c.inside(() => {
    c.marker([0, problem.value(d)], palette.kept, { size: 3.5 });
    c.marker([far, came], palette.kept, { size: 4.5 });
    c.marker([far, promised], palette.accent, { filled: false, size: 5.5 });
  });
  return { promised, came };
}

function drawThreshold(canvas, { problem, paths }, { t, method, eta }, points) {
  const { z, point } = paths[method][t];
  const limit = 1.3 * Math.max(...points.flat().map(Math.abs), 0.5);
  const a = eta * problem.gamma;
  const c = chart(canvas, 200, { x: [-limit, limit], y: [-limit, limit], xTitle: "z", yTitle: "S(z)" });
  c.inside(() => band(c, a));
  c.line([[-limit, -limit], [limit, limit]], palette.muted, { width: 1, dash: [2, 3] });
  c.line([[-limit, a - limit], [-a, 0], [a, 0], [limit, limit - a]], palette.kept);
  c.inside(() => ["circle", "square"].forEach((shape, k) => c.marker([z[k], point[k]], palette.accent, { shape, size: 5 })));
}

/** Lines over t on a logarithmic axis, each up to the iteration shown, faint beyond. */
function drawOverTime(canvas, lines, t, yTitle) {
  const steps = lines[0].values.length - 1;
  const c = chart(canvas, 220, { x: [0, steps], y: GAPS, log: true, xTitle: "iteration t", yTitle });
  for (const { values, color, dash, mark } of lines) {
    const points = values.map((value, k) => [k, inGaps(value)]);
    c.line(points, palette[color], { dash, width: 1, alpha: 0.45 });
    c.line(points.slice(0, t + 1), palette[color], { dash });
    if (mark) c.inside(() => c.marker(points[t], palette[color], mark));
  }
}

const diverges = (gaps) => gaps[gaps.length - 1] > Math.max(gaps[0], REACHED);

/** How a path ends, in words. */
function fate(name, gaps) {
  const last = gaps.length - 1;
  const arrived = gaps.findLastIndex((gap) => !(gap < REACHED)) + 1;
  if (diverges(gaps)) return `${name} diverges`;
  return arrived > last ? `${name} is still ${short(gaps[last])} above the minimum at t = ${last}` : `${name} is within 10⁻⁶ of the minimum from t = ${arrived}`;
}

/** What the step size means here: whether the parabola bounds F, and what breaks if a path diverges. */
function lesson({ method, eta, growing, momentum, condition, gamma }, gaps, { promised, came }) {
  const said = [];
  if (method === "subgradient" && gamma) said.push("No prox: the parabola knows the slope of γ|λ| but not its kink, so steps cross zero and come back, and no coordinate rests there.");
  else if (eta <= 1) said.push(`η = ${short(eta)}/L: the parabola is nowhere below F, so no step of ISTA goes up.`);
  else said.push(`η = ${short(eta)}/L is above 1/L: the parabola can dip below F. This step promised F = ${short(promised)} and got ${short(came)}.`);
  if (diverges(gaps.ista)) said.push("Above 2/L, ISTA jumps across the valley and lands higher on the other side each time.");
  else if (eta > 2 && !(gaps.ista[gaps.ista.length - 1] < REACHED)) said.push("Above 2/L, ISTA jumps across the valley each time; only the penalty holds it back, and it has not settled.");
  else if (diverges(gaps.apg)) said.push(`Momentum carries APG across the valley: with μ ${growing ? "near 1" : `= ${short(momentum)}`} its largest step is ${largestStep(growing ? 1 : momentum).toFixed(2)}/L, ISTA's is 2/L.`);
  else {
    const factor = (curvature) => short(Number((1 - eta * curvature).toPrecision(3)));
    said.push(`A gradient step multiplies the error along v₁ by 1 − ηL = ${factor(1)}, along v₂ by 1 − ηL/κ = ${factor(1 / condition)}.`);
  }
  return said.join(" ");
}

function render({ model, el }) {
  const [center, start, steps, methods, limits, presets] = ["center", "start", "steps", "methods", "limits", "presets"].map((name) => model.get(name));
  const { root, find, describe } = stage(el, "lasso-explorer", CONTROLS, PANELS);
  const grid = { eta: 0.05, gamma: 0.01, momentum: 0.01, condition: 0.5, angle: 1 };
  const toSlider = (name, value) => (name === "condition" ? Math.log2(value) : value); // equal steps are equal factors
  for (const [name, range] of Object.entries(limits)) {
    const [min, max] = range.map((value) => toSlider(name, value));
    Object.assign(find(`.${name}`), { min, max, step: grid[name] });
  }
  for (const [name, text] of Object.entries(methods)) find(".method").add(new Option(text, name));
  for (const name of Object.keys(presets)) find(".preset").add(new Option(name, name));

  let ownValues = {}; // the last values that are no example, for the way back to them

  function draw(values) {
    const { t, ...rest } = values;
    const { method } = rest;
    const all = computedOf(values, { center, start, steps });
    const { problem, paths } = all;
    const gaps = Object.fromEntries(Object.entries(paths).map(([name, states]) => [name, states.map(({ objective }) => objective - problem.minimum)]));
    const mu = values.growing ? growing(Math.max(t, 1)) : values.momentum; // the slider shows the momentum of this step
    film.show();
    for (const name of Object.keys(SLIDERS)) {
      const value = name === "momentum" ? mu : values[name];
      const text = short(Number(value.toPrecision(3))) + ({ eta: "/L", angle: "°" }[name] ?? "");
      setSlider(find(`.${name}`), toSlider(name, value), text, `${SLIDERS[name]} ${text}`);
    }
    find(".growing").checked = values.growing;
    find(".method").value = method;
    const example = Object.keys(presets).find((key) => Object.entries(presets[key]).every(([name, value]) => values[name] === value));
    find(".preset").value = example ?? "";
    if (!example) ownValues = rest;

    drawPlane(find(".plane canvas"), all, values, [start, center]);
    const came = drawParabola(find(".parabola canvas"), all, values);
    drawThreshold(find(".threshold canvas"), all, values, [start, center]);
    const styled = (name) => ({ color: STYLES[name].color, dash: STYLES[name].dash });
    drawOverTime(find(".gaps canvas"), Object.entries(gaps).map(([name, own]) => ({ values: own, ...styled(name), mark: { shape: STYLES[name].shape } })), t, "F(λ) − minimum");
    const along = paths[method].map(({ point }) => errors(problem, point));
    const alone = problem.curvatures.map((h, k) => ({ values: along.map((_, n) => along[0][k] * Math.abs(1 - values.eta * h) ** n), color: "muted", dash: [2, 3] }));
    const found = [{ shape: "circle" }, { shape: "diamond", filled: false, size: 5 }].map((mark, k) => ({ values: along.map((row) => row[k]), ...styled(method), dash: [], mark }));
    drawOverTime(find(".errors canvas"), [...alone, ...found], t, "|vᵀ(λ − λ*)|");

    const state = paths[method][t];
    const { name } = STYLES[method];
    const said = t
      ? `${name}, t = ${t}: ${method === "apg" ? `momentum ${short(state.momentum)}, look-ahead d = ${pair(state.lookAhead)}, ` : ""}after the gradient z = ${pair(state.z)}, ` +
        `after the ${method === "subgradient" ? "penalty's slope" : "threshold"} λ = ${pair(state.point)}.`
      : `The start: λ = ${pair(state.point)}.`;
    const fates = Object.entries(gaps).map(([one, own]) => fate(STYLES[one].name, own)).join("; ");
    find("p").textContent = `${lesson(values, gaps, came)} ${fates}. ${said}`;
    const each = (text) => Object.keys(paths).map((one) => `${STYLES[one].name} ${text(one)}`).join(", ");
    describe(".plane", `Contours of F with the paths after ${t} iterations; ${each((one) => `at ${pair(paths[one][t].point)}`)}, minimum at ${pair(problem.optimum)}`);
    describe(".parabola", `F and the parabola along step ${Math.max(t, 1)} of ${name}: promised ${short(came.promised)}, got ${short(came.came)}`);
    describe(".threshold", `Soft threshold at ${short(values.eta * values.gamma)} takes z = ${pair(state.z)} to ${pair(state.point)}`);
    describe(".gaps", `Distance from the minimum after ${t} iterations: ${each((one) => short(gaps[one][t]))}`);
    describe(".errors", `Errors of ${name} along v₁ and v₂ after ${t} iterations: ${pair(along[t])}`);
  }

  const traits = { t: null, method: String, eta: Number, gamma: Number, momentum: null, growing: null, condition: (power) => 2 ** power, angle: Number };
  const { set, end } = follow(model, traits, root, draw);
  const film = stepper(root, find(".t"), { at: () => model.get("t"), last: () => steps, go: (t) => set({ t }), word: "iteration", pause: 250 });
  find(".momentum").addEventListener("input", ({ target }) => set({ momentum: Number(target.value), growing: false }));
  find(".growing").addEventListener("input", ({ target }) => set({ growing: target.checked }));
  find(".preset").addEventListener("input", ({ target }) => set(presets[target.value] ?? ownValues));
  return () => {
    film.stop();
    end();
  };
}

export default { render };
