// APG stepper: all states come ready from Python, this draws them, so that it also works without a kernel.

import { rectangle, write } from "./canvas.js";
import { chart, list, short, slider, stage } from "./charts.js";
import { follow } from "./redraw.js";
import { STEP_BUTTONS, stepper } from "./stepper.js";

const CONTROLS =
  list("method", "Details of", '<option value="apg">APG</option><option value="ista">ISTA</option>') + STEP_BUTTONS + slider("t", "t");
const PANELS = {
  "plane tall": `<i class="first"></i> APG, <i class="second"></i> ISTA, <i class="hollow"></i> parts of this step,
    <i class="target"></i> minimum, <i class="band"></i> |z| ≤ ηγ: set to zero`,
  threshold: "Soft threshold: ● coordinate 1, ■ coordinate 2",
  gaps: `<i class="first"></i> APG, <i class="second"></i> ISTA`,
};

const STYLES = {
  apg: { color: "kept", shape: "circle", dash: [] },
  ista: { color: "updated", shape: "square", dash: [6, 4] }, // drawn last and dashed: both are seen where they coincide
};
const pair = ([one, two]) => `(${short(one)}, ${short(two)})`;

const BAND = { fill: palette.muted, alpha: 0.22 };
const band = ({ g, X, box }, a) => rectangle(g, X(-a), box.top, X(a) - X(-a), box.height, BAND);

function drawPlane(canvas, problem, paths, t, method) {
  const height = Math.max(300, Math.min(440, 0.85 * canvas.parentElement.clientWidth));
  const c = chart(canvas, height, { x: problem.x, y: problem.y, xTitle: "λ₁", yTitle: "λ₂" });
  const { X, Y } = c;
  c.inside(() => {
    band(c, problem.threshold);
    rectangle(c.g, c.box.left, Y(problem.threshold), c.box.width, Y(-problem.threshold) - Y(problem.threshold), BAND);
  });
  for (const contour of problem.contours) c.line(contour, palette.muted, { width: 1, alpha: 0.8 });
  for (const name of ["apg", "ista"]) {
    const { color, shape, dash } = STYLES[name];
    const points = paths[name].slice(0, t + 1).map(({ point }) => point);
    c.line(points, palette[color], { dash });
    points.forEach((point) => c.marker(point, palette[color], { shape, size: 3 }));
  }
  c.marker(problem.optimum, palette.good, { shape: "diamond", size: 7, filled: false });
  if (!t) return;
  const state = paths[method][t];
  const parts = [paths[method][t - 1].point, state.look_ahead, state.z, state.point];
  c.line(parts, palette.accent, { width: 1.5 });
  [["d", -14, 11], ["z", 9, -10], ["λ", 9, 12]].forEach(([name, right, down], k) => {
    const part = parts[k + 1];
    c.marker(part, palette.accent, { filled: false, size: 5 });
    write(c, name, X(part[0]) + right, Y(part[1]) + down, { align: "left" });
  });
}

function drawThreshold(canvas, problem, state) {
  const limit = 1.15 * Math.max(...[...problem.x, ...problem.y].map(Math.abs));
  const a = problem.threshold;
  const c = chart(canvas, 200, { x: [-limit, limit], y: [-limit, limit], xTitle: "z", yTitle: "S(z)" });
  c.inside(() => band(c, a));
  c.line([[-limit, -limit], [limit, limit]], palette.muted, { width: 1, dash: [2, 3] });
  c.line([[-limit, a - limit], [-a, 0], [a, 0], [limit, limit - a]], palette.kept);
  ["circle", "square"].forEach((shape, k) => c.marker([state.z[k], state.point[k]], palette.accent, { shape, size: 5 }));
}

function drawGaps(canvas, paths, t) {
  const floor = 1e-16; // an exact hit has no logarithm
  const all = Object.values(paths).flatMap((path) => path.map(({ gap }) => Math.max(gap, floor)));
  const y = [10 ** Math.floor(Math.log10(Math.min(...all))), 10 ** Math.ceil(Math.log10(Math.max(...all)))];
  const c = chart(canvas, 200, { x: [0, paths.apg.length - 1], y, log: true, xTitle: "iteration t", yTitle: "F(λ) − minimum" });
  for (const name of ["apg", "ista"]) {
    const { color, shape, dash } = STYLES[name];
    const points = paths[name].slice(0, t + 1).map(({ gap }, k) => [k, Math.max(gap, floor)]);
    c.line(points, palette[color], { dash });
    c.marker(points[t], palette[color], { shape });
  }
}

function render({ model, el }) {
  const [problem, paths] = ["problem", "paths"].map((name) => model.get(name));
  const { root, find, describe } = stage(el, "apg-stepper", CONTROLS, PANELS);
  const last = paths.apg.length - 1;

  function draw({ t, method }) {
    const state = paths[method][t];
    steps.show();
    find(".method").value = method;
    const gaps = `F − minimum: APG ${short(paths.apg[t].gap)}, ISTA ${short(paths.ista[t].gap)}.`;
    find("p").textContent = t
      ? `${method.toUpperCase()}, t = ${t}: momentum ${short(state.momentum)}, look-ahead d = ${pair(state.look_ahead)}, ` +
        `after the gradient z = ${pair(state.z)}, after the threshold λ = ${pair(state.point)}. ${gaps}`
      : `The start: λ = ${pair(state.point)}. ${gaps} Step with the buttons or the arrow keys.`;
    drawPlane(find(".plane canvas"), problem, paths, t, method);
    drawThreshold(find(".threshold canvas"), problem, state);
    drawGaps(find(".gaps canvas"), paths, t);
    describe(".plane", `Contours of F with both paths after ${t} iterations; APG at ${pair(paths.apg[t].point)}, ISTA at ${pair(paths.ista[t].point)}, minimum at ${pair(problem.optimum)}`);
    describe(".threshold", `Soft threshold at ${short(problem.threshold)} takes z = ${pair(state.z)} to ${pair(state.point)}`);
    describe(".gaps", `Distance from the minimum over the iterations. ${gaps}`);
  }

  const { set, end } = follow(model, { t: null, method: String }, root, draw);
  const steps = stepper(root, find(".t"), { at: () => model.get("t"), last: () => last, go: (t) => set({ t }), word: "iteration", pause: 500 });
  return () => {
    steps.stop();
    end();
  };
}

export default { render };
