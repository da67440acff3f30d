// Perplexity slider: recorded runs of a pruned language model. Everything is here already, so no kernel is needed.

import { compact, rectangle, sheet, write } from "./canvas.js";
import { chart, list, setSlider, slider, stage } from "./charts.js";
import { follow } from "./redraw.js";

const CONTROLS = slider("pattern", "Sparsity") + list("against", "Against", '<option value="">dense</option>');
const PANELS = { curves: `Lines: zeros anywhere; hollow: n:m, n of every m kept; <i class="dashed"></i> dense`, bars: "" };

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
}

function drawBars(canvas, runs, dense, looks) {
  const c = sheet(canvas, 290);
  const { g } = c;
  const names = runs.map((run) => run.method);
  const room = Math.max(...names.map((name) => g.measureText(name).width)) + 8;
  // A bar off the scale of the others has a gap.
  const [most, second] = runs.map((run) => run.perplexity).sort((a, b) => b - a);
  const longest = most > 4 * second ? 2 * second : most;
  const value = (run) => run.perplexity.toFixed(2);
  const scale = (c.width - room - 12 - Math.max(...[dense, ...runs].map((run) => g.measureText(value(run)).width))) / longest;
  const line = 270 / (runs.length + 1);
  [dense, ...runs].forEach((run, i) => {
    const middle = 10 + (i + 0.5) * line;
    const look = i ? { fill: looks[run.method][0] } : { fill: c.ink, alpha: 0.5 };
    write(c, run.method, 0, middle, { align: "left" });
    const length = scale * Math.min(run.perplexity, longest);
    const cut = run.perplexity > longest ? 14 : 0;
    rectangle(g, room, middle - line / 4, length - cut, line / 2, look);
    if (cut) rectangle(g, room + length - 8, middle - line / 4, 8, line / 2, look);
    write(c, value(run), room + length + 6, middle, { align: "left" });
  });
  return most > longest;
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
  for (const method of Object.keys(looks)) find(".against").add(new Option(method, method));

  function paint({ pattern }) {
    const here = runs.filter((run) => run.pattern === pattern);
    setSlider(find(".pattern"), patterns.indexOf(pattern), pattern);
    const against = find(".against").value;
    const base = against ? here.find((run) => run.method === against) : runs[0];
    const told = here.map((run) => {
      const factor = against
        ? `${compact((run.perplexity - runs[0].perplexity) / (base.perplexity - runs[0].perplexity))} ×`
        : `${(run.perplexity / base.perplexity).toFixed(2)} × dense`;
      return `${run.method} ${run.perplexity.toFixed(2)}${run === base ? "" : ` (${factor})`}`;
    });
    find("p").textContent = `${pattern}: ${told.join(", ")}; dense ${runs[0].perplexity.toFixed(2)}.${against ? ` In brackets: the rise over dense, against ${against}'s.` : ""}`;
    drawCurves(find(".curves canvas"), runs, pattern, looks);
    const cut = drawBars(find(".bars canvas"), here, runs[0], looks);
    find(".bars figcaption").textContent = `Perplexity per ${runs[0].bits_per_byte ? "token" : "byte"} at ${pattern}${cut ? "; with a gap: longer than drawn" : ""}`;
    drawTexts(find("dl"), prompt, [runs[0], ...here], looks);
    describe(".curves", `Bits per byte over sparsity for ${Object.keys(looks).join(", ")}`);
    describe(".bars", `Perplexity at ${pattern}: ${told.join(", ")}`);
  }

  const { draw, end } = follow(model, { pattern: (at) => patterns[at] }, root, paint);
  find(".against").addEventListener("input", draw);
  return end;
}

export default { render };
