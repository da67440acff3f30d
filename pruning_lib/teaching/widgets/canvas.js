// What every drawing needs: numbers as text, a sharp sheet in the theme's colors, axes.

export const number = (x) => x.toLocaleString("en-US");
export const percent = (share) => `${(100 * share).toFixed(1)} %`;
export const compact = (x) => String(Number(x.toPrecision(3)));

const inDigits = (digits) => (n) => [...String(n)].map((c) => (c === "-" ? digits[10] : digits[c])).join("");
export const subscript = inDigits("₀₁₂₃₄₅₆₇₈₉₋");
export const superscript = inDigits("⁰¹²³⁴⁵⁶⁷⁸⁹⁻");

export function ticks(low, high, wanted) {
  const rough = (high - low) / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
  const result = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) result.push(i * step);
  return result.length > 1 || wanted > 20 ? result : ticks(low, high, 2 * wanted); // one alone gives no scale
}

/** A cleared canvas of the given height in CSS pixels, sharp on any screen: its context, its size and the theme's colors. */
export function sheet(canvas, height) {
  const width = canvas.parentElement.clientWidth;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.height = `${height}px`;
  const style = getComputedStyle(canvas);
  const g = canvas.getContext("2d");
  g.scale(ratio, ratio);
  g.family = style.fontFamily;
  setFont(g, 12);
  g.lineWidth = 1;
  const dark = Number(style.color.match(/[\d.]+/)) > 128; // light ink: a dark page
  return { g, width, height, dark, ink: style.color };
}

/** A line through each of several lists of points, drawn as one; `dash` as in setLineDash. */
export function strokes(g, lists, color, { width = 2, dash = [], alpha = 1, closed = false, join = "miter" } = {}) {
  g.save();
  Object.assign(g, { strokeStyle: color, lineWidth: width, globalAlpha: alpha, lineJoin: join });
  g.setLineDash(dash);
  g.beginPath();
  for (const points of lists) points.forEach((point, i) => (i ? g.lineTo(...point) : g.moveTo(...point)));
  if (closed) g.closePath();
  g.stroke();
  g.restore();
}

export const stroke = (g, points, ...look) => strokes(g, [points], ...look);

/** A rectangle, filled or outlined within its edges, or both. */
export function rectangle(g, left, top, width, height, { fill, alpha = 1, line, thick = 1, dash = [] }) {
  if (fill) {
    g.save();
    Object.assign(g, { fillStyle: fill, globalAlpha: alpha * g.globalAlpha });
    g.fillRect(left, top, width, height);
    g.restore();
  }
  if (!line) return;
  g.save();
  Object.assign(g, { strokeStyle: line, lineWidth: thick });
  g.setLineDash(dash);
  g.strokeRect(left + thick / 2, top + thick / 2, width - thick, height - thick);
  g.restore();
}

/** A marker: "circle", "square", "diamond", "triangle", "down" (a triangle on its tip) or "plus", filled or empty, or filled with the color `inside`. */
export function drawMark(g, x, y, color, { shape = "circle", size = 4, filled = true, inside = filled && color, alpha = 1 } = {}) {
  g.save();
  Object.assign(g, { strokeStyle: color, fillStyle: inside, lineWidth: 2, globalAlpha: alpha });
  g.translate(x, y);
  g.beginPath();
  if (shape === "circle") g.arc(0, 0, size, 0, 2 * Math.PI);
  else if (shape === "triangle" || shape === "down") {
    const up = shape === "down" ? -1.2 * size : 1.2 * size;
    for (const turn of [-90, 30, 150]) g.lineTo(1.2 * size * Math.cos((turn * Math.PI) / 180), up * Math.sin((turn * Math.PI) / 180));
    g.closePath();
  } else if (shape === "plus") {
    g.rect(-size * 1.2, -size * 0.35, size * 2.4, size * 0.7);
    g.rect(-size * 0.35, -size * 1.2, size * 0.7, size * 2.4);
  } else {
    if (shape === "diamond") g.rotate(Math.PI / 4);
    g.rect(-size * 0.9, -size * 0.9, size * 1.8, size * 1.8);
  }
  if (inside) g.fill();
  g.stroke();
  g.restore();
}

/** Of a sheet's context; to read `font` back and to change it costs more than to write. */
export const setFont = (g, size, bold) => (g.font = `${bold ? "bold " : ""}${size}px ${g.family}`);

export function write({ g, ink }, text, x, y, { align = "center", baseline = "middle", color = ink } = {}) {
  Object.assign(g, { fillStyle: color, textAlign: align, textBaseline: baseline });
  g.fillText(text, x, y);
}

export const pageOf = (canvas) => getComputedStyle(canvas.closest(".charts")).backgroundColor;

/** Text that is read over lines too. */
export function halo(paper, text, x, y, page) {
  Object.assign(paper.g, { strokeStyle: page, lineWidth: 4, lineJoin: "round", textAlign: "center", textBaseline: "middle" });
  paper.g.strokeText(text, x, y);
  write(paper, text, x, y);
}

export function axisTitles(paper, box, x, y, deeper = 0) {
  const { g } = paper;
  write(paper, x, box.left + box.width / 2, box.top + box.height + 33 + deeper, { baseline: "alphabetic" });
  g.save();
  g.translate(11, box.top + box.height / 2);
  g.rotate(-Math.PI / 2);
  write(paper, y, 0, 0, { baseline: "alphabetic" });
  g.restore();
}

export function tick(paper, x, y, text, side) {
  const left = side === "left";
  stroke(paper.g, [[x, y], left ? [x - 4, y] : [x, y + 4]], paper.ink, { width: 1 });
  if (left) write(paper, text, x - 6, y, { align: "right" });
  else write(paper, text, x, y + 6, { baseline: "top" });
}

export const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
