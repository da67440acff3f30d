// The view "step by step" of the SparseGPT stepper: three forms of one idea, side by side.

import { subscript } from "./canvas.js";
import { short } from "./charts.js";
import { drawErrors, drawPerRow, drawShared, drawWeights, fillTable, fixed, gone, largest, pruned, pruningRows, x } from "./sparsegpt_drawing.js";

export const NAMES = { exact: "exact OBS per row", synchronized: "synchronized", cholesky: "Cholesky" };
export const STEP_PANELS = {
  weights: `<b>W</b>: <span class="key"><i class="kept"></i> kept</span>, <span class="key"><i class="frozen"></i> frozen</span>, <span class="key"><i class="moved"></i> makes up (±)</span>,
    <span class="key"><i class="now"></i> pruned now</span>, <span class="key"><i class="planned"></i> goes later</span>, <span class="key"><i class="pruned"></i> pruned</span>`,
  inverse: "",
  errors: "",
  cost: "Updates so far; before them H⁻¹ once, and its factor U once",
};

function stepStory(form, state, step, last, maskBlock, same) {
  const [rows, columns] = [state.weight.length, state.weight[0].length];
  if (!step)
    return {
      exact: `Start: each of the ${rows} rows will choose its own weights, so each needs its own copy of H⁻¹. Step with the buttons or the arrow keys.`,
      synchronized: `Start: one H⁻¹ for all rows. They will be at the same column at the same time, from ${x(0)} to ${x(columns - 1)} (GPT-6), so they can share it.`,
      cholesky: "Start: the upper triangular U with UᵀU = H⁻¹ is computed once. Its rows are all that the synchronized form ever reads from its shrinking inverses.",
    }[form];
  const head = `Step ${step} of ${last}`;
  if (form === "exact")
    return (
      `${head}: each row prunes the weight with the smallest w²/d, d on the diagonal of its H⁻¹ (${state.columns.map((q, i) => `row ${i + 1}: ${x(q)}`).join(", ")}). ` +
      "All others that it has left make up for it by −w/d times that row of H⁻¹, which then loses this row and column. Rows with other masks have other inverses (GPT-3)."
    );
  const j = state.columns[0];
  const hit = pruningRows(state.marks, j);
  const b = subscript(j + 1);
  const chosen = j % maskBlock ? "" : ` The mask of ${x(j)} to ${x(Math.min(j + maskBlock, columns) - 1)} was chosen just before, by ${form === "cholesky" ? "w²/Uⱼⱼ², the squared diagonal" : "w²/B₁₁"}.`;
  if (form === "synchronized") {
    const s = hit.startsWith("rows") ? "" : "s";
    const corrects = j < columns - 1 ? ` and correct${s} what is to the right by −w/B₁₁ times row 1 of B, the same for all.` : ": nothing is left to make up for it.";
    const deed = hit ? `${hit} prune${s} it${corrects}` : "no row prunes it.";
    return `${head}: all rows are at ${x(j)}; ${deed} Where it stays, it is frozen: it leaves S${b} in every row, pruned or not. That is the synchronization.${chosen}`;
  }
  return (
    `${head}, ${x(j)}: ${hit ? `pruned in ${hit}; the` : "no row prunes it; the"} correction is read off row ${j + 1} of U, for U${b}${b}² = ${fixed(same.U[j][j] ** 2)} = B₁₁ and U${b}/U${b}${b} = B₁/B₁₁, B the synchronized form's inverse. ` +
    `Without this row and column, U is the factor of the next inverse: nothing has to be updated, ever.${chosen}`
  );
}

/** What is written over the columns. */
function stepBrackets(form, { columns: [current], weight }) {
  const columns = weight[0].length;
  if (form === "exact") return [[0, columns, ["each row: any weight that it has left", "any weight that is left"], palette.updated]];
  const from = current ?? 0;
  const set = `S${subscript(from + 1)} = {${from + 1}${from + 1 < columns ? `, …, ${columns}` : ""}}`;
  return [
    [0, from, ["frozen", ""], palette.kept],
    [from, columns, [`${set} for all rows`, set, `S${subscript(from + 1)}`], palette.updated],
  ];
}

/** The state `step` of a form: text, weights, what the step reads, errors and costs of all forms. */
export function drawSteps({ find, describe }, { forms, form, step, last, maskBlock }) {
  const [state, before] = [forms[form][step], forms[form][Math.max(step - 1, 0)]];
  const scale = largest(Object.values(forms).flatMap((states) => states.map(({ weight }) => weight))) || 1;
  const done = pruned(state);
  const reached = {};
  for (const other of Object.keys(NAMES)) {
    const alike = other === form || (other !== "exact" && form !== "exact");
    reached[other] = alike ? step : forms[other].findLastIndex((one) => pruned(one) <= done);
  }
  // In-order forms are at the same step: the inverse and the factor that belong together.
  const same = { B: forms.synchronized[form === "exact" ? 0 : step].inverses[0], U: forms.cholesky[0].inverses[0] };
  find("p").textContent = stepStory(form, state, step, last, maskBlock, same);

  drawWeights(find(".weights canvas"), before, state, scale, form === "exact" ? 0 : maskBlock, stepBrackets(form, state), form === "exact" ? -1 : (state.columns[0] ?? -1));
  const height = find(".weights canvas").clientHeight;
  if (form === "exact") drawPerRow(find(".inverse canvas"), height, state);
  else drawShared(find(".inverse canvas"), height, state, same, form);
  drawErrors(find(".errors canvas"), forms, reached);
  const j = subscript((state.columns[0] ?? 0) + 1);
  const title = { exact: "H⁻¹ of each row, each its own: empty = gone", synchronized: `B = inverse of H for S${j}: one for all rows`, cholesky: "Factor U of H⁻¹: computed once, never updated" };
  find(".inverse figcaption").textContent = title[form];
  const counts = (other) => forms[other].slice(0, reached[other] + 1).map(pruned);
  const equal = counts("exact").findLast((count) => counts("synchronized").includes(count)); // at which they are compared
  const error = (other) => short(forms[other].findLast((one) => pruned(one) === equal).error);
  find(".errors figcaption").innerHTML = `At ${equal} pruned: <i class="first"></i> exact ${error("exact")}, <i class="second"></i> synchronized ${error("synchronized")}, <i class="target"></i> Cholesky ${error("cholesky")}`;
  const held = { exact: state.weight.length, synchronized: 1, cholesky: "1 factor" };
  fillTable(
    find(".cost table"),
    ["form", "inverses held", "updates of them", "numbers rewritten"],
    Object.keys(NAMES).map((other) => [NAMES[other], held[other], forms[other][reached[other]].updates, forms[other][reached[other]].entries]),
    NAMES[form],
  );
  describe(".weights", `Weights after step ${step}, ${done} of ${state.marks.flat().length} pruned. ` + state.weight.map((row, i) => `Row ${i + 1}: ${row.map((value, k) => (gone(state.marks[i][k]) ? state.marks[i][k] : fixed(value) + (state.marks[i][k] === "kept" ? "" : ` ${state.marks[i][k]}`))).join(", ")}`).join(". "));
  describe(".inverse", `${title[form]}. ${form === "exact" ? "" : `What step ${step} takes from it: ${same.B[state.columns[0] ?? 0].slice(state.columns[0] ?? 0).map(fixed).join(", ")}`}`);
  describe(".errors", `Error at ${equal} weights pruned: ${Object.keys(NAMES).map((other) => `${NAMES[other]} ${error(other)}`).join(", ")}`);
}
