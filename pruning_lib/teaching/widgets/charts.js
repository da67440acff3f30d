// Line charts on a canvas, and the element that a widget lives in.

import { axisTitles, compact, drawMark, sheet, strokes, superscript, tick, ticks, write } from "./canvas.js";

export const short = (x) => (x !== 0 && Math.abs(x) < 1e-3 ? x.toExponential(1) : compact(x)).replaceAll("-", "−");

/** Texts of the places on an axis: where three digits give two of them one text, as many as tell them apart. */
function labels(places) {
  const texts = places.map(short);
  const digits = [4, 5, 6].find((count) => new Set(places.map((at) => at.toPrecision(count))).size === places.length) ?? 6;
  return new Map(places.map((at, i) => [at, new Set(texts).size === texts.length ? texts[i] : String(Number(at.toPrecision(digits))).replaceAll("-", "−")]));
}

const power = (exponent) => `10${superscript(exponent)}`;

/** A canvas with axes and what to draw between them. `x` and `y` are [low, high], x also [high, low]; a list `names` puts names at 0, 1, … of x; `log` takes log10 of y, `logX` of x. Of a list `xTitle` the first text that has room is taken. `xTicks` and `yTicks`, lists of [place, text], stand in place of the usual ones. */
export function chart(canvas, height, { x, y, xTitle, yTitle, names, xTicks, yTicks, log = false, logX = false }) {
  const paper = sheet(canvas, height);
  const { g, ink } = paper;
  const [scaledX, scaled] = [logX ? x.map(Math.log10) : x, log ? y.map(Math.log10) : y];
  const texts = new Map(yTicks);
  const beside = yTicks ? [...texts.keys()] : ticks(scaled[0], scaled[1], Math.max(2, (height - 56) / 40)).filter((at) => !log || Number.isInteger(at));
  const plain = log ? new Map() : labels(beside);
  const label = (at) => texts.get(at) ?? (log ? power(at) : plain.get(at));
  const left = Math.max(62, 26 + Math.max(...beside.map((at) => g.measureText(label(at)).width)));
  const wide = paper.width - left - 12;
  const lower = names && Math.max(...names.map((name) => g.measureText(name).width)) + 3 > wide / Math.abs(scaledX[1] - scaledX[0]); // every other name goes a line deeper
  const deeper = lower && xTitle ? 12 : 0; // and so does the title
  const box = { left, top: 10, width: wide, height: height - 56 - deeper };
  const X = (value) => box.left + (box.width * ((logX ? Math.log10(value) : value) - scaledX[0])) / (scaledX[1] - scaledX[0]);
  const Y = (value) => box.top + box.height * (1 - ((log ? Math.log10(value) : value) - scaled[0]) / (scaled[1] - scaled[0]));
  g.globalAlpha = 0.5;
  g.strokeStyle = ink;
  g.strokeRect(box.left, box.top, box.width, box.height);
  g.globalAlpha = 1;
  const under = new Map(xTicks ?? names?.map((name, i) => [i, name]));
  const below = under.size ? [...under.keys()] : ticks(Math.min(...scaledX), Math.max(...scaledX), Math.max(2, box.width / 70));
  const plainX = logX || under.size ? new Map() : labels(below);
  const name = (at) => under.get(at) ?? (logX ? power(at) : plainX.get(at));
  for (const at of below) {
    const [place, top] = [X(logX ? 10 ** at : at), box.top + box.height + 1];
    const deep = lower && at % 2;
    if (!logX || Number.isInteger(at)) tick(paper, place, top, deep ? "" : name(at), "below");
    if (deep) g.fillText(name(at), place, top + 18);
  }
  for (const at of beside) tick(paper, box.left - 1, Y(log ? 10 ** at : at), label(at), "left");
  const titles = [xTitle].flat();
  const fits = (text) => g.measureText(text).width < 2 * (paper.width - left - wide / 2);
  axisTitles(paper, box, titles.find(fits) ?? titles.at(-1), yTitle, deeper);

  const inside = (action) => {
    g.save();
    g.beginPath();
    g.rect(box.left, box.top, box.width, box.height);
    g.clip();
    action();
    g.restore();
  };
  /** Lines as `strokes` draws them, in the chart's numbers. */
  function lines(lists, color, look) {
    const placed = lists.map((points) => points.map(([px, py]) => [X(px), Y(py)]));
    inside(() => strokes(g, placed, color, { ...look, join: "round" }));
  }
  const line = (points, ...look) => lines([points], ...look);
  const marker = ([px, py], color, look) => drawMark(g, X(px), Y(py), color, look);
  /** A bar from zero, filled or hollow, with lines of text beyond its end. */
  function bar(at, width, value, color, { texts = [], filled = true, dash = [] } = {}) {
    const [left, wide, top, high] = [X(at - width / 2), X(width) - X(0), Math.min(Y(0), Y(value)), Math.abs(Y(0) - Y(value))];
    g.save();
    Object.assign(g, { fillStyle: color, strokeStyle: color, lineWidth: 2 });
    if (filled) g.fillRect(left, top, wide, high);
    g.setLineDash(dash);
    g.strokeRect(left + 1, top, wide - 2, high);
    g.restore();
    const baseline = value < 0 ? "top" : "alphabetic";
    texts.forEach((text, k) => write(paper, text, X(at), value < 0 ? Y(value) + 6 + 14 * k : top - 5 - 14 * (texts.length - 1 - k), { baseline }));
  }
  return { ...paper, box, X, Y, inside, line, lines, marker, bar };
}

/** Moves a slider, writes `text` beside it and tells screen readers what it means. */
export function setSlider(slider, value, text, spoken = text) {
  slider.value = value;
  slider.nextElementSibling.textContent = text;
  slider.setAttribute("aria-valuetext", spoken);
}

/** Gives the keyboard to `other` if what has it in `root`, also in a hand-out's shadow tree, is disabled and would lose it. */
export function keepFocus(root, other) {
  const { activeElement } = root.getRootNode();
  if (root.contains(activeElement) && activeElement.disabled) other.focus();
}

/** How names such as stage1.0.conv1 are to be read. */
export function naming(names) {
  const parts = Math.max(...names.filter((name) => /^stage\d+\.\d/.test(name)).map((name) => name.split(".").length));
  return parts > 1 ? ` (${["stage", "block", "layer"].slice(0, parts).join(".")})` : "";
}

export const slider = (name, label) =>
  `<label class="slide">${label} <input class="${name}" type="range" min="0" step="1"><output></output></label>`;
export const list = (name, label, options = "") => `<label>${label} <select class="${name}">${options}</select></label>`;
const panel = ([name, caption]) => `<figure class="${name}"><figcaption>${caption}</figcaption><canvas role="img"></canvas></figure>`;

/**
 * The widget's element inside `el`, with the palette as CSS variables: the `controls`, a line of text, and of each of the
 * `panels` its caption and a canvas. Gives it as `root`; `find`, which selects in it; `describe`, which tells screen
 * readers what the canvas in a part of it shows.
 */
export function stage(el, name, controls, panels) {
  const root = document.createElement("div");
  root.className = `charts ${name}`;
  root.innerHTML = `
    <div class="controls">${controls}</div>
    <p role="status" aria-live="polite"></p>
    <div class="panels">${Object.entries(panels).map(panel).join("")}</div>`;
  el.append(root);
  for (const [key, color] of Object.entries(palette)) root.style.setProperty(`--${key}`, color);
  for (const control of root.querySelectorAll("input, select, button")) control.dataset.lmSuppressShortcuts = "true"; // else JupyterLab takes the keys
  const find = (selector) => root.querySelector(selector);
  const describe = (selector, text) => find(`${selector} canvas`).setAttribute("aria-label", text);
  return { root, find, describe };
}
