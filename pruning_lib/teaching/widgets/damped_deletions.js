// Damped deletions: recorded errors of several methods under sliders for α and the number of deletions. All is here, no kernel is needed.

import { chart, setSlider, short, slider, stage } from "./charts.js";
import { follow } from "./redraw.js";

const CONTROLS = slider("deleted", "Weights deleted") + slider("alpha", "damping α");
const PANELS = { "error tall": "", unseen: "Error E on unseen samples", moved: "Length of the total move, ‖δw‖" };
const LOOKS = [
  { sign: "●", color: "kept", dash: [], shape: "circle", filled: true },
  { sign: "△", color: "accent", dash: [8, 3, 2, 3], shape: "triangle", filled: false },
  { sign: "◇", color: "violet", dash: [2, 3], shape: "diamond", filled: false },
  { sign: "□", color: "updated", dash: [7, 4], shape: "square", filled: false },
];

/** Of every method its lines over the deletions at the α with the index `k`; one whose rows do not depend on it has one. */
export const linesAt = (methods, k) =>
  methods.map(({ name, ...tables }) => ({ name, ...Object.fromEntries(Object.entries(tables).map(([key, rows]) => [key, rows[Math.min(k, rows.length - 1)]])) }));

/** Of every method where it stands after so many deletions. */
export const standings = (lines, deleted) => lines.map(({ name, error, unseen, moved }) => ({ name, error: error[deleted], unseen: unseen[deleted], moved: moved[deleted] }));

/** Who has the least error on unseen samples, the first of several; null where all are alike. */
export function winner(all) {
  const best = all.reduce((best, one) => (one.unseen < best.unseen ? one : best));
  return all.every(({ unseen }) => unseen - best.unseen < 1e-9) ? null : best;
}

/** From below the least error at any α to a quarter above that with nothing left; what is worse runs out of the picture. */
export function errorRange(methods) {
  const least = Math.min(...methods.flatMap(({ error, unseen }) => [error, unseen].flatMap((rows) => rows.flat())));
  const empty = Math.max(...methods.flatMap(({ error, unseen }) => [error[0].at(-1), unseen[0].at(-1)]));
  return [least - 0.1 * (empty - least), empty + 0.25 * (empty - least)];
}

/** One quantity over the deletions, a mark for each method at the number chosen: at the upper edge if it stands above. */
function drawOver(canvas, lines, key, deleted, height, y, yTitle) {
  const last = lines[0][key].length - 1;
  const c = chart(canvas, height, { x: [0, last], y, xTitle: "weights deleted", yTitle });
  c.line([[deleted, y[0]], [deleted, y[1]]], c.ink, { width: 1.5, dash: [4, 4], alpha: 0.7 });
  if (key !== "moved") c.line([0, last].map((at) => [at, lines[0][key][last]]), c.ink, { width: 1, dash: [2, 4], alpha: 0.7 });
  lines.forEach((line, k) => c.line(line[key].map((value, at) => [at, value]), palette[LOOKS[k].color], { dash: LOOKS[k].dash }));
  lines.forEach((line, k) => {
    const { color, shape, filled } = LOOKS[k];
    const above = line[key][deleted] > y[1];
    c.marker([deleted, Math.min(line[key][deleted], y[1])], palette[color], { shape: above ? "triangle" : shape, filled: filled || above, size: filled ? 4 : 5 });
  });
}

function render({ model, el }) {
  const [alphas, methods] = ["alphas", "methods"].map((name) => model.get(name));
  const { root, find, describe } = stage(el, "damped-deletions", CONTROLS, PANELS);
  const last = methods[0].error[0].length - 1;
  const range = errorRange(methods);
  const longest = Math.max(...methods.flatMap(({ moved }) => moved.map((row) => row.at(-1))), ...methods.map(({ moved }) => Math.max(...moved[0])));
  find(".deleted").max = last;
  find(".alpha").max = alphas.length - 1;
  const legend = methods.map(({ name }, k) => `<span class="key"><b style="color:var(--${LOOKS[k].color})">${LOOKS[k].sign}</b> ${name}</span>`);
  find(".error figcaption").innerHTML = `Error E on the training samples: ${legend.join(", ")}; dotted: with nothing left; ▲ at the top: off the scale`;

  function draw({ alpha, deleted }) {
    const k = alphas.indexOf(alpha);
    const lines = linesAt(methods, k);
    const all = standings(lines, deleted);
    setSlider(find(".deleted"), deleted, `${deleted} of ${last}`);
    setSlider(find(".alpha"), k, short(alpha), `alpha ${short(alpha)}`);
    const errors = all.map(({ name, error, unseen }) => `${name} ${short(error)} (${short(unseen)})`);
    const least = winner(all);
    find("[role=status]").textContent =
      `${deleted} of ${last} weights gone, α = ${short(alpha)}. Training error (unseen): ${errors.join(", ")}. ` +
      (least ? `Least on unseen samples: ${least.name}.` : "All are alike.");

    const wide = Math.max(300, Math.min(430, 0.85 * find(".error").clientWidth));
    drawOver(find(".error canvas"), lines, "error", deleted, wide, range, "E, training");
    drawOver(find(".unseen canvas"), lines, "unseen", deleted, 200, range, "E, unseen");
    drawOver(find(".moved canvas"), lines, "moved", deleted, 200, [0, 1.1 * longest], "‖δw‖");
    const here = `at ${deleted} of ${last}, alpha ${short(alpha)}`;
    describe(".error", `Training error over the deletions; ${here}: ${all.map(({ name, error }) => `${name} ${short(error)}`).join(", ")}`);
    describe(".unseen", `Error on unseen samples over the deletions; ${here}: ${all.map(({ name, unseen }) => `${name} ${short(unseen)}`).join(", ")}`);
    describe(".moved", `Length of the total move over the deletions; ${here}: ${all.map(({ name, moved }) => `${name} ${short(moved)}`).join(", ")}`);
  }

  return follow(model, { deleted: Number, alpha: (at) => alphas[at] }, root, draw).end;
}

export default { render };
