// A network inputs–hidden–1 as nodes and lines, one line per weight.

import { halo, pageOf, sheet, write } from "./canvas.js";
import { connections } from "./tiny_network.js";

const NEAR = 12; // pixels from a line within which it is meant

/** Names of all weights, in the order of `connections`. */
export function weightNames(inputs, hidden) {
  const name = ([kind, i]) => ({ in: inputs[i], h: `h${i + 1}`, out: "out", one: "bias" })[kind];
  return connections(inputs.length, hidden).map(([from, to]) => `${name(from)} → ${name(to)}`);
}

/** A sheet with the nodes on it, and of every weight the two ends of its line. Inputs whose names share what is before "=" stand together. */
export function drawNodes(canvas, inputs, hidden) {
  const gap = (i) => i > 0 && inputs[i].includes("=") && inputs[i].split("=")[0] !== inputs[i - 1].split("=")[0];
  const steps = inputs.map((_, i) => (gap(i) ? 1.35 : 1)).concat(1.5); // the last is the bias
  const total = steps.reduce((a, b) => a + b, 0);
  const height = Math.max(205, Math.min(460, 24 * total + 30));
  const paper = sheet(canvas, height);
  const { g, width, ink } = paper;
  const page = pageOf(canvas);
  let place = 0;
  const rows = steps.map((step) => ((place += step) - 0.5) * ((height - 24) / total) + 6);
  const columns = [64, width * 0.62, width - 46];
  const middle = (j) => rows[0] + ((rows.at(-1) - rows[0]) * (j + 0.5)) / (hidden + 0.6);
  const nodes = new Map();
  const put = (kind, i, x, y) => nodes.set(`${kind}${i}`, [x, y]);
  inputs.forEach((_, i) => put("in", i, columns[0], rows[i]));
  put("one", 0, columns[0], rows.at(-1));
  for (let j = 0; j < hidden; j++) put("h", j, columns[1], middle(j));
  put("one", 1, columns[1], rows.at(-1));
  put("out", 0, columns[2], middle((hidden - 1) / 2));
  const lines = connections(inputs.length, hidden).map((ends) => ends.map(([kind, i]) => nodes.get(`${kind}${i}`)));
  const label = { in: (i) => inputs[i], one: () => "bias", h: (i) => `h${i + 1}`, out: () => "out" };
  /** The nodes, over the lines. */
  function finish() {
    for (const [key, [x, y]] of nodes) {
      const [, kind, digits] = key.match(/^(\D+)(\d+)$/);
      const i = Number(digits);
      g.beginPath();
      g.arc(x, y, kind === "h" || kind === "out" ? 6 : 3.5, 0, 2 * Math.PI);
      g.fillStyle = kind === "one" ? palette.muted : ink;
      g.fill();
      if (kind === "in" || (kind === "one" && i === 0)) write(paper, label[kind](i), x - 8, y, { align: "right" });
      else if (kind === "out") write(paper, "out", x + 10, y, { align: "left" });
      else halo(paper, label[kind](i), x, kind === "one" ? y + 13 : y - 15, page);
    }
  }
  return { ...paper, lines, finish, page };
}

/** The line of `alive` weights that is nearest to a point; null if none is near. */
export function lineAt(lines, alive, x, y) {
  let best = null;
  let least = NEAR;
  for (const index of alive) {
    const [[x0, y0], [x1, y1]] = lines[index];
    const t = Math.max(0, Math.min(1, ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / ((x1 - x0) ** 2 + (y1 - y0) ** 2)));
    const distance = Math.hypot(x0 + t * (x1 - x0) - x, y0 + t * (y1 - y0) - y);
    if (distance < least) [best, least] = [index, distance];
  }
  return best;
}

/** Calls `moved` with the line under the pointer or null, when it changes, and `chosen` with a line that is clicked. */
export function watchLines(canvas, linesNow, aliveNow, moved, chosen) {
  let last = null;
  const under = ({ offsetX, offsetY }) => lineAt(linesNow(), aliveNow(), offsetX, offsetY);
  const tell = (line) => line === last || moved((last = line));
  canvas.addEventListener("pointermove", (event) => {
    const line = under(event);
    canvas.style.cursor = line === null ? "default" : "pointer";
    tell(line);
  });
  canvas.addEventListener("pointerleave", () => tell(null));
  canvas.addEventListener("click", (event) => {
    const line = under(event);
    last = null;
    if (line !== null) chosen(line);
  });
}
