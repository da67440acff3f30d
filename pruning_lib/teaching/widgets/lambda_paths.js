// λ paths explorer: recorded runs under a slider over γ. Everything is here already, so no kernel is needed.

import { rectangle, sheet, write } from "./canvas.js";
import { chart, list, naming, setSlider, short, slider, stage } from "./charts.js";
import { follow } from "./redraw.js";

const JUMP = 0.5; // of a gate in one epoch: worth a sentence
const CONTROLS = slider("gamma", "penalty γ") + list("seed", "Seed") + list("unit", "Highlight", '<option value="">none</option>');
const PANELS = {
  paths: `A gate λ multiplies its unit's output: <i class="line"></i> stays open, <i class="line closes"></i> closes, <span class="key"><i class="square"></i> zero from here on</span>`,
  units: `<i class="kept"></i> open, <i class="pruned"></i> closed gates of each unit`,
  accuracy: `Test accuracy: ○ all runs, ● this one, <i class="dashed"></i> dense`,
  macs: "Multiplications (MACs), the same runs",
};

/** Epoch after which a path is zero for good, or −1. */
export function closing(path) {
  let epoch = path.length;
  while (epoch && path[epoch - 1] === 0) epoch--;
  return epoch === path.length ? -1 : epoch;
}

/** The largest rise of a gate in one epoch, the first apart: of which unit, when, from what to what. */
export function jump({ scales }) {
  let most = { rise: 0 };
  for (const [name, rows] of Object.entries(scales))
    rows.forEach((row, epoch) => row.forEach((to, k) => {
      const from = epoch > 1 ? rows[epoch - 1][k] : to;
      if (to - from > most.rise) most = { rise: to - from, name, epoch, from, to };
    }));
  return most;
}

function drawPaths(canvas, run, unit) {
  const epochs = Object.values(run.scales)[0].length;
  const values = Object.values(run.scales).flat(2);
  const [low, high] = [values.reduce((a, b) => Math.min(a, b), 0), values.reduce((a, b) => Math.max(a, b), 1)];
  const range = [low - 0.05 * (high - low), high + 0.05 * (high - low)];
  const c = chart(canvas, 290, { x: [0, epochs - 1], y: range, xTitle: "epoch", yTitle: "gate λ" });
  c.line([[0, 0], [epochs - 1, 0]], c.ink, { width: 1, alpha: 0.5 });
  const many = Object.values(run.scales).flatMap((rows) => rows[0]).length > 20;
  const names = Object.keys(run.scales).sort((one, other) => (one === unit) - (other === unit)); // the highlighted last
  for (const name of names) {
    const alpha = unit ? (name === unit ? 1 : 0.15) : many ? 0.35 : 0.9;
    const width = name === unit ? 2.5 : many ? 1 : 2;
    const [open, closed] = [[], []];
    for (let k = 0; k < run.scales[name][0].length; k++) {
      const path = run.scales[name].map((row) => row[k]);
      const end = closing(path);
      const points = path.slice(0, end < 0 ? epochs : end + 1).map((value, epoch) => [epoch, value]);
      (end < 0 ? open : closed).push(points);
    }
    c.lines(open, palette.kept, { alpha, width });
    c.lines(closed, palette.accent, { alpha, width, dash: [5, 3] });
    const ends = new Set(closed.map((points) => points.length - 1)); // one mark where many end together
    for (const end of ends) c.marker([end, 0], palette.accent, { shape: "square", filled: false, size: many ? 2 : 4, alpha });
  }
}

function drawUnits(canvas, run, unit) {
  const names = Object.keys(run.scales);
  const line = Math.max(15, Math.min(26, 240 / names.length));
  const c = sheet(canvas, Math.round(line * names.length + 34));
  const { g } = c;
  const room = Math.max(...names.map((name) => g.measureText(name).width)) + 10;
  const wide = c.width - room - 84;
  const last = (name) => run.scales[name][run.scales[name].length - 1];
  const most = Math.max(...names.flatMap(last).map(Math.abs)) || 1;
  names.forEach((name, i) => {
    const [values, top] = [last(name), 4 + i * line];
    const open = values.filter((value) => value !== 0).length;
    g.globalAlpha = unit && unit !== name ? 0.45 : 1;
    write(c, name, 0, top + line / 2, { align: "left" });
    rectangle(g, room, top + 2, wide, line - 4, { line: palette.muted });
    rectangle(g, room, top + 2, wide * (values.length > 1 ? open / values.length : Math.abs(values[0]) / most), line - 4, { fill: palette.kept });
    const single = open ? `λ = ${short(values[0])}` : "closed";
    write(c, values.length > 1 ? `${open} of ${values.length}` : single, room + wide + 8, top + line / 2, { align: "left" });
  });
  g.globalAlpha = 1;
  if (names.some((name) => last(name).length > 1)) write(c, "share of open gates", room + wide / 2, 4 + line * names.length + 14);
}

function drawOverGamma(canvas, runs, run, gammas, value, dense, label) {
  const all = [...runs.map(value), dense];
  const margin = 0.08 * (Math.max(...all) - Math.min(...all)) || 1;
  const y = [Math.min(...all) - margin, Math.max(...all) + margin];
  const c = chart(canvas, 190, { x: [-0.4, gammas.length - 0.6], y, names: gammas.map(String), xTitle: "penalty γ", yTitle: label });
  c.line([[-1, dense], [gammas.length, dense]], palette.muted, { dash: [6, 4], width: 1.5 });
  const at = (one) => [gammas.indexOf(one.gamma), value(one)];
  for (const one of runs) c.marker(at(one), palette.kept, { filled: false, size: 3.5 });
  c.marker(at(run), palette.kept, { size: 5.5 });
}

function render({ model, el }) {
  const [runs, dense] = ["runs", "dense"].map((name) => model.get(name));
  const single = Object.values(runs[0].gates).every((count) => count === 1);
  const named = naming(Object.keys(runs[0].gates));
  const { root, find, describe } = stage(el, "lambda-paths", CONTROLS, { ...PANELS, units: single ? `Each unit's λ${named} at the end; empty: closed` : PANELS.units + named });
  const gammas = [...new Set(runs.map((run) => run.gamma))];
  const shown = runs.filter((run) => run.scales);
  const seeds = [...new Set(shown.map((run) => run.seed))];
  const alone = seeds.length < 2 && shown.length < runs.length ? ", the only one with paths" : "";
  for (const seed of seeds) find(".seed").add(new Option(`${seed}${alone}`, seed));
  for (const name of Object.keys(runs[0].gates)) find(".unit").add(new Option(name, name));
  find(".gamma").max = gammas.length - 1;

  function paint({ gamma, seed }) {
    const unit = find(".unit").value;
    const run = shown.find((one) => one.gamma === gamma && one.seed === seed);
    setSlider(find(".gamma"), gammas.indexOf(gamma), gamma, `gamma ${gamma}`);
    find(".seed").value = seed;

    const ends = Object.entries(run.scales).map(([name, rows]) => [name, rows[rows.length - 1]]);
    const gates = ends.flatMap(([, row]) => row);
    const closed = gates.filter((value) => value === 0).length;
    const whole = ends.filter(([, row]) => row.every((value) => value === 0)).map(([name]) => name);
    const sizes = `test accuracy ${(100 * run.accuracy).toFixed(2)} % (dense ${(100 * dense.accuracy).toFixed(2)} %), multiplications (MACs) ${((100 * run.macs) / dense.macs).toFixed(1)} % of the dense network's`;
    const which = whole.length ? ` Closed${single ? "" : " as a whole"}: ${whole.join(", ")}.` : "";
    const warning = closed ? "" : " No gate closed: γ is too small for this training.";
    const { rise, name, epoch, from, to } = jump(run);
    const leap = rise > JUMP ? ` In epoch ${epoch} a gate of ${name} jumps from ${short(from)} to ${short(to)}.` : "";
    find("p").textContent = `γ = ${gamma}: ${closed} of ${gates.length} gates closed, ${sizes}.${which}${warning}${leap}`;

    drawPaths(find(".paths canvas"), run, unit);
    drawUnits(find(".units canvas"), run, unit);
    drawOverGamma(find(".accuracy canvas"), runs, run, gammas, (one) => 100 * one.accuracy, 100 * dense.accuracy, "test accuracy, %");
    drawOverGamma(find(".macs canvas"), runs, run, gammas, (one) => (100 * one.macs) / dense.macs, 100, "MACs, % of dense");
    describe(".paths", `λ of ${gates.length} gates over the epochs at γ = ${gamma}; ${closed} end at zero`);
    const open = ends.map(([name, row]) => `${name} ${row.filter((value) => value !== 0).length} of ${row.length}`);
    describe(".units", `Open gates: ${open.join(", ")}`);
    describe(".accuracy", `Test accuracy over γ; at γ = ${gamma}: ${(100 * run.accuracy).toFixed(2)} %`);
    describe(".macs", `MACs over γ; at γ = ${gamma}: ${((100 * run.macs) / dense.macs).toFixed(1)} % of dense`);
  }

  const { draw, end } = follow(model, { gamma: (at) => gammas[at], seed: Number }, root, paint);
  find(".unit").addEventListener("input", draw);
  return end;
}

export default { render };
