// Pareto front: recorded points over a cost, the front, and the best within a limit. Everything is here already.

import { compact, drawMark, number, pageOf, percent, rectangle, sheet, stroke, write } from "./canvas.js";
import { chart, list, setSlider, slider, stage } from "./charts.js";
import { mayMatch, paired, spreadOf } from "./evidence.js";
import { follow } from "./redraw.js";

const CONTROLS = list("cost", "Cost") + slider("limit", "Limit") + slider("point", "Point");
const PANELS = {
  plane: `<span class="key">● zeros anywhere</span>, <span class="key">■ units removed</span>, <span class="key">✚ n of m kept</span>; <span class="key"><i class="line"></i> front</span>, gray: dominated, <span class="key"><i class="hollow"></i> best left of the limit</span>, <span class="key"><i class="dashed"></i> dense</span>`,
  gaps: "",
};
const SHAPES = { unstructured: "circle", structured: "square", "semi-structured": "plus" };
const LINE = 21;

/** Cost of a point in % of the dense network's; null where it was not measured. */
export function costOf({ batches }, point, cost) {
  if (cost === "weights") return 100 * (1 - point.sparsity);
  const less = cost.startsWith("seconds") ? point.latency[batches.indexOf(Number(cost.slice(8)))] : point[cost];
  return less == null ? null : 100 / less;
}

/** All points, by rising cost, with what is drawn of each; those without that cost at the end. */
export function pointsOf(evidence, cost) {
  const points = evidence.methods.flatMap((method) =>
    method.points.map((point) => ({ ...point, method, cost: costOf(evidence, point, cost), accuracy: point.retrained[0] })),
  );
  return points.sort((a, b) => (a.cost ?? Infinity) - (b.cost ?? Infinity) || b.accuracy - a.accuracy);
}

const dominates = (q, p) => q.cost <= p.cost && q.accuracy >= p.accuracy && (q.cost < p.cost || q.accuracy > p.accuracy);

/** The points that no other dominates (CMP-6). */
export const front = (points) => points.filter((p) => !points.some((q) => dominates(q, p)));

/** The most accurate of the points within the limit, and of each other method its own, with its difference to it. */
export function within(points, limit, student) {
  const better = (best, point) => (best && best.accuracy >= point.accuracy ? best : point);
  const cheap = points.filter((point) => point.cost !== null && point.cost <= limit + 1e-9);
  const best = cheap.reduce(better, null);
  const others = [...new Set(cheap.map((point) => point.method))]
    .filter((method) => method !== best.method)
    .map((method) => cheap.filter((point) => point.method === method).reduce(better, null))
    .map((point) => ({ point, difference: paired(point.seeds.retrained, best.seeds.retrained, student) }))
    .sort((a, b) => b.point.accuracy - a.point.accuracy);
  return { best, others };
}

const signed = (x) => `${x < 0 ? "−" : "+"}${Math.abs(x).toFixed(2)}`;
const interval = (d) => (d ? `${signed(d.mean)} [${signed(d.low)}, ${signed(d.high)}]` : "too few seeds in common");

const overlap = (a, b) => a.left < b.right + 3 && b.left < a.right + 3 && a.top < b.bottom && b.top < a.bottom;
const around = (x, y, half) => ({ left: x - half, right: x + half, top: y - 6, bottom: y + 6 });

const brief = (name) => name.replace(/ at (?=[\d.]+ %$)/, " ");

/** Writes a point's name near it: within the axes, over none of the `texts` and, where there is room, over no other point. Gives where it stands. */
function writeName(c, points, texts, { x, y, name }) {
  const text = brief(name);
  const wide = c.g.measureText(text).width;
  const { left, top, width, height } = c.box;
  const beside = [[x - 12 - wide, y - 11], [x + 12, y + 11], [x - 12 - wide, y], [x + 12, y], [x + 14, y - 20], [x - 14 - wide, y - 26]];
  const low = Math.max(left + 4, Math.min(left + width - wide - 4, x - wide / 2));
  for (let far = 28; far < height; far += 8) for (const l of [x + 14, low, x - 14 - wide]) beside.push([l, y - far], [l, y + far]);
  const places = beside
    .map(([l, m]) => ({ l, m, ...around(l + wide / 2, m, wide / 2) }))
    .filter((one) => one.left > left + 2 && one.right < left + width - 2 && one.m > top + 9 && one.m < top + height - 9)
    .filter((one) => !texts.some((other) => overlap(one, other)));
  const place = places.find((one) => !points.some((point) => overlap(one, around(point.x, point.y, 4)))) ?? places[0];
  if (!place) return []; // it is in the text above
  if (Math.abs(place.m - y) > 36) stroke(c.g, [[Math.max(place.left, Math.min(place.right, x)), place.m], [x, y]], c.ink, { width: 1, alpha: 0.6 });
  rectangle(c.g, place.l - 1, place.m - 7, wide + 2, 14, { fill: pageOf(c.g.canvas), alpha: 0.85 });
  write(c, text, place.l, place.m, { align: "left" });
  return [place];
}

/** Points over cost; the vertical axis goes by the logarithm of the error. Gives where each point stands. */
function drawPlane(canvas, points, nondominated, best, shown, evidence, { limit, title }) {
  const Z = (accuracy) => -Math.log10(Math.max(0.01, 100 - accuracy));
  const most = Math.max(evidence.dense[0], ...points.map((point) => point.accuracy));
  const floor = Math.max(1, 100 - 5 * (100 - evidence.dense[0]));
  const range = [Z(floor), Z(most) + 0.15 * (Z(most) - Z(floor))];
  const ends = [0.75 * Math.min(limit, ...points.map((point) => point.cost)), Math.max(125, 1.1 * Math.max(...points.map((point) => point.cost)))].map(Math.log10);
  const among = (values, of, [low, high]) => values.map((value) => [of(value), compact(value)]).filter(([at]) => at >= low && at <= high);
  const xTicks = among([0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100], Math.log10, ends);
  const yTicks = among([99.9, 99.5, 99, 98, 97, 96, 95, 94, 92, 90, 85, 80, 70, 60, 50, 25], Z, range);
  const c = chart(canvas, 380, { x: ends, y: range, xTicks, yTicks, xTitle: title, yTitle: "test accuracy, % (by log of the error)" });
  const at = (point) => [Math.log10(point.cost), Z(Math.max(floor, point.accuracy))];
  const right = c.X(Math.log10(limit));
  c.inside(() => rectangle(c.g, right, c.box.top, c.box.left + c.box.width - right, c.box.height, { fill: palette.muted, alpha: 0.14 }));
  c.line([[Math.log10(limit), range[0]], [Math.log10(limit), range[1]]], c.ink, { width: 1 });
  c.line(ends.map((end) => [end, Z(evidence.dense[0])]), palette.muted, { width: 1, dash: [6, 4] });
  const steps = nondominated.flatMap((point, k) => (k ? [[at(point)[0], at(nondominated[k - 1])[1]], at(point)] : [at(point)]));
  c.line(steps.concat(steps.length ? [[ends[1], steps.at(-1)[1]]] : []), palette.kept, { width: 1.5 });
  for (const point of [...points].reverse()) {
    const low = point.accuracy < floor; // below the axis: a triangle on its tip at the edge
    const first = nondominated.includes(point);
    c.marker(at(point), first ? palette.kept : palette.muted, { shape: low ? "down" : SHAPES[point.method.structure], size: first ? 4.5 : 3, alpha: first ? 1 : 0.5, filled: first });
  }
  if (best) c.marker(at(best), palette.accent, { size: 9, filled: false });
  if (shown) c.marker(at(shown), c.ink, { shape: "square", size: 9, filled: false });
  const places = points.map((point) => ({ name: point.name, x: c.X(at(point)[0]), y: c.Y(at(point)[1]) }));
  const numbers = [];
  nondominated.forEach((point, k) => {
    const { x, y } = places[points.indexOf(point)];
    const half = c.g.measureText(String(k + 1)).width / 2;
    const sides = [-11, 11].map((aside) => around(x + aside, y - 11, half)); // above the front there is no point
    const place = sides.find((one) => one.left > c.box.left + 2 && (one.right < right - 2 || one.left > right + 2)) ?? sides[0];
    if (point.accuracy < floor || numbers.some((one) => overlap(one, place))) return;
    write(c, String(k + 1), (place.left + place.right) / 2, y - 11);
    numbers.push(place);
  });
  for (const point of new Set([best, shown].filter(Boolean))) numbers.push(...writeName(c, places, numbers, places[points.indexOf(point)]));
  return places;
}

/** Each method's difference to the best, with its interval; blue where it may be as good. */
function drawGaps(canvas, { best, others }) {
  const c = sheet(canvas, 30 + LINE * Math.max(1, others.length));
  const { g } = c;
  if (!best) return;
  const room = Math.max(40, ...others.map(({ point }) => g.measureText(brief(point.name)).width)) + 10;
  const known = others.map(({ difference }) => difference).filter(Boolean);
  const [low, high] = [Math.max(-4, Math.floor(Math.min(-1, ...known.map((d) => d.low)))), Math.min(4, Math.ceil(Math.max(0.5, ...known.map((d) => d.high))))];
  const X = (value) => room + ((c.width - room - 4) * (Math.min(high, Math.max(low, value)) - low)) / (high - low);
  const bottom = 6 + LINE * Math.max(1, others.length);
  stroke(g, [[X(0), 2], [X(0), bottom]], palette.accent, { width: 1 });
  stroke(g, [[room, bottom], [c.width - 4, bottom]], palette.muted, { width: 1 });
  write(c, `−${-low}`, room, bottom + 13, { align: "left" });
  write(c, `+${high}`, c.width - 4, bottom + 13, { align: "right" });
  if (X(0) - room > 30 && c.width - X(0) > 40) write(c, "0", X(0), bottom + 13);
  others.forEach(({ point, difference }, row) => {
    const y = 6 + LINE * (row + 0.5);
    const color = mayMatch(difference) ? palette.kept : palette.muted;
    write(c, brief(point.name), 0, y, { align: "left" });
    if (!difference) return;
    stroke(g, [[X(difference.low), y], [X(difference.high), y]], color);
    for (const [end, beyond, turn] of [[low, difference.low < low, 5], [high, difference.high > high, -5]])
      if (beyond) stroke(g, [[X(end) + turn, y - 4], [X(end), y], [X(end) + turn, y + 4]], color);
    if (difference.mean < low) return;
    drawMark(g, X(difference.mean), y, color, { size: 3 });
  });
}

function render({ model, el }) {
  const [records, costs, limits] = ["records", "costs", "limits"].map((name) => model.get(name));
  const many = Object.keys(records).length > 1;
  const { root, find, describe } = stage(el, "pareto-front", (many ? list("record", "Network and data") : "") + CONTROLS, PANELS);
  find(".panels").insertAdjacentHTML("beforebegin", `<p class="pointed"></p>`);
  root.insertAdjacentHTML("beforeend", `<p class="missing"></p>`);
  for (const name of many ? Object.keys(records) : []) find(".record").add(new Option(name, name));
  for (const [key, text] of Object.entries(costs)) find(".cost").add(new Option(text, key));
  find(".limit").max = limits.length - 1;
  let places = []; // of the points in the picture
  let names = []; // of the points under the slider, the first for the best

  /** Only what changes is laid out anew. */
  const say = (selector, text) => find(selector).textContent === text || (find(selector).textContent = text);

  /** What a share of the dense network's cost is in its unit. */
  function absolute({ unpruned, batches }, cost, share) {
    if (cost === "weights") return "";
    if (!cost.startsWith("seconds")) return ` (that is ${number(Math.round((share * unpruned[cost]) / 100))})`;
    const whole = unpruned.seconds[batches.indexOf(Number(cost.slice(8)))];
    return whole ? ` (that is ${compact(10 * share * whole)} ms)` : "";
  }

  function draw({ record, cost, limit: asked, point }) {
    const evidence = records[record];
    const all = pointsOf(evidence, cost);
    const points = all.filter((one) => one.cost !== null);
    const least = Math.max(0, limits.findIndex((one) => points[0]?.cost <= one + 1e-9)); // below it there is no point
    const limit = Math.max(asked, limits[least]);
    find(".limit").min = least;
    const nondominated = front(points);
    const found = within(points, limit, evidence.student);
    const { best, others } = found;
    const shown = points.find((one) => one.name === point);
    names = ["", ...points.map((one) => one.name)];
    if (many) find(".record").value = record;
    find(".cost").value = cost;
    setSlider(find(".limit"), limits.indexOf(limit), `${limit} %`, `at most ${limit} % of the dense network's ${costs[cost]}`);
    find(".point").max = names.length - 1;
    setSlider(find(".point"), Math.max(0, names.indexOf(point)), shown ? `${names.indexOf(point)} of ${points.length}` : "the best", shown?.name ?? "the best");

    const bound = `At most ${limit} % of the dense network's ${costs[cost]}${absolute(evidence, cost, limit)}`;
    const open = others.filter(({ difference }) => mayMatch(difference)).map((one) => one.point.name);
    const some = open.length > 5 ? `${open.slice(0, 4).join(", ")} and ${open.length - 4} more` : open.join(", ");
    const raised = limit > asked ? `No point is within ${asked} %, so the limit is ${limit} %. ` : "";
    say("p", raised + (best
      ? `${bound}: the most accurate is ${best.name}, ${spreadOf(best.retrained)} (dense ${evidence.dense[0].toFixed(2)} %). ${some ? `Not told apart from it: ${some}` : others.length ? "All other methods are told apart from it" : "No other method is that cheap"}.`
      : `${bound}: nothing that was measured is that cheap.`));
    say(".pointed", describePoint(shown ?? best, nondominated, evidence));
    const without = all.slice(points.length).map((one) => one.name);
    say(".missing", `On the front: ${nondominated.map((one, k) => `(${k + 1}) ${one.name}`).join(", ") || "nothing"}. ${without.length ? `Not measured, so not drawn: ${without.join(", ")}. ` : ""}Triangles at the lower edge are less accurate than the axis shows. Intervals: 95 % confidence, paired by seed. ${evidence.about}.`);

    places = drawPlane(find(".plane canvas"), points, nondominated, best, shown, evidence, { limit, title: [" (logarithmic)", " (log)", ""].map((scale) => `${costs[cost]}, % of dense${scale}`) });
    say(".gaps figcaption", best ? `Each method's best within the limit: points of accuracy against ${brief(best.name)}; blue: the confidence interval reaches 0, not told apart` : "");
    drawGaps(find(".gaps canvas"), found);
    describe(".plane", `Accuracy over ${costs[cost]}; on the front: ${nondominated.map((one) => `${one.name} ${one.accuracy} %`).join(", ") || "nothing"}`);
    describe(".gaps", best ? `Differences to ${best.name}: ${others.map((one) => `${one.point.name} ${interval(one.difference)}`).join("; ") || "none"}` : "Nothing to compare");
  }

  function describePoint(one, nondominated, evidence) {
    if (!one) return "";
    const by = nondominated.findLast((other) => dominates(other, one));
    const each = Object.entries(costs).map(([key, name]) => [costOf(evidence, one, key), name]).filter(([share]) => share !== null);
    return `${one.name}: ${one.accuracy.toFixed(2)} %; of dense ${each.map(([share, name]) => `${percent(share / 100)} of the ${name}`).join(", ")}. ${by ? `Dominated by ${by.name}.` : "Nothing dominates it."}`;
  }

  const traits = { record: many ? String : null, cost: String, limit: (at) => limits[at], point: (at) => names[at] };
  const { set, end } = follow(model, traits, root, draw);
  const canvas = find(".plane canvas");
  const pointAt = ({ offsetX, offsetY }) => {
    const far = ({ x, y }) => Math.hypot(x - offsetX, y - offsetY);
    const nearest = places.reduce((best, one) => (best && far(best) <= far(one) ? best : one), null);
    if (nearest && far(nearest) < 14 && nearest.name !== model.get("point")) set({ point: nearest.name });
  };
  for (const touch of ["pointermove", "click"]) canvas.addEventListener(touch, pointAt);
  return end;
}

export default { render };
