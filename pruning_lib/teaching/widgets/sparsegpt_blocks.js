// The view "block by block" of the SparseGPT stepper: GPT-8 as it runs, and what being lazy saves.

import { number, rectangle, setFont, sheet, subscript } from "./canvas.js";
import { chart, short } from "./charts.js";
import { digits, drawWeights, fillTable, label, largest, pruningRows, thinLine, wrapped, x } from "./sparsegpt_drawing.js";
import { traffic } from "./sparsegpt_layer.js";

const REAL = { rows: 4096, columns: 4096, block: 128 };
export const BLOCK_PANELS = {
  moving: `<b>W</b>: <span class="key"><i class="kept"></i> kept</span>, <span class="key"><i class="frozen"></i> frozen</span>, <span class="key"><i class="moved"></i> updated now (±)</span>, <span class="key"><i class="waits"></i> waits</span>,
    <span class="key"><i class="now"></i> pruned now</span>, <span class="key"><i class="planned"></i> goes later</span>, <span class="key"><i class="pruned"></i> pruned</span>`,
  factor: "",
  bytes: `Bytes of weights read and written: <i class="second"></i> eager, <i class="first"></i> lazy`,
  traffic: "What being lazy saves (float32; each update reads a weight and writes it)",
};

const from = (columns, start, end) => (end - start > 1 ? `${x(start)} to ${x(end - 1)}` : x(start));

function blockStory({ phase, at, start, end, marks }, step, last, maskBlock) {
  const [rows, columns] = [marks.length, marks[0].length];
  const head = `Step ${step} of ${last}`;
  const block = `block ${start / maskBlock + 1}`;
  if (phase === "start") return `Start: the factor U of H⁻¹ is there. Now come blocks of ${maskBlock} columns: a mask, the columns one by one, and one update for all that lies to the right.`;
  if (phase === "mask") return `${head}, the mask of ${block}: of its ${rows * (end - start)} weights, as they are by now, those with the smallest w²/Uⱼⱼ² are to go (dotted).`;
  if (phase === "lazy")
    return `${head}, the lazy update: all that ${from(columns, end, columns)} still owe to ${block} comes in one matrix product, W ← W − E·U (E: the errors kept), in place of ${end - start} updates.`;
  const hit = pruningRows(marks, at);
  const who = hit ? `${hit} prune${hit.startsWith("rows") ? "" : "s"} it` : "no row prunes it";
  const inside = at + 1 < end ? `only ${from(columns, at + 1, end)}, the rest of the block, move${end - at > 2 ? "" : "s"} at once` : "nothing of the block is left to move";
  const rest = end < columns ? ` ${from(columns, end, columns)} wait${columns - end > 1 ? "" : "s"}: the errors w/Uⱼⱼ are kept for them, as column ${at - start + 1} of E.` : " It is the last block: nothing waits.";
  return `${head}, ${x(at)}: ${who}; ${inside}.${rest}`;
}

function blockBrackets({ phase, at, start, end, marks }) {
  const columns = marks[0].length;
  const frozen = (to) => [0, to, ["frozen", ""], palette.kept];
  if (phase === "start") return [[0, columns, ["as given"], palette.kept]];
  if (phase === "mask") return [frozen(start), [start, end, ["its mask is chosen", "mask"], palette.accent], [end, columns, ["up to date", ""], palette.kept]];
  if (phase === "lazy") return [frozen(end), [end, columns, ["all updated, once", "updated"], palette.updated]];
  return [frozen(at), [at, end, ["updated at once", "at once", "now", ""], palette.updated], [end, columns, ["wait for the block", "wait"], palette.muted]];
}

/** U, and which part of it the step reads. */
function drawFactor(canvas, height, { phase, at, start, end, U }) {
  const c = sheet(canvas, height);
  const n = U.length;
  const left = 30;
  const wide = Math.min(54, (c.width - left - 2) / n);
  const high = Math.min(44, (height - 90) / n);
  const [scale, thin, size] = [largest(U), thinLine(c), Math.max(12, Math.min(14, wide / 3.7))];
  const read = (i, k) =>
    ({ mask: i === k && i >= start && i < end, column: i === at && k >= at && k < end, lazy: i >= start && i < end && k >= end })[phase] ?? false;
  const color = phase === "mask" ? palette.accent : palette.updated;
  for (let i = 0; i < n; i++) {
    label(c, x(i), left + (i + 0.5) * wide, 11);
    label(c, x(i), left - 8, 22 + (i + 0.5) * high, { align: "right" });
    for (let k = i; k < n; k++) {
      const style = { fill: palette.muted, alpha: 0.08 + (0.5 * Math.abs(U[i][k])) / scale, line: thin };
      if (read(i, k)) Object.assign(style, { line: color, thick: 2.5 });
      rectangle(c.g, left + k * wide + 1, 23 + i * high, wide - 2, high - 2, style);
      setFont(c.g, size);
      label(c, digits(c.g, U[i][k], wide - 2), left + (k + 0.5) * wide, 22 + (i + 0.5) * high, { size });
    }
  }
  const words = {
    start: "Nothing is read yet.",
    mask: "framed: the diagonal of the block. Squared, it divides w² in the scores.",
    column: `framed: row ${at + 1} up to the end of the block. U${subscript(at + 1)} times −E moves the weights there.`,
    lazy: "framed: the rows of the block, right of it. E times this part is the lazy update.",
  };
  wrapped(c, words[phase]).forEach((text, k) => label(c, text, 0, 40 + n * high + 20 * k, { align: "left" }));
}

const gigabytes = (bytes) => (bytes < 1e6 ? number(bytes) : `${short(bytes / 1e9)} GB`);

/** The state `step` of the blocks: text, weights, the factor, and the bytes moved so far. */
export function drawBlocks({ find, describe }, { blocks, step, last, maskBlock }) {
  const [state, before, ends] = [blocks[step], blocks[Math.max(step - 1, 0)], blocks.at(-1)];
  const scale = largest(blocks.map(({ weight }) => weight)) || 1;
  find("p").textContent = blockStory(state, step, last, maskBlock);
  drawWeights(find(".moving canvas"), before, state, scale, maskBlock, blockBrackets(state), state.at);
  drawFactor(find(".factor canvas"), find(".moving canvas").clientHeight, state);

  const c = chart(find(".bytes canvas"), 165, { x: [0, last], y: [0, 1.08 * ends.moved.eager], xTitle: "step", yTitle: "bytes moved" });
  for (const [kind, color, dash] of [["eager", "updated", [6, 4]], ["lazy", "kept", []]]) {
    const points = blocks.map(({ moved }, k) => [k, moved[kind]]);
    c.line(points, palette[color], { dash, alpha: 0.3 });
    c.line(points.slice(0, step + 1), palette[color], { dash });
    c.marker(points[step], palette[color], { shape: kind === "eager" ? "square" : "circle", size: 5 });
  }
  find(".factor figcaption").textContent = { start: "U, the factor of H⁻¹", mask: "U: its diagonal gives the scores", column: `U: row ${state.at + 1}, inside the block`, lazy: "U: what lies right of the block" }[state.phase]; // after the last canvas: each asks for its width
  const large = traffic(REAL.rows, REAL.columns, REAL.block);
  const row = (kind, name) => [name, gigabytes(state.moved[kind]), gigabytes(ends.moved[kind]), gigabytes(large[kind])];
  fillTable(
    find(".traffic table"),
    ["updates", "bytes so far", "bytes in the end", `${number(REAL.rows)} × ${number(REAL.columns)}, blocks of ${REAL.block}`],
    [row("eager", "eager: all at once"), row("lazy", "lazy: by block"), ["eager / lazy", ...[state.moved, ends.moved, large].map(({ eager, lazy }) => (lazy ? `${short(eager / lazy)} ×` : "–"))]],
    "lazy: by block",
  );
  const spokenRow = (marks, i) => `Row ${i + 1}: ${marks.map((mark, k) => (["pruned", "now"].includes(mark) ? mark : `${short(state.weight[i][k])} ${mark}`)).join(", ")}`;
  describe(".moving", `Weights after step ${step}. ${state.marks.map(spokenRow).join(". ")}`);
  describe(".factor", `Upper triangular factor U of ${state.U.length} rows; ${find(".factor figcaption").textContent}`);
  describe(".bytes", `Bytes moved after step ${step}: eager ${state.moved.eager}, lazy ${state.moved.lazy}; in the end ${ends.moved.eager} and ${ends.moved.lazy}`);
}
