// The panels of the lasso explorer: the plane with its paths, a step's parabola, the threshold, lines over time.

import { pageOf, rectangle, stroke, write } from "./canvas.js";
import { chart } from "./charts.js";
import { contour, majorizer } from "./lasso.js";

export const STYLES = {
  subgradient: { color: "violet", shape: "triangle", dash: [2, 3], name: "Subgradient" },
  apg: { color: "kept", shape: "circle", dash: [], name: "APG" },
  ista: { color: "updated", shape: "square", dash: [6, 4], name: "ISTA" }, // drawn last and dashed: both are seen where they coincide
};
const GAPS = [1e-10, 1e2]; // beyond, a path is off the picture
const FAR = 3; // of a path that diverges, so much on either side of zero is in the plane

const inGaps = (value) => Math.max(value, GAPS[0]);
const BAND = { fill: palette.muted, alpha: 0.22 };
const band = ({ g, X, box }, a) => rectangle(g, X(-a), box.top, X(a) - X(-a), box.height, BAND);

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

/** The plane around `points`, and around what is near of the paths named in `off`: these diverge. */
export function drawPlane(canvas, { problem, paths }, { t, method, eta }, points, off) {
  const height = Math.max(320, Math.min(500, 0.95 * canvas.parentElement.clientWidth));
  const near = off.flatMap((name) => paths[name].map(({ point }) => point.map((at) => Math.max(-FAR, Math.min(FAR, at)))));
  const [x, y] = windowOf(canvas, height, [...points, ...near]);
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
    rectangle(c.g, box.left + box.width - wide - 4, box.top + 4, wide, 20, { fill: pageOf(canvas), alpha: 0.9 });
    write(c, text, box.left + box.width - 10, box.top + 14, { align: "right" });
  }
  c.marker(problem.optimum, palette.good, { shape: "diamond", size: 7, filled: false });
  if (!t) return;
  const { lookAhead, z, point } = paths[method][t];
  c.line([paths[method][t - 1].point, lookAhead, z, point], palette.accent, { width: 1.5 });
  c.inside(() =>
    [[method === "apg" ? "d" : "", lookAhead, -14, 11], ["z", z, 9, -10], ["λ", point, 9, 12]].forEach(([name, part, right, down]) => {
      c.marker(part, palette.accent, { filled: false, size: 5 });
      if (part.every((at, i) => at >= [x, y][i][0] && at <= [x, y][i][1])) write(c, name, X(part[0]) + right, Y(part[1]) + down, { align: "left" });
    }),
  );
}

/** F and the parabola along the line of a step, with what was promised and what came; gives both. */
export function drawParabola(canvas, { problem, paths }, { t, method, eta }) {
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
  c.line(own, c.ink);
  c.line(bound, palette.accent, { dash: [6, 4] });
  c.line([[far, promised], [far, came]], c.ink, { width: 1.5 });
  c.inside(() => {
    c.marker([0, problem.value(d)], c.ink, { size: 3.5 });
    c.marker([far, came], c.ink, { size: 4.5 });
    c.marker([far, promised], palette.accent, { filled: false, size: 5.5 });
  });
  return { promised, came };
}

export function drawThreshold(canvas, { problem, paths }, { t, method, eta }, points) {
  const { z, point } = paths[method][t];
  const limit = 1.3 * Math.max(...points.flat().map(Math.abs), 0.5);
  const a = eta * problem.gamma;
  const c = chart(canvas, 200, { x: [-limit, limit], y: [-limit, limit], xTitle: "z", yTitle: "S(z)" });
  c.inside(() => band(c, a));
  c.line([[-limit, -limit], [limit, limit]], palette.muted, { width: 1, dash: [2, 3] });
  c.line([[-limit, a - limit], [-a, 0], [a, 0], [limit, limit - a]], c.ink);
  c.inside(() => ["circle", "square"].forEach((shape, k) => c.marker([z[k], point[k]], palette.accent, { shape, size: 5 })));
}

/** Lines over t on a logarithmic axis, each up to the iteration shown, faint beyond. */
export function drawOverTime(canvas, lines, t, yTitle) {
  const steps = lines[0].values.length - 1;
  const c = chart(canvas, 220, { x: [0, steps], y: GAPS, log: true, xTitle: "iteration t", yTitle });
  for (const { values, color, dash, mark } of lines) {
    const points = values.map((value, k) => [k, inGaps(value)]);
    c.line(points, palette[color], { dash, width: 1, alpha: 0.45 });
    c.line(points.slice(0, t + 1), palette[color], { dash });
    if (mark) c.inside(() => c.marker(points[t], palette[color], mark));
  }
}
