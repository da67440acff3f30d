// What a pruned network does: accuracy over sparsity, all test images with those that are misread, the logits of one.

import { halo, pageOf, percent, rectangle, rgb, setFont, sheet, stroke, tick, ticks, write } from "./canvas.js";
import { chart, keepFocus, setSlider, short, slider } from "./charts.js";
import { inputsOf } from "./network.js";

export const IMAGE_CONTROLS = `${slider("image", "Image")}<button class="misread">next misread</button>`;
export const NETWORK_PANELS = { curve: "", logits: "", wall: "" };
const HEIGHT = 212; // of curve and logits, CSS pixels

/** The points seen so far of each curve, and the present one. Gives a function: place -> the value of x there. */
function drawCurves(canvas, axis, curves, current, dense) {
  const c = chart(canvas, HEIGHT, { ...axis, y: [0, 100], yTitle: "test accuracy, %" });
  c.line(axis.x.map((x) => [x, 100 * dense]), palette.muted, { width: 1.5, dash: [5, 4] });
  for (const { color, shape, filled, dash, points } of curves) {
    const places = points.map(({ x, accuracy }) => [x, 100 * accuracy]).sort(([one], [other]) => one - other);
    c.line(places, palette[color], { width: 1.5, dash });
    let last = -Infinity; // no mark on another: a sweep sees a hundred points
    for (const place of places) {
      if (c.X(place[0]) < last + 8) continue;
      c.marker(place, palette[color], { shape, size: 2.5, filled });
      last = c.X(place[0]);
    }
  }
  const { x, accuracy } = current.point;
  c.line([[x, 0], [x, 100]], palette.muted, { width: 1, dash: [2, 3] });
  c.marker([x, 100 * accuracy], palette[current.color], { shape: current.shape, size: 6 });
  setFont(c.g, 13, true);
  const left = c.X(x) > c.box.left + c.box.width / 2;
  halo(c, percent(accuracy), c.X(x) + (left ? -32 : 32), c.Y(100 * accuracy) + (accuracy > 0.25 ? 18 : -18), pageOf(canvas));
  return (across) => axis.x[0] + ((across - c.box.left) / c.box.width) * (axis.x[1] - axis.x[0]);
}

/** The logits of one image, before and after pruning, beside its picture. */
function drawLogits(canvas, { shape, shades, labels }, image, before, after) {
  const paper = sheet(canvas, HEIGHT);
  const { g } = paper;
  const [height, width] = shape;
  const count = labels.length;
  const classes = before.logits.length / count;
  const cell = Math.floor(72 / Math.max(height, width)) || 1;
  for (let pixel = 0; pixel < height * width; pixel++) {
    const [left, top] = [2 + (pixel % width) * cell, 8 + Math.floor(pixel / width) * cell];
    rectangle(g, left, top, cell, cell, { fill: paper.ink, alpha: shades[image * height * width + pixel] });
  }
  rectangle(g, 1, 7, width * cell + 2, height * cell + 2, { line: palette.muted });

  const values = [before, after].map(({ logits }) => Array.from({ length: classes }, (_, k) => logits[k * count + image]));
  const [low, high] = [Math.min(0, ...values.flat()), Math.max(1, ...values.flat())];
  const line = (HEIGHT - 46) / classes;
  const box = { left: 112, top: 6, width: paper.width - 124, height: line * classes };
  const x = (value) => box.left + ((value - low) / (high - low)) * box.width;
  values[0].forEach((dense, k) => {
    const [top, right] = [box.top + k * line, k === labels[image]];
    setFont(g, 12, right);
    write(paper, right ? `▸ ${k}` : k, box.left - 8, top + line / 2, { align: "right" });
    const bar = (value) => [Math.min(x(0), x(value)), Math.max(1, Math.abs(x(value) - x(0)))];
    const read = k === after.read[image];
    const [[start, long], [from, wide]] = [bar(values[1][k]), bar(dense)];
    rectangle(g, start, top + 0.22 * line, long, 0.6 * line, { fill: read && !right ? palette.accent : palette.kept, alpha: read ? 1 : 0.55 });
    rectangle(g, from, top + 0.08 * line, wide, 0.88 * line, { line: paper.ink });
  });
  setFont(g, 12);
  stroke(g, [[x(0), box.top], [x(0), box.top + box.height]], paper.ink, { width: 1 });
  for (const at of ticks(low, high, Math.max(2, box.width / 60))) tick(paper, x(at), box.top + box.height + 2, short(at), "below");
  write(paper, "logit", box.left + box.width / 2, box.top + box.height + 22, { baseline: "top" });
}

/** All images, a few rows for every class; what is misread has a colored ground. Gives a function: place -> image there. */
function drawWall(canvas, { shape, shades, labels }, image, before, after) {
  const [left, top] = [20, 2];
  const [height, width] = shape;
  const counts = new Array(Math.max(...labels) + 1).fill(0);
  for (const label of labels) counts[label]++;
  const starts = counts.map((_, label) => labels.findIndex((other) => other >= label));
  // Whole device pixels for each pixel of an image; as few rows a class as leave an image 15 CSS pixels wide.
  const ratio = window.devicePixelRatio || 1;
  const room = (canvas.parentElement.clientWidth - left) * ratio;
  let [rows, across, scale] = [0, 0, 0];
  do {
    across = Math.ceil(Math.max(...counts) / ++rows);
    scale = Math.floor(Math.min(room / ((width + 1) * across), Math.max(1, (24 * ratio) / (width + 1))));
  } while (across > 1 && (!scale || ((scale * width) / ratio < 15 && across > 4)));
  scale ||= 1;
  const [wide, high] = [width + 1, height + 1].map((side) => (side * scale) / ratio);
  const place = (i) => {
    const within = i - starts[labels[i]];
    return [within % across, labels[i] * rows + Math.floor(within / across)];
  };

  const paper = sheet(canvas, Math.ceil(high * rows * starts.length) + 2 * top);
  const { g } = paper;
  const picture = new ImageData((width + 1) * across, (height + 1) * rows * starts.length);
  const ink = paper.dark ? [255, 255, 255] : [0, 0, 0];
  const grounds = [palette.accent, palette.muted, palette.good].map(rgb);
  labels.forEach((label, i) => {
    const [column, row] = place(i);
    const [well, now] = [before, after].map((network) => network.read[i] === label);
    const ground = !(well && now) && grounds[well ? 0 : now ? 2 : 1];
    for (let pixel = 0; pixel < height * width; pixel++) {
      const shade = shades[i * height * width + pixel];
      const [x, y] = [column * (width + 1) + (pixel % width), row * (height + 1) + Math.floor(pixel / width)];
      const at = 4 * (y * picture.width + x);
      for (let part = 0; part < 3; part++) picture.data[at + part] = ground ? ground[part] + shade * (255 - ground[part]) : ink[part];
      picture.data[at + 3] = ground ? 255 : 200 * shade;
    }
  });
  const small = new OffscreenCanvas(picture.width, picture.height);
  small.getContext("2d").putImageData(picture, 0, 0);
  g.imageSmoothingEnabled = false;
  g.drawImage(small, left, top, (picture.width * scale) / ratio, (picture.height * scale) / ratio);
  starts.forEach((_, label) => write(paper, label, 8, top + (label * rows + 0.5) * high));
  const [column, row] = place(image);
  rectangle(g, left + column * wide - 2, top + row * high - 2, wide + 3, high + 3, { line: paper.ink, thick: 2 });

  return (x, y) => {
    const [column, row] = [Math.floor((x - left) / wide), Math.floor((y - top) / high)];
    const label = Math.floor(row / rows);
    const found = starts[label] + (row % rows) * across + column;
    return column >= 0 && column < across && labels[found] === label ? found : null;
  };
}

/**
 * The images in a model's bytes, and the panels about them. `show` draws what is read `before` and `after` pruning, the
 * `curves` seen and the `current` one on an `axis`, and what is `kept` of each of the `layers`; first it says `how`.
 */
export function networkPanels(model, { root, find, describe }) {
  const [pixels, grays, bytes, shape] = ["pixels", "grays", "labels", "shape"].map((name) => model.get(name));
  const labels = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [low, high] = [Math.min(...grays), Math.max(...grays)];
  const shades = Float64Array.from({ length: pixels.byteLength }, (_, i) => (grays[pixels.getUint8(i)] - low) / (high - low || 1));
  const images = { shape, shades, labels };
  find("p").insertAdjacentHTML("afterend", '<div class="shares"></div>');
  find(".image").max = labels.length - 1;
  let [shown, imageAt, xAt] = [null, () => null, () => 0];

  function show({ axis, curves, current, layers, kept, before, after, image, how = "", untrained = false }) {
    const wrong = (network) => labels.reduce((found, label, i) => (network.read[i] === label ? found : [...found, i]), []);
    const constant = (network) => network.read.every((one) => one === network.read[0]);
    const misread = wrong(after);
    const old = misread.filter((i) => before.read[i] !== labels[i]).length;
    const [read, label, count] = [after.read[image], labels[image], labels.length];
    shown = { image, misread };
    const total = layers.reduce((sum, layer) => sum + layer.total, 0);
    const pruned = percent(1 - kept.reduce((sum, one) => sum + one) / total);

    setSlider(find(".image"), image, `${image}, a ${label}`);
    find(".misread").disabled = !misread.some((i) => i !== image);
    keepFocus(root, find(".image"));
    xAt = drawCurves(find(".curve canvas"), axis, curves, current, before.accuracy);
    drawLogits(find(".logits canvas"), images, image, before, after);
    imageAt = drawWall(find(".wall canvas"), images, image, before, after);
    find("p").textContent =
      `${how}${pruned} of the weights pruned: ${after.right} of ${count} images are read right, ${percent(after.accuracy)}` +
      ` (dense: ${percent(before.accuracy)}); loss ${after.loss.toFixed(3)} (dense: ${before.loss.toFixed(3)}).`;
    find(".shares").innerHTML =
      layers.map(({ name, total }, l) => `<span>${name} <i style="--share:${100 - (100 * kept[l]) / total}%"></i> ${percent(kept[l] / total)} kept</span>`).join("") +
      `<span class="network-note">${constant(after) && !constant(before) ? `Broken: every image is read as a ${read}.` : ""}</span>`;
    find(".curve figcaption").innerHTML =
      curves.map(({ color, sign, name }) => `<span class="key"><b style="color:var(--${color})">${sign}</b> ${name}</span>`).join(" ") +
      ` <span class="key"><i class="dashed"></i> dense${untrained ? ", untrained" : ""}</span>`;
    find(".logits figcaption").innerHTML =
      `Logits of a ${label}: <span class="key"><i class="outline"></i> dense, read as ${before.read[image]};</span> ` +
      `<span class="key"><i class="faint"></i> pruned, <i class="${read === label ? "kept" : "wrong"}"></i> read as <b>${read}</b></span>`;
    find(".wall figcaption").innerHTML =
      `${count} test images: <span class="key"><i class="wrong"></i> ${misread.length - old} misread ${untrained ? "once pruned" : "because of pruning"},</span> ` +
      `<span class="key"><i class="before"></i> ${old} of the ${count - before.right} misread ${untrained ? "dense" : "before"} still are,</span> ` +
      `<span class="key"><i class="cured"></i> ${count - before.right - old} no longer.</span> Click one for its logits.`;
    const seen = curves.map(({ name, points }) => `${name}: ${points.map((point) => percent(point.accuracy)).join(", ")}`);
    describe(".curve", `Test accuracy over the share of weights pruned, as seen so far. ${seen.join("; ")}; dense: ${percent(before.accuracy)}`);
    describe(".logits", `Logits of image ${image}, a ${label}: read as ${before.read[image]} before and as ${read} after pruning`);
    describe(".wall", `All ${count} test images by class; misread: ${misread.length}, of these ${old} before pruning, too; ${count - before.right - old} only before pruning`);
  }

  /** What clicks on the curves and an image and the button do; `set` changes traits, `chosen` says which for a value of x. */
  function listen(set, chosen) {
    find(".curve canvas").style.cursor = "pointer";
    find(".curve canvas").addEventListener("click", ({ offsetX }) => {
      const changes = chosen(xAt(offsetX));
      if (changes) set(changes);
    });
    find(".wall canvas").addEventListener("click", ({ offsetX, offsetY }) => {
      const image = imageAt(offsetX, offsetY);
      if (image !== null) set({ image });
    });
    find(".misread").addEventListener("click", () => {
      const { image, misread } = shown;
      set({ image: misread.find((i) => i > image) ?? misread[0] });
    });
  }
  return { labels, inputs: inputsOf(pixels, grays, labels.length), show, listen };
}
