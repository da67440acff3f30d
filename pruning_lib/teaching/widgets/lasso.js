// A lasso of two variables and what walks down it, with the arithmetic of pruning_lib.during_training.proximal.

const inner = (u, v) => u[0] * v[0] + u[1] * v[1];
const sign = (s) => (s > 0) - (s < 0);
const soft = (z, alpha) => z - Math.max(-alpha, Math.min(alpha, z));

/**
 * F(x) = ½(x − c)ᵀH(x − c) + γ‖x‖₁. H has the curvature 1 along a direction that is turned from the first axis by
 * `angle` degrees, and 1/condition across it, so that L = 1.
 */
export function lasso({ condition, angle, gamma, center }) {
  const turn = (angle * Math.PI) / 180;
  const vectors = [[Math.cos(turn), Math.sin(turn)], [-Math.sin(turn), Math.cos(turn)]];
  const curvatures = [1, 1 / condition];
  const H = [0, 1].map((i) => [0, 1].map((j) => curvatures[0] * vectors[0][i] * vectors[0][j] + curvatures[1] * vectors[1][i] * vectors[1][j]));
  const gradient = (x) => H.map((row) => inner(row, [x[0] - center[0], x[1] - center[1]]));
  const smooth = (x) => 0.5 * inner(gradient(x), [x[0] - center[0], x[1] - center[1]]);
  const value = (x) => smooth(x) + gamma * (Math.abs(x[0]) + Math.abs(x[1]));
  const optimum = lowest(H, center, gamma, value);
  return { H, center, gamma, vectors, curvatures, gradient, smooth, value, optimum, minimum: value(optimum) };
}

/** For given signs s the optimality condition Hx = Hc − γs is linear: try all nine, keep the best. */
function lowest(H, center, gamma, value) {
  const target = H.map((row) => inner(row, center));
  const determinant = H[0][0] * H[1][1] - H[0][1] * H[1][0];
  let best = [0, 0];
  for (const s of [-1, 0, 1])
    for (const r of [-1, 0, 1]) {
      const [a, b] = [target[0] - gamma * s, target[1] - gamma * r];
      const both = [(H[1][1] * a - H[0][1] * b) / determinant, (H[0][0] * b - H[1][0] * a) / determinant];
      const x = s && r ? both : [s ? a / H[0][0] : 0, r ? b / H[1][1] : 0];
      if (value(x) < value(best)) best = x;
    }
  return best;
}

/** The momentum of iteration t in SSS-5: 0, 0, 1/4, 2/5, 1/2, … */
export const growing = (t) => Math.max(t - 2, 0) / (t + 1);

/** Up to this step, in units of 1/L, the error along v₁ of a quadratic with momentum μ does not grow: 2 for μ = 0, 4/3 for μ → 1. */
export const largestStep = (mu) => (2 + 2 * mu) / (1 + 2 * mu);

/**
 * The states 0, …, steps of a method: "apg" (SSS-5) with a momentum given for each t, "ista", or "subgradient", which has
 * no prox and steps along −∇f − γ sign(x).
 */
export function walk({ gradient, gamma, value }, method, { start, eta, momentum, steps }) {
  const states = [{ point: start, lookAhead: start, z: start, momentum: 0, objective: value(start) }];
  let [point, previous] = [start, start];
  for (let t = 1; t <= steps; t++) {
    const mu = method === "apg" ? momentum(t) : 0;
    const d = point.map((x, i) => x + mu * (x - previous[i]));
    const slope = gradient(d);
    const z = d.map((x, i) => x - eta * slope[i]);
    previous = point;
    point = z.map((x, i) => (method === "subgradient" ? x - eta * gamma * sign(d[i]) : soft(x, eta * gamma)));
    states.push({ point, lookAhead: d, z, momentum: mu, objective: value(point) });
  }
  return states;
}

/**
 * What a step from d minimizes in place of F: f(d) + ∇f(d)ᵀ(x − d) + ‖x − d‖²/(2η) + γ‖x‖₁. It is nowhere below F if
 * η ≤ 1/L. Without a prox γ‖x‖₁ is replaced by its slope at d, and the kink is lost.
 */
export function majorizer({ gradient, smooth, gamma }, d, eta, prox = true) {
  const [slope, here] = [gradient(d), smooth(d)];
  const penalty = prox ? (x) => Math.abs(x) : (x, i) => Math.abs(d[i]) + sign(d[i]) * (x - d[i]);
  return (x) => {
    const away = x.map((value, i) => value - d[i]);
    return here + inner(slope, away) + inner(away, away) / (2 * eta) + gamma * (penalty(x[0], 0) + penalty(x[1], 1));
  };
}

/** Size of the error x − x* along each eigenvector of H. */
export const errors = ({ optimum, vectors }, x) => vectors.map((v) => Math.abs(inner(v, [x[0] - optimum[0], x[1] - optimum[1]])));

/** A closed line of points with F = level, which must be above the minimum: on every ray from there F rises. */
export function contour({ optimum, vectors, curvatures, value }, level, rays = 90) {
  return Array.from({ length: rays + 1 }, (_, k) => {
    const turn = (2 * Math.PI * k) / rays;
    const [along, across] = [Math.cos(turn) / Math.sqrt(curvatures[0]), Math.sin(turn) / Math.sqrt(curvatures[1])];
    const ray = [0, 1].map((i) => along * vectors[0][i] + across * vectors[1][i]);
    const at = (r) => [optimum[0] + r * ray[0], optimum[1] + r * ray[1]];
    let [low, high] = [0, 1];
    while (value(at(high)) < level) high *= 2;
    for (let halving = 0; halving < 24; halving++) {
      const middle = (low + high) / 2;
      if (value(at(middle)) < level) low = middle;
      else high = middle;
    }
    return at(high);
  });
}
