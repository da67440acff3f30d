// What every drawing needs: numbers as text, a sharp sheet in the theme's colors, axes.

export const number = (x) => x.toLocaleString("en-US");
export const percent = (share) => `${(100 * share).toFixed(1)} %`;
export const compact = (x) => String(Number(x.toPrecision(3)));

export function ticks(low, high, wanted) {
  const rough = (high - low) / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
  const result = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) result.push(i * step);
  return result;
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
  g.font = `12px ${style.fontFamily}`;
  g.lineWidth = 1;
  const dark = Number(style.color.match(/[\d.]+/)) > 128; // light ink: a dark page
  return { g, width, height, dark, ink: style.color };
}

/** A line through `points`; `dash` as in setLineDash. */
export function stroke(g, points, color, { width = 2, dash = [], alpha = 1, closed = false } = {}) {
  g.save();
  Object.assign(g, { strokeStyle: color, lineWidth: width, globalAlpha: alpha });
  g.setLineDash(dash);
  g.beginPath();
  for (const point of points) g.lineTo(...point);
  if (closed) g.closePath();
  g.stroke();
  g.restore();
}

export function axisTitles({ g, ink }, box, x, y) {
  g.fillStyle = ink;
  g.textAlign = "center";
  g.textBaseline = "alphabetic";
  g.fillText(x, box.left + box.width / 2, box.top + box.height + 33);
  g.save();
  g.translate(11, box.top + box.height / 2);
  g.rotate(-Math.PI / 2);
  g.fillText(y, 0, 0);
  g.restore();
}

export function tick({ g, ink }, x, y, text, side) {
  const left = side === "left";
  stroke(g, [[x, y], left ? [x - 4, y] : [x, y + 4]], ink, { width: 1 });
  Object.assign(g, { fillStyle: ink, textAlign: left ? "right" : "center", textBaseline: left ? "middle" : "top" });
  g.fillText(text, left ? x - 6 : x, left ? y : y + 6);
}

export const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
