// Prune by hand: delete connections of a small network, by clicking or by a method's choice; all of OBS runs here.

import { drawMark, percent, stroke, write } from "./canvas.js";
import { chart, keepFocus, list, short, stage } from "./charts.js";
import { drawNodes, watchLines, weightNames } from "./network_drawing.js";
import { follow } from "./redraw.js";
import { choices, hessian, inverse, jacobian, judge, move } from "./tiny_network.js";

const METHODS = ["magnitude", "OBD", "OBS"];
const LOOKS = {
  magnitude: { color: "updated", shape: "square", at: 0.36 },
  OBD: { color: "accent", shape: "triangle", at: 0.43 },
  OBS: { color: "kept", shape: "circle", at: 0.5 },
};
const BUTTONS = { one: "delete it", five: "delete five", paper: "to the paper's size", undo: "undo", start: "start over" };
const CONTROLS =
  list("problem", "Problem") +
  list("others", "The others", '<option value="follow">follow (OBS-5)</option><option value="stay">stay</option>') +
  list("choice", "Next to go") +
  `<span role="group" aria-label="Delete">${Object.entries(BUTTONS).map(([name, text]) => `<button class="${name}">${text}</button>`).join(" ")}</span>`;
const PANELS = {
  "network tall": `Click a connection to delete it; gray: marked. Thickness: |w|, dashed: negative;
    <b style="color:var(--updated)">□</b> magnitude, <b style="color:var(--accent)">△</b> OBD, <b style="color:var(--kept)">●</b> OBS would delete this<span class="follows">;
    <b style="color:var(--violet)">violet</b>: how the others follow</span>`,
  accuracy: `Test accuracy: <b>you</b>, <i class="target"></i> the OBS paper; recorded means of <b style="color:var(--kept)">OBS</b>, <b style="color:var(--accent)">OBD</b>,
    <b style="color:var(--updated)">magnitude</b>; band: range for the choice shown; dashed: <span class="other"></span>`,
  loss: "Loss E and test accuracy after the next deletion; dashed: E now",
};

/** A function (problem, others, deleted) -> the state after each deletion, with all weights first; what was computed is remembered. */
export function player({ problems, cases, names }) {
  const remembered = new Map();

  function state(problem, w, alive) {
    const { alpha, train, targets, test_targets } = problem;
    const net = { inputs: names.length, hidden: problem.hidden };
    const seen = train.map((place) => cases[place]);
    const H = hessian(jacobian(net, w, seen, alive), alpha);
    const H_inv = inverse(H);
    const local = alive.map((index) => w[index]);
    const chosen = choices(local, H, H_inv);
    const { error, right } = judge(net, w, seen, targets);
    const test = judge(net, w, cases, test_targets).right;
    const shares = { train: right / train.length, test: test / cases.length };
    return { net, w, alive, seen, local, H_inv, chosen, error, ...shares, outcomes: new Map() };
  }
  /** The weights after the deletion of the weight at the place `index` of all. */
  function without({ w, alive, local, H_inv }, index, others) {
    const delta = move(local, H_inv, alive.indexOf(index), others === "follow");
    const next = w.slice();
    alive.forEach((place, a) => (next[place] = place === index ? 0 : w[place] + delta[a]));
    return { next, delta };
  }
  /** Loss and test accuracy if the weight at `index` went now. */
  function outcome(now, problem, index, others) {
    const key = `${others} ${index}`;
    if (!now.outcomes.has(key)) {
      const { next } = without(now, index, others);
      const { error } = judge(now.net, next, now.seen, problem.targets);
      now.outcomes.set(key, { error, test: judge(now.net, next, cases, problem.test_targets).right / cases.length });
    }
    return now.outcomes.get(key);
  }
  function path(name, others, deleted) {
    const problem = problems[name];
    const all = problem.weights.map((_, index) => index);
    const once = (key, make) => remembered.get(key) ?? remembered.set(key, make()).get(key);
    const states = [once(name, () => state(problem, problem.weights, all))];
    deleted.forEach((index, k) =>
      states.push(
        once(`${name} ${others} ${deleted.slice(0, k + 1)}`, () => {
          const { next } = without(states[k], index, others);
          return state(problem, next, states[k].alive.filter((place) => place !== index));
        }),
      ),
    );
    return states;
  }
  /** `deleted`, and up to `count` more as `method` chooses; one weight stays. */
  function further(name, others, deleted, method, count) {
    const more = [...deleted];
    for (let k = 0; k < count; k++) {
      const now = path(name, others, more).at(-1);
      if (now.alive.length < 2) break;
      more.push(now.alive[now.chosen[method].q]);
    }
    return more;
  }
  return { path, further, without, outcome };
}

/** The method whose choice is shown: OBS where a connection is. */
const chooser = ({ choice }) => (METHODS.includes(choice) ? choice : "OBS");

function render({ model, el }) {
  const [problems, cases, names] = ["problems", "cases", "names"].map((name) => model.get(name));
  const play = player({ problems, cases, names });
  const { root, find, describe } = stage(el, "prune-by-hand", CONTROLS, PANELS);
  for (const name of Object.keys(problems)) find(".problem").add(new Option(name, name));
  let lines = [];
  let shown = null; // values, state and names as drawn last
  let pointed = null; // the connection under the pointer

  /** The place of what goes next: what is pointed at, the connection chosen, or the method's choice. */
  function next({ choice }, now, all) {
    if (pointed !== null && now.alive.includes(pointed)) return pointed;
    const own = all.indexOf(choice);
    return now.alive.includes(own) ? own : now.alive[now.chosen[chooser({ choice })].q];
  }

  function drawNetwork(values, problem, now, target) {
    const paper = drawNodes(find(".network canvas"), names, problem.hidden);
    ({ lines } = paper);
    const { g } = paper;
    const largest = Math.max(...problem.weights.map(Math.abs));
    const thick = (value) => Math.min(9, 0.6 + (6 * Math.abs(value)) / largest);
    const { delta } = play.without(now, target, values.others);
    lines.forEach((line, index) => {
      const a = now.alive.indexOf(index);
      if (a < 0) return stroke(g, line, palette.pruned, { width: 0.7, alpha: paper.dark ? 0.25 : 0.6 });
      if (index === target) stroke(g, line, paper.ink, { width: thick(now.w[index]) + 5, alpha: 0.3 });
      else if (Math.abs(delta[a]) > 0.02 * largest) stroke(g, line, palette.violet, { width: thick(now.w[index]) + thick(delta[a]) + 1, alpha: 0.75 });
      stroke(g, line, palette.kept, { width: thick(now.w[index]), dash: now.w[index] < 0 ? [6, 4] : [] });
    });
    paper.finish();
    for (const method of METHODS) {
      const { color, shape, at } = LOOKS[method];
      const [[x0, y0], [x1, y1]] = lines[now.alive[now.chosen[method].q]];
      drawMark(g, x0 + at * (x1 - x0), y0 + at * (y1 - y0), palette[color], { shape, size: 5, ...(method !== "OBS" && { inside: paper.page }) });
    }
  }

  function drawAccuracy(values, problem, states) {
    const count = problem.weights.length;
    const c = chart(find(".accuracy canvas"), 240, { x: [count, 0], y: [0, 105], xTitle: "weights left", yTitle: "test accuracy, %" });
    const other = values.others === "follow" ? "stay" : "follow";
    const points = (heights) => heights.map((height, k) => [count - k, height]);
    for (const method of METHODS) {
      const color = palette[LOOKS[method].color];
      const { mean, low, high } = problem.curves[values.others][method];
      if (method === chooser(values)) c.inside(() => {
        Object.assign(c.g, { fillStyle: color, globalAlpha: 0.15 });
        c.g.beginPath();
        for (const [x, y] of [...points(low), ...points(high).reverse()]) c.g.lineTo(c.X(x), c.Y(y));
        c.g.fill();
      });
      c.line(points(problem.curves[other][method].mean), color, { width: 1.2, dash: [4, 3], alpha: 0.7 });
      c.line(points(mean), color, { width: 2 });
    }
    c.line(states.map((state) => [state.alive.length, 100 * state.test]), c.ink, { width: 3 });
    const now = states.at(-1);
    c.marker([now.alive.length, 100 * now.test], c.ink, { size: 4 });
    c.marker(problem.paper, palette.good, { shape: "diamond", size: 6, filled: false });
  }

  function drawLoss(values, problem, now, target) {
    const places = { yours: target, ...Object.fromEntries(METHODS.map((method) => [method, now.alive[now.chosen[method].q]])) };
    const results = Object.fromEntries(Object.entries(places).map(([name, place]) => [name, play.outcome(now, problem, place, values.others)]));
    const bars = Object.keys(results);
    const top = 1.45 * Math.max(now.error, ...bars.map((name) => results[name].error)) || 1;
    const titles = ["marked", ...METHODS];
    const c = chart(find(".loss canvas"), 200, { x: [-0.6, 3.6], y: [0, top], names: titles, xTitle: "", yTitle: "E" });
    bars.forEach((name, k) => {
      const { error, test } = results[name];
      c.bar(k, 0.6, error, name === "yours" ? palette.muted : palette[LOOKS[name].color]);
      const above = c.Y(Math.max(error, now.error)) - 5; // the dashed line crosses no text
      [short(error), percent(test)].forEach((text, row) => write(c, text, c.X(k), above - 14 * row, { baseline: "alphabetic" }));
    });
    c.line([[-0.6, now.error], [3.6, now.error]], c.ink, { width: 1.5, dash: [5, 4] });
    return results;
  }

  function draw(values) {
    const problem = problems[values.problem];
    const all = weightNames(names, problem.hidden);
    const states = play.path(values.problem, values.others, values.deleted);
    const now = states.at(-1);
    const target = next(values, now, all);
    shown = { values, now, all, target };
    fillChoice(values, now, all);
    find(".problem").value = values.problem;
    find(".others").value = values.others;
    find(".follows").hidden = values.others !== "follow";
    find(".other").textContent = values.others === "follow" ? "the others stay" : "the others follow";
    const method = METHODS.includes(find(".choice").value);
    const last = now.alive.length < 2;
    find(".one").disabled = last;
    find(".five").disabled = last || !method;
    find(".paper").disabled = !method || now.alive.length <= problem.paper[0];
    find(".undo").disabled = find(".start").disabled = !values.deleted.length;
    keepFocus(root, find(".choice"));
    drawNetwork(values, problem, now, target);
    drawAccuracy(values, problem, states);
    const results = drawLoss(values, problem, now, target);
    const there = `${now.alive.length} of ${all.length} weights left, the others ${values.others}: ${percent(now.test)} of the test cases right, E = ${short(now.error)}.`;
    const chosen = METHODS.map((name) => all[now.alive[now.chosen[name].q]]);
    const said = new Set(chosen).size === 1 ? `All three would delete ${chosen[0]}` : `Next for ${METHODS.map((name, k) => `${name} ${chosen[k]}`).join(", for ")}`;
    const then = `Without ${all[target]} (w = ${short(now.w[target])}): ${percent(results.yours.test)}, E = ${short(results.yours.error)}.`;
    const [least] = METHODS.toSorted((one, other) => results[one].error - results[other].error);
    const reason = values.others === "follow" ? "trusts a parabola" : "counts on the others to follow";
    const surprise = results[least].error < 0.99 * results.OBS.error ? ` Here ${least}'s choice costs less than OBS's, which ${reason}.` : "";
    find("[role=status]").textContent = `${there} ${then} ${said}.${surprise}`;
    describe(".network", `${values.problem}: ${there} ${then}`);
    describe(".accuracy", `Test accuracy over weights left: ${there} The paper's network has ${problem.paper[0]} weights and ${problem.paper[1]} %.`);
    describe(".loss", `Loss after the next deletion: ${Object.entries(results).map(([name, { error }]) => `${name} ${short(error)}`).join(", ")}; now ${short(now.error)}`);
  }

  /** The list of what can go next: the methods' choices and all connections that are there. */
  function fillChoice({ choice, problem, deleted }, now, all) {
    const control = find(".choice");
    const key = `${problem} ${deleted}`;
    if (control.dataset.key !== key) {
      control.dataset.key = key;
      control.replaceChildren(...METHODS.toReversed().map((name) => new Option(`${name}'s choice`, name)), ...now.alive.map((index) => new Option(all[index], all[index])));
    }
    control.value = choice;
    if (control.selectedIndex < 0) control.value = "OBS";
  }

  const { set, draw: again, end } = follow(model, { problem: null, others: (text) => text, choice: (text) => text, deleted: null }, root, draw);
  find(".problem").addEventListener("input", ({ target }) => set({ problem: target.value, deleted: [], choice: "OBS" }));
  const more = (deleted) => ((pointed = null), set({ deleted }));
  const go = (count) => {
    const { values, target } = shown;
    const method = find(".choice").value;
    more(METHODS.includes(method) ? play.further(values.problem, values.others, values.deleted, method, count) : [...values.deleted, target]);
  };
  find(".one").addEventListener("click", () => go(1));
  find(".five").addEventListener("click", () => go(5));
  find(".paper").addEventListener("click", () => go(shown.now.alive.length - problems[shown.values.problem].paper[0]));
  find(".undo").addEventListener("click", () => more(shown.values.deleted.slice(0, -1)));
  find(".start").addEventListener("click", () => more([]));
  watchLines(
    find(".network canvas"),
    () => lines,
    () => shown.now.alive,
    (line) => ((pointed = line), again()),
    (line) => shown.now.alive.length > 1 && more([...shown.values.deleted, line]),
  );
  return end;
}

export default { render };
