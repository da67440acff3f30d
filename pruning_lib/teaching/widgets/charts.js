// Line charts on a canvas, and the element that a widget lives in.

import { axisTitles, compact, sheet, tick, ticks } from "./canvas.js";

export const short = (x) => (x !== 0 && Math.abs(x) < 1e-3 ? x.toExponential(1) : compact(x)).replaceAll("-", "−");

const power = (exponent) => `10${[...String(exponent)].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c])).join("")}`;

/** A canvas with axes. `x` and `y` are [low, high]; a list `names` puts names at 0, 1, … of x; `log` takes log10 of y, `logX` of x. */
export function chart(canvas, height, { x, y, xTitle, yTitle, names, log = false, logX = false }) {
  const paper = sheet(canvas, height);
  const box = { left: 62, top: 10, width: paper.width - 74, height: height - 56 };
  const scaledX = logX ? x.map(Math.log10) : x;
  const X = (value) => box.left + (box.width * ((logX ? Math.log10(value) : value) - scaledX[0])) / (scaledX[1] - scaledX[0]);
  const scaled = log ? y.map(Math.log10) : y;
  const Y = (value) => box.top + box.height * (1 - ((log ? Math.log10(value) : value) - scaled[0]) / (scaled[1] - scaled[0]));
  const { g, ink } = paper;
  g.globalAlpha = 0.5;
  g.strokeStyle = ink;
  g.strokeRect(box.left, box.top, box.width, box.height);
  g.globalAlpha = 1;
  const below = names ? names.map((_, i) => i) : ticks(scaledX[0], scaledX[1], Math.max(2, box.width / 70));
  const label = names ? (at) => names[at] : logX ? power : short;
  const wide = () => names && Math.max(...names.map((name) => g.measureText(name).width)) + 3 > X(1) - X(0);
  const { font } = g;
  if (wide()) g.font = font.replace("12px", "10px");
  const lower = wide(); // still: every other name goes a line deeper
  for (const at of below) {
    const [left, top] = [X(logX ? 10 ** at : at), box.top + box.height + 1];
    const deep = lower && at % 2;
    if (!logX || Number.isInteger(at)) tick(paper, left, top, deep ? "" : label(at), "below");
    if (deep) g.fillText(label(at), left, top + 18);
  }
  g.font = font;
  for (const at of ticks(scaled[0], scaled[1], Math.max(2, box.height / 40)))
    if (!log || Number.isInteger(at)) tick(paper, box.left - 1, Y(log ? 10 ** at : at), log ? power(at) : short(at), "left");
  axisTitles(paper, box, xTitle, yTitle);

  const inside = (action) => {
    g.save();
    g.beginPath();
    g.rect(box.left, box.top, box.width, box.height);
    g.clip();
    action();
    g.restore();
  };
  /** A line through each of several lists of points, drawn as one; `dash` as in setLineDash. */
  function lines(lists, color, { width = 2, dash = [], alpha = 1 } = {}) {
    inside(() => {
      Object.assign(g, { strokeStyle: color, lineWidth: width, globalAlpha: alpha, lineJoin: "round" });
      g.setLineDash(dash);
      g.beginPath();
      for (const points of lists) points.forEach(([px, py], i) => (i ? g.lineTo(X(px), Y(py)) : g.moveTo(X(px), Y(py))));
      g.stroke();
    });
  }
  const line = (points, ...look) => lines([points], ...look);
  /** A marker: "circle", "square", "diamond" or "triangle", filled or empty. */
  function marker([px, py], color, { shape = "circle", size = 4, filled = true, alpha = 1 } = {}) {
    g.save();
    Object.assign(g, { strokeStyle: color, fillStyle: color, lineWidth: 2, globalAlpha: alpha });
    g.translate(X(px), Y(py));
    g.beginPath();
    if (shape === "circle") g.arc(0, 0, size, 0, 2 * Math.PI);
    else if (shape === "triangle") {
      for (const turn of [-90, 30, 150]) g.lineTo(1.2 * size * Math.cos((turn * Math.PI) / 180), 1.2 * size * Math.sin((turn * Math.PI) / 180));
      g.closePath();
    } else {
      if (shape === "diamond") g.rotate(Math.PI / 4);
      g.rect(-size * 0.9, -size * 0.9, size * 1.8, size * 1.8);
    }
    if (filled) g.fill();
    g.stroke();
    g.restore();
  }
  return { ...paper, box, X, Y, inside, line, lines, marker };
}

/** The widget's element inside `el`, with the page's text and the palette as CSS variables. */
export function stage(el, name, page) {
  const root = document.createElement("div");
  root.className = `charts ${name}`;
  root.innerHTML = page;
  el.append(root);
  for (const [key, color] of Object.entries()) root.style.setProperty(`--${key}`, color);
  for (const control of root.querySelectorAll("input, select, button")) control.dataset.lmSuppressShortcuts = "true"; // else JupyterLab takes the keys
  return root;
}
