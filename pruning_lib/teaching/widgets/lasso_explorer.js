// Lasso explorer: ISTA and APG walk down a lasso of two variables. All is computed here, so that it needs no kernel.

import { list, setSlider, short, slider, stage } from "./charts.js";
import { errors, growing, largestStep, lasso, walk } from "./lasso.js";
import { STYLES, drawOverTime, drawParabola, drawPlane, drawThreshold } from "./lasso_drawing.js";
import { follow } from "./redraw.js";
import { STEP_BUTTONS, stepper } from "./stepper.js";

const SLIDERS = { eta: "step η", gamma: "penalty γ", momentum: "momentum μ", condition: "condition κ", angle: "angle of v₁" };
const CONTROLS =
  list("preset", "Example", '<option value="">own values</option>') +
  list("method", "Details of") +
  ["eta", "gamma"].map((name) => slider(name, SLIDERS[name])).join("") +
  STEP_BUTTONS + slider("t", "t") + // what a first walk needs; the rest below
  ["momentum", "condition", "angle"].map((name) => slider(name, SLIDERS[name])).join("") +
  '<label><input class="growing" type="checkbox"> μ grows, (t−2)/(t+1)</label>';
const PANELS = {
  "plane tall": `F = f(λ) + γ‖λ‖₁; f bends by L along v₁, by L/κ across. <i class="first"></i> APG, <span class="key"><i class="second"></i> ISTA</span>, <span class="key"><b style="color:var(--violet)">▲</b> subgradient</span>,
    <span class="key"><i class="hollow"></i> parts of this step</span>, <span class="key"><i class="target"></i> minimum</span>, <span class="key"><i class="band"></i> |z| ≤ ηγ: set to zero</span>`,
  parabola: '<i class="line" style="border-color: currentColor"></i> F along this step, <i class="line closes"></i> the parabola that the step minimizes',
  threshold: "Soft threshold S(z): ● coordinate 1, ■ coordinate 2",
  gaps: "Distance of F from its minimum",
  errors: '<span class="whose"></span> error along ● steep v₁, ◇ flat v₂; dotted: by the gradient alone',
};
const REACHED = 1e-6; // a gap that counts as arrived

const pair = ([one, two]) => `(${short(one)}, ${short(two)})`;

/** What is drawn, of all values: the problem, and the paths of both methods and of the one whose details are asked for. */
function computedOf(values, { center, start, steps }) {
  const problem = lasso({ ...values, center });
  const how = { ...values, start, steps, momentum: values.growing ? growing : () => values.momentum };
  const names = Object.keys(STYLES).filter((name) => name !== "subgradient" || values.method === name);
  return { problem, paths: Object.fromEntries(names.map((name) => [name, walk(problem, name, how)])) };
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
  const [center, start, steps, methods, limits] = ["center", "start", "steps", "methods", "limits"].map((name) => model.get(name));
  const presets = new Map(model.get("presets"));
  const { root, find, describe } = stage(el, "lasso-explorer", CONTROLS, PANELS);
  const grid = { eta: 0.05, gamma: 0.01, momentum: 0.01, condition: 0.5, angle: 1 };
  const toSlider = (name, value) => (name === "condition" ? Math.log2(value) : value); // equal steps are equal factors
  for (const [name, range] of Object.entries(limits)) {
    const [min, max] = range.map((value) => toSlider(name, value));
    Object.assign(find(`.${name}`), { min, max, step: grid[name] });
  }
  for (const [name, text] of Object.entries(methods)) find(".method").add(new Option(text, name));
  for (const name of presets.keys()) find(".preset").add(new Option(name, name));

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
      const grows = name === "momentum" && values.growing;
      const text = (grows ? "grows: " : "") + short(Number(value.toPrecision(3))) + ({ eta: "/L", angle: "°" }[name] ?? "");
      setSlider(find(`.${name}`), toSlider(name, value), text, `${SLIDERS[name]} ${text}`);
    }
    find(".growing").checked = values.growing;
    find(".momentum").style.opacity = values.growing ? 0.4 : 1; // it follows t; who drags it takes it over
    find(".method").value = method;
    const [example] = [...presets].find(([, preset]) => Object.entries(preset).every(([name, value]) => values[name] === value)) ?? [];
    find(".preset").value = example ?? "";
    if (!example) ownValues = rest;

    const off = Object.keys(paths).filter((name) => diverges(gaps[name]));
    drawPlane(find(".plane canvas"), all, values, [start, center], off);
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
    find(".whose").textContent = name;
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
  find(".preset").addEventListener("input", ({ target }) => set(presets.get(target.value) ?? ownValues));
  return () => {
    film.stop();
    end();
  };
}

export default { render };
