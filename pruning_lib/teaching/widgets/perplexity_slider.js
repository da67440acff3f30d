// Perplexity slider: recorded runs of a pruned language model. Everything is here already, so no kernel is needed.

import { drawMark, rectangle, sheet, stroke, write } from "./canvas.js";
import { chart, setSlider, slider, stage } from "./charts.js";
import { follow } from "./redraw.js";

const CONTROLS = slider("pattern", "Pattern");
const PANELS = { curves: `Lines: zeros anywhere; hollow: n:m, n of every m kept; <i class="dashed"></i> dense. A click chooses.`, bars: "" };
const SIDE = 14; // px of a method's mark beside its bar

const shown = (x) => (x < 20 ? x.toFixed(2) : x < 1000 ? x.toFixed(1) : x.toLocaleString("en-US", { maximumFractionDigits: 0 }));

const bits = (run) => run.bits_per_byte ?? Math.log2(run.perplexity); // without: perplexity is per byte

const APART = 4; // percentage points: room for a pattern's name on the axis

const grouped = (run) => run.pattern.includes(":"); // n:m
/** Where a run stands: at its sparsity; of n:m, which would cover others there, a step to the left for each pattern. */
export function place(run, runs) {
  const apart = [...new Set(runs.filter(grouped).map((one) => one.pattern))];
  return [100 * run.sparsity - APART * (1 + apart.indexOf(run.pattern)), bits(run)];
}

/** What the axis says below the runs: a sparsity, or the name of an n:m pattern. */
export const names = (runs) => runs.map((run) => (grouped(run) ? [place(run, runs)[0], run.pattern] : [Math.round(100 * run.sparsity), `${Math.round(100 * run.sparsity)}`]));

/** A method's line through what is unstructured; between dense and the first of them nothing is measured. */
export const curve = (runs, method) => runs.filter((run) => run.method === method && !grouped(run)).map((run) => place(run, runs));

/** Returns where on the canvas a run stands, in px from its left. */
function drawCurves(canvas, runs, pattern, looks) {
  const all = runs.map(bits);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const y = [low - 0.06 * (high - low), high + 0.06 * (high - low)];
  const places = runs.slice(1).map((run) => place(run, runs)[0]);
  const x = [Math.min(...places) - 2, Math.max(...places) + 2];
  const aside = runs.filter(grouped).map((run) => place(run, runs)[0]);
  const c = chart(canvas, 290, { x, y, xTicks: names(runs.slice(1)), xTitle: aside.length ? "pattern, or sparsity in %" : "sparsity, %", yTitle: runs[0].bits_per_byte ? "bits per byte" : "bits per byte = log₂ perplexity" });
  const [dense, ...pruned] = runs;
  c.line([[x[0], bits(dense)], [x[1], bits(dense)]], palette.muted, { dash: [6, 4], width: 1.5 });
  const edge = Math.max(...aside) + APART / 2;
  if (aside.length) c.line([[edge, y[0]], [edge, y[1]]], palette.muted, { dash: [2, 4], width: 1 });
  const [here] = place(pruned.find((run) => run.pattern === pattern), runs);
  c.line([[here, y[0]], [here, y[1]]], palette.muted, { width: 1, alpha: 0.6 });
  for (const [method, [color, shape]] of Object.entries(looks)) {
    c.line(curve(runs, method), color);
    for (const run of pruned.filter((run) => run.method === method)) {
      const now = run.pattern === pattern;
      c.marker(place(run, runs), color, { shape, size: now ? 6 : 3.5, filled: now || !grouped(run) });
    }
  }
  return (run) => c.X(place(run, runs)[0]);
}

/** Of each method the doublings of perplexity over dense, on one scale for all patterns; beside them the perplexities. */
function drawBars(canvas, here, runs, looks) {
  const c = sheet(canvas, 290);
  const { g } = c;
  const [dense] = runs;
  const doublings = (run) => Math.log2(run.perplexity / dense.perplexity);
  const room = SIDE + 8 + Math.max(...here.map((run) => g.measureText(run.method).width));
  const most = Math.max(...runs.map(doublings));
  const scale = (c.width - room - 12 - Math.max(...here.map((run) => g.measureText(shown(run.perplexity)).width))) / most;
  const line = 262 / here.length;
  here.forEach((run, i) => {
    const [color, shape] = looks[run.method];
    const middle = 4 + (i + 0.5) * line;
    drawMark(g, 6, middle, color, { shape, size: 5 });
    write(c, run.method, SIDE, middle, { align: "left" });
    const length = scale * doublings(run);
    rectangle(g, room + Math.min(length, 0), middle - line / 5, Math.abs(length), (2 * line) / 5, { fill: color });
    write(c, shown(run.perplexity), room + Math.max(length, 0) + 6, middle, { align: "left" });
  });
  stroke(g, [[room, 0], [room, 268]], palette.muted, { dash: [6, 4], width: 1.5 });
  write(c, `dense ${shown(dense.perplexity)}`, room, 280, { align: room < 60 ? "left" : "center" });
}

/** What each model makes of the prompt, as elements of a list. */
function drawTexts(into, prompt, runs, looks) {
  into.replaceChildren();
  for (const run of runs.filter((run) => run.continued)) {
    const [term, text, start] = ["dt", "dd", "em"].map((tag) => document.createElement(tag));
    term.textContent = run.method;
    term.style.borderColor = looks[run.method]?.[0] ?? palette.muted;
    start.textContent = prompt;
    text.append(start, ` ${run.continued.trim()} …`);
    into.append(term, text);
  }
}

function render({ model, el }) {
  const [runs, looks, prompt] = ["runs", "looks", "prompt"].map((name) => model.get(name));
  const { root, find, describe } = stage(el, "perplexity-slider", CONTROLS, PANELS);
  root.append(document.createElement("dl"));
  const across = runs.slice(1).toSorted((one, other) => place(one, runs)[0] - place(other, runs)[0]); // as on the axis
  const patterns = [...new Set(across.map((run) => run.pattern))];
  find(".pattern").max = patterns.length - 1;
  let at; // of a run on the canvas of the curves
  const times = (run) => `${(run.perplexity / runs[0].perplexity).toFixed(run.perplexity < 10 * runs[0].perplexity ? 2 : 0)} times dense`;

  function paint({ pattern }) {
    const here = runs.filter((run) => run.pattern === pattern);
    setSlider(find(".pattern"), patterns.indexOf(pattern), pattern);
    const [best, ...others] = here.toSorted((one, other) => one.perplexity - other.perplexity);
    const said = (run) => `${run.method} ${shown(run.perplexity)} (${times(run)})`;
    find("p").textContent = `Lowest at ${pattern}: ${said(best)}.${others.length ? ` Highest: ${said(others.at(-1))}.` : ""}`;
    at = drawCurves(find(".curves canvas"), runs, pattern, looks);
    drawBars(find(".bars canvas"), here, runs, looks);
    find(".bars figcaption").textContent = `Perplexity per ${runs[0].bits_per_byte ? "token" : "byte"} at ${pattern}; bars count doublings over dense`;
    drawTexts(find("dl"), prompt, [runs[0], ...here], looks);
    describe(".curves", `Bits per byte over sparsity for ${Object.keys(looks).join(", ")}`);
    describe(".bars", `Perplexity at ${pattern}: ${here.map(said).join(", ")}; dense ${shown(runs[0].perplexity)}`);
  }

  const { set, end } = follow(model, { pattern: (at) => patterns[at] }, root, paint);
  find(".curves canvas").addEventListener("click", ({ offsetX }) => {
    const far = (run) => Math.abs(at(run) - offsetX);
    set({ pattern: runs.slice(1).reduce((nearest, run) => (far(run) < far(nearest) ? run : nearest)).pattern });
  });
  return end;
}

export default { render };
