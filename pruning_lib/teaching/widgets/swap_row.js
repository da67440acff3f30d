// Swap row: one row of weights and its H; what each exchange of a kept and a pruned weight is worth. Computed here.

import { rectangle, subscript, write } from "./canvas.js";
import { chart, keepFocus, list, stage } from "./charts.js";
import { follow } from "./redraw.js";
import { inverse } from "./tiny_network.js";

const BUTTONS = { swap: "swap", best: "best swap", climb: "until none pays", undo: "undo", again: "start over" };
const CONTROLS =
  list("start", "Start from") +
  list("out", "Give up q") +
  list("back", "Bring back p") +
  `<span role="group" aria-label="Swap">${Object.entries(BUTTONS).map(([name, text]) => `<button class="${name}">${text}</button>`).join(" ")}</span>`;
const PANELS = {
  row: `Click a kept weight to give up and a pruned one to bring back. <span class="key"><i class="kept"></i> kept, refitted</span>,
    <span class="key"><i class="dashed"></i> pruned, dense value</span>`,
  path: `The row's least error; <b style="color:var(--good)">dashed: the best of all masks</b>; hollow: after the exchange marked`,
};
const MARKS = { q: "accent", p: "good" };
const REACH = 1.6; // what is higher, in errors at the start, is marked at the edge

const sum = (values) => values.reduce((total, value) => total + value, 0);
const nameOf = (j) => `w${subscript(j + 1)}`;
const share = (x) => `${(100 * x).toFixed(Math.abs(x) < 0.0995 ? 1 : 0).replace("-", "−")} %`;

/** Kept M and pruned P, refitted v, the least error (SW-1), what removing and adding one changes (SW-2), and each exchange (SW-3). */
export function refit(w, H, keep) {
  const places = [...w.keys()];
  const [M, P] = [true, false].map((stays) => places.filter((j) => keep[j] === stays));
  const B = inverse(M.map((i) => M.map((j) => H[i][j])));
  const C = M.map((_, a) => P.map((p) => sum(M.map((m, b) => B[a][b] * H[m][p]))));
  const v = M.map((m, a) => w[m] + sum(P.map((p, b) => C[a][b] * w[p])));
  const S = P.map((p) => P.map((other, b) => H[p][other] - sum(M.map((m, a) => H[p][m] * C[a][b]))));
  const r = S.map((row) => sum(row.map((value, b) => value * w[P[b]])));
  const costs = v.map((value, a) => value ** 2 / B[a][a]);
  const gains = r.map((value, b) => value ** 2 / S[b][b]);
  const exchange = (a, b) => (B[a][a] * r[b] ** 2 + 2 * C[a][b] * v[a] * r[b] - S[b][b] * v[a] ** 2) / (B[a][a] * S[b][b] + C[a][b] ** 2);
  const swaps = M.map((_, a) => P.map((_, b) => exchange(a, b)));
  return { M, P, v, error: sum(P.map((p, b) => w[p] * r[b])), costs, gains, swaps };
}

/** The kept and the pruned weight whose exchange gains most; null where none pays. */
function bestSwap({ M, P, error, swaps }) {
  let [found, most] = [null, 1e-10 * error];
  swaps.forEach((row, a) => row.forEach((gain, b) => gain > most && ([found, most] = [[M[a], P[b]], gain])));
  return found;
}

export const swapped = (keep, made) => made.reduce((now, [q, p]) => now.map((stays, j) => (j === p ? true : j === q ? false : stays)), keep);

/** Swaps from a mask, each the best there is, until none pays. */
export function climb(w, H, keep) {
  const pair = bestSwap(refit(w, H, keep));
  return pair ? [pair, ...climb(w, H, swapped(keep, [pair]))] : [];
}

/** The least error of all masks that keep as many weights, and how many masks there are. */
export function bestOfAll(w, H, count) {
  const all = Array.from({ length: 2 ** w.length }, (_, bits) => w.map((_, j) => ((bits >> j) & 1) === 1));
  const errors = all.filter((keep) => sum(keep.map(Number)) === count).map((keep) => refit(w, H, keep).error);
  return { error: Math.min(...errors), tried: errors.length };
}

function drawRow(canvas, w, now, chosen) {
  const { M, P, v } = now;
  const last = w.length - 0.4;
  const top = 1.35 * Math.max(...w.map(Math.abs), ...v.map(Math.abs));
  const c = chart(canvas, 260, { x: [-0.6, last], y: [-top, top], names: w.map((_, j) => nameOf(j)), xTitle: "", yTitle: "weight" });
  for (const [letter, color] of Object.entries(MARKS)) {
    const [left, right] = [-0.5, 0.5].map((aside) => c.X(chosen[letter] + aside));
    rectangle(c.g, left, c.box.top, right - left, c.box.height, { fill: palette[color], alpha: 0.2, line: palette[color], thick: 1.5 });
    write(c, letter, (left + right) / 2, c.box.top + 11);
  }
  c.line([[-0.6, 0], [last, 0]], palette.muted, { width: 1 });
  P.forEach((p) => c.bar(p, 0.62, w[p], palette.muted, { filled: false, dash: [4, 3] }));
  M.forEach((m, a) => c.bar(m, 0.62, v[a], palette.kept));
  return (x) => Math.round(-0.6 + ((x - c.box.left) * (last + 0.6)) / c.box.width);
}

function drawPath(canvas, errors, next, best) {
  const [now, made] = [errors.at(-1), errors.length - 1];
  const last = Math.max(4, made + 1);
  const top = Math.max(1.12, ...errors, Math.min(next, REACH)) * 1.05;
  const xTicks = Array.from({ length: last + 1 }, (_, k) => [k, String(k)]);
  const c = chart(canvas, 260, { x: [-0.3, last + 0.3], y: [0, top], xTicks, xTitle: "swaps so far", yTitle: "least error, start = 1" });
  c.line([[-0.3, best], [last + 0.3, best]], palette.good, { dash: [6, 4] });
  const color = next < now ? palette.kept : palette.accent;
  c.line([[made, now], [made + 1, next]], color, { width: 1.5, dash: [3, 3] });
  const high = next > top;
  c.marker([made + 1, high ? 0.96 * top : next], color, { shape: high ? "triangle" : "circle", size: 6, filled: false });
  c.line(errors.map((error, k) => [k, error]), palette.kept, { width: 2.5 });
  errors.forEach((error, k) => c.marker([k, error], palette.kept, { size: 4 }));
}

function render({ model, el }) {
  const { weight: w, hessian: H, starts } = model.get("row");
  const { root, find, describe } = stage(el, "swap-row", CONTROLS, PANELS);
  for (const name of Object.keys(starts)) find(".start").add(new Option(name, name));
  const best = bestOfAll(w, H, sum(Object.values(starts)[0].map(Number)));
  let shown = null; // mask, state and marked weights as drawn last
  let placeAt = () => -1;

  function fill(control, places, chosen) {
    if (control.dataset.places !== String(places)) control.replaceChildren(...places.map((j) => new Option(nameOf(j), j)));
    Object.assign(control, { value: chosen }).dataset.places = String(places);
  }

  function draw({ start, swaps, out, back }) {
    const states = swaps.reduce((path, _, k) => [...path, refit(w, H, swapped(starts[start], swaps.slice(0, k + 1)))], [refit(w, H, starts[start])]);
    const [now, { error: one }] = [states.at(-1), states[0]];
    const chosen = { q: now.M.includes(out) ? out : now.M[0], p: now.P.includes(back) ? back : now.P[0] };
    const [a, b] = [now.M.indexOf(chosen.q), now.P.indexOf(chosen.p)];
    const [gain, pair] = [now.swaps[a][b] / one, bestSwap(now)];
    shown = { start, swaps, now, pair, ...chosen };
    find(".start").value = start;
    fill(find(".out"), now.M, chosen.q);
    fill(find(".back"), now.P, chosen.p);
    find(".best").disabled = find(".climb").disabled = !pair;
    find(".undo").disabled = find(".again").disabled = !swaps.length;
    keepFocus(root, find(".out"));
    placeAt = drawRow(find(".row canvas"), w, now, chosen);
    const errors = states.map(({ error }) => error / one);
    const next = errors.at(-1) - gain;
    drawPath(find(".path canvas"), errors, next, best.error / one);
    const end = now.error / best.error - 1 < 1e-9 ? "This is the best mask." : pair ? "" : "No exchange pays any more: a local optimum.";
    const asked = `${nameOf(chosen.q)} out, ${nameOf(chosen.p)} back: alone, losing ${nameOf(chosen.q)} costs ${share(now.costs[a] / one)}, adding ${nameOf(chosen.p)} gains ${share(now.gains[b] / one)}; together the error would go from ${share(errors.at(-1))} to ${share(next)}.`;
    const done = swaps.length ? ` (last ${nameOf(swaps.at(-1)[0])} for ${nameOf(swaps.at(-1)[1])})` : "";
    const there = `After ${swaps.length} swap${swaps.length === 1 ? "" : "s"}${done} the error is ${share(errors.at(-1))} of the start's; the best of all ${best.tried} masks has ${share(best.error / one)}.`;
    find("[role=status]").textContent = `${there} ${asked} ${end}`;
    describe(".row", `Kept ${now.M.map((m, k) => `${nameOf(m)} ${now.v[k].toFixed(2)}`).join(", ")}; pruned ${now.P.map(nameOf).join(", ")}. ${asked}`);
    describe(".path", `Least error after each swap, start 1: ${errors.map((error) => error.toFixed(3)).join(", ")}; after the exchange marked ${next.toFixed(3)}; best of all ${(best.error / one).toFixed(3)}`);
  }

  const { set, end } = follow(model, { start: null, swaps: null, out: Number, back: Number }, root, draw);
  const more = (pairs) => set({ swaps: [...shown.swaps, ...pairs] });
  find(".start").addEventListener("input", ({ target }) => set({ start: target.value, swaps: [] }));
  find(".swap").addEventListener("click", () => more([[shown.q, shown.p]]));
  find(".best").addEventListener("click", () => more([shown.pair]));
  find(".climb").addEventListener("click", () => more(climb(w, H, swapped(starts[shown.start], shown.swaps))));
  find(".undo").addEventListener("click", () => set({ swaps: shown.swaps.slice(0, -1) }));
  find(".again").addEventListener("click", () => set({ swaps: [] }));
  find(".row canvas").style.cursor = "pointer";
  find(".row canvas").addEventListener("click", ({ offsetX }) => {
    const place = placeAt(offsetX);
    if (place >= 0 && place < w.length) set({ [shown.now.M.includes(place) ? "out" : "back"]: place });
  });
  return end;
}

export default { render };
