// Layer race: counts of every layer at every sparsity come from Python, this draws them, so that it needs no kernel.

import { drawMark, number, percent, rectangle, sheet, stroke, tick, write } from "./canvas.js";
import { chart, naming, setSlider, short, slider, stage } from "./charts.js";
import { follow } from "./redraw.js";
import { STEP_BUTTONS, stepper } from "./stepper.js";

const CONTROLS = STEP_BUTTONS + slider("step", "Sparsity");
const LOOKS = [
  { color: "kept", shape: "circle", sign: "●", dash: [] },
  { color: "updated", shape: "square", sign: "■", dash: [6, 4] },
  { color: "good", shape: "triangle", sign: "▲", dash: [2, 3] },
];
const SPARSITIES = ["0 %", "90 %", "99 %", "99.9 %"]; // at the places 0, 1, 2, 3 of −log₁₀ of the share left
const FLOOR = 1e-6; // less of the signal than that is none
const place = (share) => -Math.log10(share);

/** The first step at which each layer is empty, or null; `counts` are one layer's over the steps. */
export function deaths(kept) {
  return kept[0].map((_, layer) => {
    const step = kept.findIndex((counts) => counts[layer] === 0);
    return step < 0 ? null : step;
  });
}

/** A sparsity with as many digits as what is left needs: 98.87 % rather than 98.9 %. */
const exactly = (sparsity) => `${(100 * sparsity).toFixed(sparsity < 0.98 ? 1 : sparsity < 0.998 ? 2 : 3)} %`;

function drawLanes(canvas, names, weights, races, all, step) {
  const lane = names.length > 12 ? 21 : 30;
  const paper = sheet(canvas, lane * names.length + 66);
  const { g, ink, width } = paper;
  const left = Math.max(...names.map((name) => g.measureText(name).width)) + 10;
  const box = { left, top: 22, width: width - left - 92, height: lane * names.length };
  const far = place(1 / Math.max(10, ...weights)) + 0.1; // a single weight of the largest layer
  const X = (share) => box.left + (box.width * place(share)) / far;
  const finish = box.left + box.width + 14;
  write(paper, "emptied at", finish + 30, 10);
  rectangle(g, box.left + box.width, box.top, 26, box.height, { fill: palette.muted, alpha: 0.22 });
  const share = 1 - all[step];
  stroke(g, [[X(share), box.top], [X(share), box.top + box.height]], ink, { width: 1.5, dash: [4, 4], alpha: 0.7 });
  const every = g.measureText(SPARSITIES.at(-1)).width + 6 > X(0.1) - X(1) ? 2 : 1; // of the ticks: on a phone there is no room for all
  SPARSITIES.forEach((text, k) => k < far && k % every === 0 && tick(paper, X(10 ** -k), box.top + box.height + 1, text, "below"));
  write(paper, "sparsity of the layer (dashed: network)", box.left + box.width / 2, box.top + box.height + 38);
  names.forEach((name, layer) => {
    const y = box.top + lane * (layer + 0.5);
    stroke(g, [[box.left, y], [box.left + box.width, y]], palette.muted, { width: 1, alpha: 0.35 });
    write(paper, name, left - 8, y, { align: "right" });
    let first = null;
    races.forEach(({ kept, died, look }, k) => {
      const at = y + (k - (races.length - 1) / 2) * (lane / 5);
      const dead = died[layer] !== null && died[layer] <= step;
      const count = kept[step][layer];
      if (dead && (!first || died[layer] < first.died)) first = { died: died[layer], look };
      const x = dead ? finish : X(count / weights[layer]);
      if (dead) for (const turn of [-1, 1]) stroke(g, [[x - 3.5, at - 3.5 * turn], [x + 3.5, at + 3.5 * turn]], palette[look.color], { width: 2 });
      else drawMark(g, x, at, palette[look.color], { shape: look.shape, size: 3 });
    });
    if (first) write(paper, exactly(all[first.died]), finish + 16, y, { align: "left", color: palette[first.look.color] });
  });
}

/** One line for each kind of scores over the sparsity, with a mark at the step. */
function drawOver(canvas, lines, all, step, options) {
  const c = chart(canvas, 210, { x: [0, 3.4], names: SPARSITIES, xTitle: "sparsity of the network", ...options });
  c.line([[place(1 - all[step]), options.y[0]], [place(1 - all[step]), options.y[1]]], c.ink, { width: 1.5, dash: [4, 4], alpha: 0.7 });
  for (const { values, look } of lines) {
    const points = values.map((value, k) => [place(1 - all[k]), value]);
    c.line(points, palette[look.color], { width: 1, dash: look.dash, alpha: 0.45 });
    c.line(points.slice(0, step + 1), palette[look.color], { dash: look.dash });
    c.marker(points[step], palette[look.color], { shape: look.shape });
  }
}

function render({ model, el }) {
  const all = model.get("sparsities");
  const [names, weights] = [0, 1].map((part) => model.get("layers").map((layer) => layer[part]));
  const races = model.get("races").map((race, k) => ({ ...race, died: deaths(race.kept), look: LOOKS[k] }));
  const signals = races[0].signal !== null;
  const legend = races.map(({ name, look }) => `<span class="key"><b style="color:var(--${look.color})">${look.sign}</b> ${name}</span>`).join(", ");
  const panels = { "lanes tall": `Layers${naming(names)}, input on top: ${legend}; ✕ emptied`, emptied: `Layers emptied of ${names.length}` };
  if (signals) panels.signal = "Signal: how far outputs differ between images, dense = 1";
  const { root, find, describe } = stage(el, "layer-race", CONTROLS, panels);
  const total = weights.reduce((sum, count) => sum + count, 0);
  const gone = ({ died }, step) => died.filter((at) => at !== null && at <= step).length;
  const most = Math.max(1, ...races.map((race) => gone(race, all.length - 1)));

  function draw({ step }) {
    film.show();
    const text = exactly(all[step]);
    setSlider(find(".step"), step, text, `sparsity ${text}`);
    const left = races[0].kept[step].reduce((sum, count) => sum + count, 0);
    const said = races.map((race) => {
      const [count, last] = [gone(race, step), Math.max(...race.died.map((at) => (at !== null && at <= step ? at : -1)))];
      const whose = last < 0 ? "" : ` (last at ${exactly(all[last])}: ${names.filter((_, k) => race.died[k] === last).join(", ")})`;
      return `${race.name} ${count}${whose}`;
    });
    const arrives = ({ name, signal }) => `${name} ${signal[step] < FLOOR ? "nothing" : percent(signal[step])}`;
    const heard = signals ? ` Of the dense network's signal arrives: ${races.map(arrives).join(", ")}.` : "";
    find("p").textContent = `At ${text} sparsity ${number(left)} of ${number(total)} weights are left. Layers emptied: ${said.join(", ")}.${heard}`;

    drawLanes(find(".lanes canvas"), names, weights, races, all, step);
    const emptied = races.map((race) => ({ values: all.map((_, k) => gone(race, k)), look: race.look }));
    drawOver(find(".emptied canvas"), emptied, all, step, { y: [-0.05 * most, 1.1 * most], yTitle: "layers" });
    const spoken = races.map((race) => `${race.name} ${gone(race, step)}`).join(", ");
    describe(".lanes", `Weights left in each of ${names.length} layers at ${text}; emptied: ${said.join(", ")}`);
    describe(".emptied", `Layers emptied over the sparsity; at ${text}: ${spoken}`);
    if (!signals) return;
    const arriving = races.map(({ signal, look }) => ({ values: signal.map((value) => Math.max(value, FLOOR)), look }));
    const top = 10 ** Math.ceil(Math.log10(1.2 * Math.max(1, ...races.flatMap(({ signal }) => signal))));
    drawOver(find(".signal canvas"), arriving, all, step, { y: [FLOOR / 1.5, top], log: true, yTitle: "signal" });
    describe(".signal", `Signal at the outputs over the sparsity, of the dense network's; at ${text}: ${races.map(({ name, signal }) => `${name} ${short(signal[step])}`).join(", ")}`);
  }

  const { set, end } = follow(model, { step: null }, root, draw);
  const film = stepper(root, find(".step"), { at: () => model.get("step"), last: () => all.length - 1, go: (step) => set({ step }), word: "step", pause: 200 });
  return () => {
    film.stop();
    end();
  };
}

export default { render };
