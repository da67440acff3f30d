// What the SparseGPT stepper draws: weights, inverses or the factor, errors, tables.

import { rectangle, setFont, sheet, stroke, subscript, write } from "./canvas.js";
import { chart } from "./charts.js";

const STYLES = { exact: ["kept", "circle", []], synchronized: ["updated", "square", []], cholesky: ["good", "diamond", [2, 4]] };

export const x = (column) => `x${subscript(column + 1)}`;
export const fixed = (value) => value.toFixed(2).replace(/^-0\.00$/, "0.00").replace("-", "−");
const signed = (value) => (value > 0 && !fixed(value).startsWith("−") ? "+" : "") + fixed(value);
export const gone = (mark) => mark === "now" || mark === "pruned";
export const pruned = (state) => state.marks.flat().filter(gone).length;
export const largest = (values) => Math.max(...values.flat(3).map(Math.abs));

/** "rows 3, 4 and 5": those that prune their weight of a column now; "" for none. */
export function pruningRows(marks, column) {
  const found = [...marks.keys()].filter((i) => marks[i][column] === "now").map((i) => i + 1);
  return found.length > 1 ? `rows ${found.slice(0, -1).join(", ")} and ${found.at(-1)}` : found.map((row) => `row ${row}`).join("");
}

export function label(c, text, left, top, { size = 13, bold = false, ...look } = {}) {
  setFont(c.g, size, bold);
  write(c, text, left, top, look);
}

/** The lines of a text that is as wide as the sheet at most. */
export function wrapped({ g, width }, text) {
  setFont(g, 13);
  const lines = [""];
  for (const word of text.split(" ")) {
    const longer = `${lines.at(-1)} ${word}`.trim();
    if (g.measureText(longer).width <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

/** For what is only a place: as in the palette, but dim on a dark page. */
export const thinLine = ({ dark }) => (dark ? `${palette.pruned}50` : palette.pruned);

/** A line over or under some columns, and the first of the `texts` that has room there. */
function bracket(c, left, right, y, turn, texts, color, bold) {
  stroke(c.g, [[left, y + 5 * turn], [left, y], [right, y], [right, y + 5 * turn]], color);
  setFont(c.g, 13, bold);
  const text = texts.find((one) => c.g.measureText(one).width < right - left + 6) ?? texts.at(-1);
  label(c, text, (left + right) / 2, y - 10 * turn, { bold });
}

const fitting = (g, texts, room) => texts.find((text) => g.measureText(text).width <= room) ?? "";
const bare = (text) => text.replace("0.", "."); // −.25

/** A number with as many digits, two at most, as the room leaves. */
export const digits = (g, value, room) => fitting(g, [fixed(value), bare(fixed(value)), value.toFixed(1).replace("-", "−")], room);

/** Font of numbers in cells of a width, and the room that they have there. */
const cellFont = (wide) => ({ size: Math.max(12, Math.min(15, wide / 3.9)), small: 12, room: wide - 4 });

/**
 * W after a step, beside what it was before it. `over` says what is written over the columns: of each bracket its first
 * column, the one after its last, texts of which the first that fits is taken, and a color; `current` is the column at work. Without a `maskBlock` there are none below.
 */
export function drawWeights(canvas, before, state, scale, maskBlock, over, current = -1) {
  const [rows, columns] = [state.weight.length, state.weight[0].length];
  const narrow = canvas.parentElement.clientWidth < 420;
  const [left, top, high, pitch] = [narrow ? 20 : 46, 56, 34, 46];
  const c = sheet(canvas, top + rows * pitch + 28);
  const { g, width } = c;
  const wide = Math.min(66, (width - left - 4) / columns);
  const { size, small, room } = cellFont(wide);
  const thin = thinLine(c);
  const center = (column) => left + (column + 0.5) * wide;
  for (let k = 0; k < columns; k++) label(c, k === current && !narrow ? `▼ ${x(k)}` : x(k), center(k), top - 13, { size: 14, bold: k === current });
  for (const [from, to, texts, color] of over) if (to > from) bracket(c, left + from * wide + 3, left + to * wide - 3, 22, 1, texts, color);
  const inside = Math.max(current, state.start ?? 0, 0);
  for (let start = 0; maskBlock && start < columns; start += maskBlock) {
    const end = Math.min(start + maskBlock, columns);
    const here = inside >= start && inside < end;
    bracket(c, left + start * wide + 3, left + end * wide - 3, top + rows * pitch + 2, -1, ["mask block", ""], here ? palette.accent : thin, here);
  }
  if (current >= 0) rectangle(g, left + current * wide - 1, top - 4, wide + 2, rows * pitch - 6, { line: palette.accent, thick: 1.5, dash: [5, 4] });
  state.marks.forEach((marks, i) => {
    const y = top + i * pitch;
    label(c, narrow ? String(i + 1) : `row ${i + 1}`, left - 8, y + high / 2, { align: "right" });
    marks.forEach((mark, k) => {
      const [value, old, middle] = [state.weight[i][k], before.weight[i][k], center(k)];
      const square = [left + k * wide + 2, y, wide - 4, high];
      const fill = { fill: palette.kept, alpha: Math.min(1, Math.abs(value) / scale) * 0.6 };
      const outline = {
        kept: { ...fill, line: thin },
        waits: { ...fill, line: palette.updated, thick: 1.5, dash: [6, 4] },
        frozen: { ...fill, line: palette.kept, thick: 2.5 },
        moved: { ...fill, line: palette.updated, thick: 2.5 },
        now: { line: palette.accent, thick: 2.5 },
        pruned: { line: thin },
      }[mark];
      rectangle(g, ...square, state.planned[i][k] ? { ...outline, line: palette.accent, thick: 2, dash: [2, 3] } : outline);
      setFont(g, size);
      const text = digits(g, value, room);
      if (mark === "now") {
        const was = digits(g, old, room);
        label(c, was, middle, y + high * 0.33, { size });
        const half = g.measureText(was).width / 2;
        stroke(g, [[middle - half, y + high * 0.33 + 6], [middle + half, y + high * 0.33 - 6]], palette.accent);
        label(c, "→ 0", middle, y + high * 0.74, { size: small });
      } else if (mark === "moved") {
        label(c, text, middle, y + high * 0.33, { size });
        setFont(g, small);
        const change = fitting(g, [signed(value - old), bare(signed(value - old))], wide - 3);
        label(c, change, middle, y + high * 0.74, { size: small });
      } else if (mark !== "pruned") label(c, text, middle, y + high / 2, { size });
    });
    const [source, targets] = [marks.indexOf("now"), [...marks.keys()].filter((k) => marks[k] === "moved")];
    if (source >= 0 && targets.length) drawArrows(g, center, source, targets, y + high);
  });
}

/** From the error of the weight that goes to those that make up for it. */
function drawArrows(g, center, source, targets, y) {
  const ends = [source, ...targets].map(center);
  stroke(g, [[center(source), y], [center(source), y + 9]], palette.updated);
  stroke(g, [[Math.min(...ends), y + 9], [Math.max(...ends), y + 9]], palette.updated);
  g.fillStyle = palette.updated;
  for (const k of targets) {
    g.beginPath();
    g.moveTo(center(k) - 4.5, y + 8.5);
    g.lineTo(center(k) + 4.5, y + 8.5);
    g.lineTo(center(k), y + 1);
    g.fill();
  }
}

/** B = (H_{S_j})⁻¹ as it shrinks, or the factor that stays, and below them what step j takes from each. */
export function drawShared(canvas, height, state, same, form) {
  const c = sheet(canvas, height);
  const [{ g, width }, matrix, from] = [c, state.inverses[0], state.columns[0] ?? 0];
  const n = matrix.length;
  const left = 30;
  const wide = Math.min(54, (width - left - 2) / n);
  const [started, factor, scale] = [state.columns.length > 0, form === "cholesky", largest(state.inverses)];
  const rest = n - from - 1;
  const note = wrapped({ g, width: width - left }, started && rest && !factor ? "blue dashes: what stays for the next step, after subtracting column 1 · row 1 ÷ first entry (GPT-7)" : "");
  const high = Math.min(36, (height - 142 - 18 * Math.max(0, note.length - 2)) / n);
  const [size, thin] = [Math.max(12, Math.min(14, wide / 3.7)), thinLine(c)];
  const cell = (row, k, y, value, style) => {
    rectangle(g, left + k * wide + 1, y + 1, wide - 2, (row < 0 ? 26 : high) - 2, style);
    setFont(g, size);
    if (value !== null) label(c, digits(g, value, wide - 2), left + (k + 0.5) * wide, y + (row < 0 ? 26 : high) / 2, { size });
  };
  for (let i = 0; i < n; i++) {
    label(c, x(i), left + (i + 0.5) * wide, 11);
    label(c, x(i), left - 8, 22 + (i + 0.5) * high, { align: "right" });
    for (let k = 0; k < n; k++) {
      const there = factor ? k >= i : i >= from && k >= from;
      const used = started && i === from && k >= from;
      const style = there ? { fill: palette.muted, alpha: 0.08 + (0.5 * Math.abs(matrix[i][k])) / scale, line: thin } : {};
      if (!there && !factor) style.line = thin;
      if (used) Object.assign(style, { line: k === from ? palette.accent : palette.updated, thick: 2.5 });
      cell(i, k, 22 + i * high, there ? matrix[i][k] : null, style);
    }
  }
  if (started && rest) rectangle(g, left + (from + 1) * wide - 1, 22 + (from + 1) * high - 1, rest * wide + 2, rest * high + 2, { line: palette.kept, thick: 2, dash: [6, 4] });
  const y = 22 + n * high;
  const strips = [[`row 1 of B ÷ its first entry, B₁₁ = ${fixed(same.B[from][from])}`, same.B]];
  if (factor) strips.push([`row ${from + 1} of U ÷ U${subscript(from + 1)}${subscript(from + 1)} = ${fixed(same.U[from][from])}: the same`, same.U]);
  strips.forEach(([text, source], k) => {
    label(c, text, left, y + 20 + 52 * k, { align: "left" });
    for (let column = from; column < n; column++)
      cell(-1, column, y + 30 + 52 * k, source[from][column] / source[from][from], { line: palette.updated, thick: 2 });
  });
  note.forEach((text, k) => label(c, text, left, y + 76 + 18 * k, { align: "left" }));
}

/** One small inverse for each row of W: squares only, the darker the larger. */
export function drawPerRow(canvas, height, state) {
  const c = sheet(canvas, height);
  const [rows, scale] = [state.inverses.length, largest(state.inverses)];
  const across = rows <= 4 ? 2 : rows <= 6 ? 3 : 4;
  const down = Math.ceil(rows / across);
  const notes = state.columns.length
    ? ["orange: what corrects the row; framed: d, its price", "after the step this row and column go: other rows, other inverses"]
    : ["all alike still: no row has lost a weight"];
  const lines = notes.flatMap((text) => wrapped(c, text));
  const side = Math.min((c.width - 14 * (across - 1)) / across, (height - 26 - 20 * Math.max(2, lines.length)) / down - 34);
  state.inverses.forEach((inverse, i) => {
    const [left, top] = [(i % across) * (side + 14), Math.floor(i / across) * (side + 38) + 24];
    const unit = side / inverse.length;
    const q = state.columns[i];
    label(c, q === undefined ? `row ${i + 1}` : `row ${i + 1}: ${x(q)} goes`, left, top - 11, { align: "left", size: side > 110 ? 13 : 12 });
    inverse.forEach((line, a) =>
      line.forEach((value, b) => {
        const there = inverse[a][a] > 0 && inverse[b][b] > 0;
        const fill = there ? { fill: palette.muted, alpha: 0.12 + (0.85 * Math.abs(value)) / scale } : {};
        rectangle(c.g, left + b * unit + 0.5, top + a * unit + 0.5, unit - 1, unit - 1, fill);
      }),
    );
    rectangle(c.g, left, top, side, side, { line: thinLine(c) });
    if (q === undefined) return;
    rectangle(c.g, left, top + q * unit, side, unit, { line: palette.updated, thick: 2.5 });
    rectangle(c.g, left + q * unit, top + q * unit, unit, unit, { line: palette.accent, thick: 2.5 });
  });
  lines.forEach((text, k) => label(c, text, 0, down * (side + 38) + 10 + 20 * k, { align: "left" }));
}

export function drawErrors(canvas, states, reached) {
  const ends = Object.values(states).map((form) => form[form.length - 1]);
  const [total, most] = [pruned(ends[0]), Math.max(...ends.map(({ error }) => error))];
  const c = chart(canvas, 165, { x: [0, 1.03 * (total || 1)], y: [0, 1.08 * (most || 1)], xTitle: "weights pruned", yTitle: "error of WX, squared" });
  for (const [form, [color, shape, dash]] of Object.entries(STYLES)) {
    const points = states[form].slice(0, reached[form] + 1).map((state) => [pruned(state), state.error]);
    c.line(points, palette[color], { dash });
    for (const point of points) c.marker(point, palette[color], { shape, size: form === "cholesky" ? 5 : 3.5, filled: form !== "cholesky" });
  }
}

/** A table of a name and some values in each row; the row `current` stands out. */
export function fillTable(table, heads, rows, current) {
  const head = heads.map((name) => `<th scope="col">${name}</th>`).join("");
  const line = ([name, ...values]) =>
    `<tr${name === current ? ' aria-current="true"' : ""}><th scope="row">${name}</th>${values.map((value) => `<td>${value}</td>`).join("")}</tr>`;
  table.innerHTML = `<thead><tr>${head}</tr></thead><tbody>${rows.map(line).join("")}</tbody>`;
}
