// Sparsity explorer, drawn as fast as the slider moves: the choice is made here, so no message to a kernel is waited for.
// The page only has to give a model with get, set, on and save_changes; without a kernel a small stub will do.

import { axisTitles, compact, number, percent, rectangle, rgb, setFont, sheet, stroke, tick, ticks, write } from "./canvas.js";
import { list, setSlider, slider, stage } from "./charts.js";
import { follow } from "./redraw.js";
import { chooser, parseNOfM, unpack } from "./sparsity_choice.js";

const SMALLEST_CELL = 2; // CSS pixels; below that several weights share a cell
const BAR = 22; // CSS pixels from a layer's bar to the next

/** Share of the weights kept in each block of the 2-D view, row by row; blocks at the far edges may be smaller. */
export function keptShares(layer, keep, block) {
  const [rows, cols] = [Math.ceil(layer.rows / block[0]), Math.ceil(layer.cols / block[1])];
  const shares = new Float64Array(rows * cols);
  const across = Uint16Array.from({ length: layer.cols }, (_, col) => Math.floor(col / block[1]));
  for (let row = 0, i = 0; row < layer.rows; row++) {
    const start = Math.floor(row / block[0]) * cols;
    for (let col = 0; col < layer.cols; col++, i++) shares[start + across[col]] += keep[i];
  }
  const size = (place, k, total) => Math.min(block[k], total - place * block[k]);
  return shares.map((count, cell) => count / (size(Math.floor(cell / cols), 0, layer.rows) * size(cell % cols, 1, layer.cols)));
}

/** The first rows and columns of a layer and of its choice: few enough to see its groups of columns one by one. */
function corner(layer, keep, group) {
  const [rows, cols] = [Math.min(16, layer.rows), Math.min(layer.cols, group * Math.max(2, Math.floor(32 / group)))];
  const cut = (all) => Array.from({ length: rows * cols }, (_, i) => all[Math.floor(i / cols) * layer.cols + (i % cols)]);
  return [{ ...layer, rows, cols, values: cut(layer.values) }, cut(keep)];
}

/** Draws the 2-D view, one cell per weight or per block of weights, and returns the block's size. After each `group` columns a line. */
function drawMatrix(canvas, layer, keep, group) {
  const width = canvas.parentElement.clientWidth;
  const ratio = window.devicePixelRatio || 1;
  const room = { left: 52, top: 8, width: width - 62, height: Math.max(200, Math.min(360, 0.8 * width)) };
  const block = [layer.rows / room.height, layer.cols / room.width].map((n) => Math.max(1, Math.ceil(n * SMALLEST_CELL)));
  const [rows, cols] = [Math.ceil(layer.rows / block[0]), Math.ceil(layer.cols / block[1])];
  const plain = block[0] === 1 && block[1] === 1;

  // Whole device pixels per cell, so that all cells are equally large; no cell more than three times as long as wide.
  let high = Math.min(30 * ratio, Math.floor((room.height * ratio) / rows));
  let wide = Math.min(30 * ratio, Math.floor((room.width * ratio) / cols));
  high = Math.floor(Math.min(high, 3 * wide));
  wide = Math.floor(Math.min(wide, 3 * high));
  const box = { left: room.left, top: room.top, width: (wide * cols) / ratio, height: (high * rows) / ratio };
  const paper = sheet(canvas, box.height + 48);
  const { g } = paper;
  const faintest = paper.dark ? 0.55 : 0.3; // a kept weight near zero is still not an empty cell

  const kept = keptShares(layer, keep, block);
  const image = new ImageData(cols, rows);
  const [positive, negative] = [rgb(palette.kept), rgb(palette.accent)];
  kept.forEach((share, cell) => {
    if (!share) return;
    const depth = plain ? Math.abs(layer.values[cell]) / (layer.largest || 1) : share;
    const color = plain && layer.values[cell] < 0 ? negative : positive;
    for (let part = 0; part < 3; part++) image.data[4 * cell + part] = color[part];
    image.data[4 * cell + 3] = Math.round(255 * (faintest + (1 - faintest) * depth));
  });
  const small = new OffscreenCanvas(cols, rows);
  small.getContext("2d").putImageData(image, 0, 0);
  g.imageSmoothingEnabled = false;
  g.drawImage(small, box.left, box.top, box.width, box.height);

  if (Math.min(wide, high) >= 5 * ratio) {
    const [w, h] = [wide / ratio, high / ratio];
    for (let row = 0; row < rows; row++)
      for (let col = 0; col < cols; col++) {
        const [x, y] = [box.left + col * w, box.top + row * h];
        g.clearRect(x + w - 1, y, 1, h);
        g.clearRect(x, y + h - 1, w, 1);
        g.strokeStyle = palette.muted;
        if (!kept[row * cols + col]) g.strokeRect(x + 0.5, y + 0.5, w - 2, h - 2);
      }
  }
  for (let col = group; group && col < cols; col += group) {
    const x = box.left + (col * wide) / ratio - 0.5;
    stroke(g, [[x, box.top], [x, box.top + box.height]], paper.ink, { width: 1 });
  }
  g.strokeStyle = palette.muted;
  g.strokeRect(box.left - 1.5, box.top - 1.5, box.width + 2, box.height + 2);
  for (const at of ticks(0, layer.cols - 1, Math.max(2, box.width / 70)).filter(Number.isInteger))
    tick(paper, box.left + (((at + 0.5) / block[1]) * wide) / ratio, box.top + box.height + 1, at, "below");
  for (const at of ticks(0, layer.rows - 1, Math.max(2, box.height / 50)).filter(Number.isInteger))
    tick(paper, box.left - 2, box.top + (((at + 0.5) / block[0]) * high) / ratio, at, "left");
  const conv = layer.shape.length > 2;
  axisTitles(paper, box, conv ? "column: input channel × kernel position" : "input index", conv ? "filter index" : "output index");
  return block;
}

function drawHistogram(canvas, layer, keep, threshold) {
  const paper = sheet(canvas, 190);
  const { g } = paper;
  const box = { left: 68, top: 16, width: paper.width - 80, height: 190 - 16 - 40 };
  const high = layer.largest || 1;
  const low = layer.signed ? -high : 0;
  const bins = 40;
  const bin = (value) => Math.min(bins - 1, Math.floor(((value - low) / (high - low)) * bins));
  layer.bins ??= Uint8Array.from(layer.values, bin); // the weights stay as they are, only the choice changes
  const counts = [new Uint32Array(bins), new Uint32Array(bins)]; // pruned, kept
  for (let i = 0; i < layer.total; i++) counts[keep[i]][layer.bins[i]]++;
  const most = Math.max(...counts[0].map((count, bin) => count + counts[1][bin]));
  const x = (value) => box.left + ((value - low) / (high - low)) * box.width;
  const y = (count) => box.top + box.height * (1 - count / most);
  g.fillStyle = palette.kept;
  g.strokeStyle = palette.muted;
  const step = box.width / bins;
  for (let bin = 0; bin < bins; bin++) {
    const [pruned, kept] = [counts[0][bin], counts[1][bin]];
    const left = box.left + bin * step;
    if (kept) g.fillRect(left + 0.5, y(kept), step - 1, y(0) - y(kept));
    if (pruned) g.strokeRect(left + 1, y(kept + pruned) + 0.5, step - 2, Math.max(0, y(kept) - y(kept + pruned) - 1));
  }
  g.strokeStyle = paper.ink;
  g.strokeRect(box.left - 0.5, y(0) + 0.5, box.width + 1, 0);
  for (const value of ticks(low, high, Math.max(2, box.width / 80))) tick(paper, x(value), y(0) + 1, compact(value), "below");
  for (const count of ticks(0, most, 4).filter(Number.isInteger)) tick(paper, box.left - 2, y(count), number(count), "left");
  if (threshold !== null) {
    for (const at of layer.signed ? [-threshold, threshold] : [threshold])
      stroke(g, [[x(at), box.top - 4], [x(at), y(0)]], palette.accent, { width: 1, dash: [5, 3] });
  }
  axisTitles(paper, box, "weight", "number of weights");
}

function drawBars(canvas, layers, choice, shown) {
  const paper = sheet(canvas, BAR * layers.length + 28);
  const { g } = paper;
  setFont(g, 12, true);
  const names = Math.min(170, paper.width / 3, 20 + Math.max(...layers.map(({ label }) => g.measureText(label).width)));
  const box = { left: names, top: 4, width: paper.width - names - g.measureText("100.0 % pruned").width - 10, height: BAR * layers.length };
  layers.forEach((layer, i) => {
    const sparsity = 1 - choice[i].kept / layer.total;
    const [top, edge] = [box.top + i * BAR + 3, box.left + box.width * sparsity];
    rectangle(g, box.left, top, box.width, BAR - 6, { line: palette.muted });
    rectangle(g, edge, top, box.left + box.width - edge, BAR - 6, { fill: palette.kept });
    setFont(g, 12, layer === shown);
    let name = layer.label;
    while (g.measureText(name).width > names - 18 && name.length > 2) name = `…${name.slice(2)}`;
    const middle = top + BAR / 2 - 3;
    if (layer === shown) write(paper, "▸", 0, middle, { align: "left" });
    write(paper, name, 12, middle, { align: "left" });
    write(paper, `${percent(sparsity)} pruned`, paper.width - 2, middle, { align: "right" });
  });
  setFont(g, 12);
  for (const at of [0, 50, 100]) tick(paper, box.left + (box.width * at) / 100, box.top + box.height + 1, `${at} %`, "below");
}

const CONTROLS =
  list("layer", "Layer") + list("structure", "Structure") +
  list("scope", "Scope", '<option value="global">global</option><option value="layer">per layer</option>') + slider("sparsity", "Sparsity");
const PANELS = {
  "matrix tall": "",
  histogram: "",
  bars: `<i class="kept"></i> kept, <i class="pruned"></i> pruned share of each layer`,
};

function render({ model, el }) {
  const { root, find, describe } = stage(el, "sparsity-explorer", CONTROLS, PANELS);
  find("p").insertAdjacentHTML("afterend", '<p class="note"></p>');
  const structures = Object.fromEntries(model.get("structures"));
  const layers = unpack(model.get("layers"), model.get("values"));
  for (const layer of layers) {
    layer.largest = layer.values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    layer.size = layer.values.reduce((sum, value) => sum + Math.abs(value), 0);
    layer.label = layer.name.replace(/\.weight$/, "");
    layer.signed = layer.values.some((value) => value < 0);
  }
  const choose = chooser(layers);
  find(".sparsity").max = 100;
  const controls = Object.fromEntries(["layer", "structure", "scope", "sparsity"].map((name) => [name, find(`.${name}`)]));
  const note = find(".note");
  note.id = `note-${Math.random().toString(36).slice(2)}`;
  for (const control of Object.values(controls)) control.setAttribute("aria-describedby", note.id);
  for (const layer of layers) controls.layer.add(new Option(`${layer.label} (${layer.shape.join(" × ")})`, layer.name));
  for (const structure of Object.keys(structures)) controls.structure.add(new Option("", structure));

  function notes(structure) {
    const [n, m] = parseNOfM(structure);
    const spared = {}; // why -> layers
    for (const { label, obstacles } of layers) if (obstacles[structure]) (spared[obstacles[structure]] ??= []).push(label);
    const found = Object.entries(spared).map(([why, labels]) => `Nothing goes from ${labels.join(", ")}: ${why}.`);
    if (m) found.push(`${structure} itself fixes scope and sparsity: ${n} of every ${m} neighbors stay.`);
    else if (structure !== "unstructured") found.push("The scope is a choice for single weights only.");
    return found.join(" ");
  }

  function draw({ structure, scope, sparsity, layer: chosen }) {
    const shown = layers.findIndex(({ name }) => name === chosen);
    const layer = layers[shown];
    const [n, m] = parseNOfM(structure);
    const choice = choose(structure, scope, sparsity);
    const keep = choice[shown].keep();
    const { kept, threshold } = choice[shown];

    controls.layer.value = layer.name;
    for (const option of controls.structure.options) {
      option.text = structures[option.value] + (layer.obstacles[option.value] ? " – not for this layer" : "");
      option.disabled = Boolean(layer.obstacles[option.value]);
      option.title = layer.obstacles[option.value] ?? "";
    }
    controls.structure.value = structure;
    controls.scope.value = structure === "unstructured" ? scope : "layer";
    controls.scope.disabled = structure !== "unstructured";
    const target = m ? 1 - n / m : sparsity;
    controls.sparsity.disabled = Boolean(m);
    setSlider(controls.sparsity, 100 * target, `${compact(100 * target)} %`);
    note.textContent = notes(structure);

    const count = (some, all) => `${number(some)} of ${number(all)} weights stay`;
    const size = layer.values.reduce((sum, value, i) => sum + keep[i] * Math.abs(value), 0);
    const [keptAll, total] = [choice.reduce((sum, c) => sum + c.kept, 0), layers.reduce((sum, l) => sum + l.total, 0)];
    find("p").textContent =
      `${layer.label}: ${count(kept, layer.total)}, with ${percent(size / (layer.size || 1))} of Σ|w|.` +
      (layers.length > 1 ? ` All ${layers.length} layers: ${count(keptAll, total)}, sparsity ${percent(1 - keptAll / total)}.` : "");

    const possible = !layer.obstacles[structure];
    const group = possible && (m || (structure === "stripes" && layer.kernel));
    const [part, parts] = group ? corner(layer, keep, group) : [layer, keep];
    const block = drawMatrix(find(".matrix canvas"), part, parts, group);
    drawHistogram(find(".histogram canvas"), layer, keep, threshold);
    drawBars(find(".bars canvas"), layers, choice, layer);
    find(".matrix figcaption").innerHTML =
      (group ? `The first ${part.rows} × ${part.cols} weights, a line after every ${group}: ` : "") +
      (block[0] * block[1] === 1
        ? `<i class="kept"></i> positive, <i class="negative"></i> negative, the stronger the larger; <i class="pruned"></i> pruned: left empty`
        : `A cell is ${block[0]} × ${block[1]} weights; the stronger its <i class="kept"></i>, the more are kept; empty: none`);
    find(".histogram figcaption").innerHTML =
      `<i class="kept"></i> kept, <i class="pruned"></i> pruned` +
      (threshold !== null ? `; <i class="threshold"></i> threshold: |w| = ${compact(threshold)}` : "") +
      (structure !== "unstructured" ? "; chosen by group, so no single threshold" : "");
    const what = `${layer.label}, ${structures[structure]}: ${count(kept, layer.total)}`;
    describe(".matrix", `${group ? `First ${part.rows} × ${part.cols} weights` : "Matrix of weights"} of ${what}; pruned weights are empty cells`);
    describe(".histogram", `Histogram of the weights of ${what}`);
    describe(".bars", `Sparsity of each layer: ${layers.map((l, i) => `${l.label} ${percent(1 - choice[i].kept / l.total)}`).join(", ")}`);
  }

  const { set, end } = follow(model, { layer: String, structure: String, scope: String, sparsity: (percents) => percents / 100 }, root, draw);
  find(".bars canvas").style.cursor = "pointer";
  find(".bars canvas").addEventListener("click", ({ offsetY }) => {
    const layer = layers[Math.floor((offsetY - 4) / BAR)];
    if (layer) set({ layer: layer.name });
  });
  return end;
}

export default { render };
