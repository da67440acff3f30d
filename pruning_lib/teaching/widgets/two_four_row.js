// A row of groups of four, packed: values, nibbles, metadata words, and where tensor cores find them.

import { rectangle, setFont, sheet, write } from "./canvas.js";
import { short } from "./charts.js";

const [GROUPS_PER_WORD, ROWS] = [4, 32]; // of a 16-bit word; of the smallest matrix whose words can be ordered

export const binary = (n, digits) => n.toString(2).padStart(digits, "0");
export const hex = (word) => `0x${word.toString(16).toUpperCase().padStart(4, "0")}`;

/** The words of a row's nibbles, four in each, the first group lowest. */
export const wordsOf = (nibbles) =>
  Array.from({ length: nibbles.length / GROUPS_PER_WORD }, (_, w) => nibbles.slice(4 * w, 4 * w + 4).reduce((word, nibble, g) => word | (nibble << (4 * g)), 0));

/** Where word 0 or 1 of a row, 0 to 31, lies after `reorder`: in which 32-bit load, and in its lower (0) or upper (1) half. */
export function loadOf(row, word) {
  const [part, eighth] = [row >> 3, row & 7];
  return { load: 4 * eighth + 2 * (part >> 1) + word, half: part & 1 };
}

/** Where the group under the pointer stands; −1 beside them. */
export function groupAt(canvas, event, count, words) {
  const { perLine, wide, pitch } = layout(canvas.clientWidth, count, words);
  const box = canvas.getBoundingClientRect();
  const [line, place] = [Math.floor((event.clientY - box.top) / pitch), Math.floor((event.clientX - box.left) / wide)];
  return place >= 0 && place < perLine && line >= 0 && line * perLine + place < count ? line * perLine + place : -1;
}

function layout(width, count, words) {
  const perLine = width >= 420 ? 4 : 2;
  return { perLine, wide: width / perLine, pitch: words && perLine === 4 ? 106 : 82, lines: count / perLine };
}

/** The whole row: of each group its four weights, the two that are stored, its nibble; and the words, if given. */
export function drawRow(canvas, groups, words, chosen) {
  const { perLine, wide, pitch, lines } = layout(canvas.parentElement.clientWidth, groups.length, words.length > 0);
  const c = sheet(canvas, lines * pitch + (perLine === 4 ? 0 : 22 * words.length));
  const { g } = c;
  groups.forEach(({ weights, stored, values, nibble }, k) => {
    const [left, top] = [(k % perLine) * wide + 4, Math.floor(k / perLine) * pitch + 4];
    const cell = (wide - 8) / 4;
    if (k === chosen) rectangle(g, left - 3, top - 3, wide - 2, 72, { line: palette.accent, thick: 2 });
    weights.forEach((weight, i) => {
      const style = stored[i] ? { fill: palette.kept, alpha: 0.35, line: palette.kept, thick: 2 } : { line: palette.muted, dash: [4, 3] };
      rectangle(g, left + i * cell + 1, top, cell - 2, 28, style);
      setFont(g, cell < 40 ? 12 : 13);
      write(c, short(weight), left + (i + 0.5) * cell, top + 14);
    });
    setFont(g, 12);
    write(c, values.map(short).join("   "), left + 2 * cell, top + 39);
    write(c, binary(nibble, 4), left + 2 * cell, top + 55);
  });
  setFont(g, 13);
  words.forEach((word, w) => {
    const bits = [3, 2, 1, 0].map((k) => binary((word >> (4 * k)) & 15, 4)).join(" ");
    const y = perLine === 4 ? w * pitch + 90 : lines * pitch + 10 + 20 * w;
    write(c, `word ${w}: ${bits} = ${hex(word)}${perLine === 4 ? "   (the first group's nibble stands last: it is the lowest)" : ""}`, 4, y, { align: "left" });
  });
}

/** The metadata of 32 such rows in memory: 32-bit loads, each with one word of two rows; those of `row` stand out. */
export function drawLoads(canvas, row, words) {
  const narrow = canvas.parentElement.clientWidth < 340;
  const c = sheet(canvas, 44 + 8 * 25 + 4);
  const { g, width } = c;
  const left = narrow ? 2 : 52;
  const wide = (width - left - 2) / 4;
  setFont(g, 12);
  if (!narrow) write(c, "loads", left - 6, 27, { align: "right" });
  for (let k = 0; k < 4; k++) {
    write(c, `rows ${k < 2 ? "0–15" : "16–31"}`, left + (k + 0.5) * wide, 9);
    write(c, `word ${k % 2}`, left + (k + 0.5) * wide, 27);
  }
  for (let i = 0; i < ROWS; i++)
    for (const w of [0, 1]) {
      const { load, half } = loadOf(i, w);
      const [x, y] = [left + (load % 4) * wide + 2, 40 + Math.floor(load / 4) * 25];
      const here = i === row;
      const box = [x + half * (wide / 2 - 2), y, wide / 2 - 2, 22];
      rectangle(g, ...box, here ? { fill: palette.updated, alpha: 0.35, line: palette.updated, thick: 2.5 } : { line: palette.muted });
      setFont(g, 12, here);
      write(c, here && wide > 150 ? `${i}: ${hex(words[w])}` : String(i), box[0] + box[2] / 2, y + 11.5);
      if (!narrow && load % 4 === 0 && half === 0) {
        setFont(g, 12);
        write(c, `${load}–${load + 3}`, left - 6, y + 11.5, { align: "right" });
      }
    }
}
