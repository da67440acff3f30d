// Decision helper: methods ranked by recorded numbers. Everything is here already, so no kernel is needed.

import { drawMark, rectangle, sheet, stroke, write } from "./canvas.js";
import { printCard } from "./card.js";
import { list, setSlider, slider, stage } from "./charts.js";
import { mayMatch, paired, spreadOf } from "./evidence.js";
import { follow } from "./redraw.js";

const CONTROLS =
  list("hardware", "I have") + list("budget", "and") + list("data", "and") + list("goal", "and want") + list("loss", "giving up at most") +
  slider("sparsity", "Sparsity") + `<button class="print">Print a card</button>`;
const LISTS = `
  <div class="lists">
    <div><h4>Ranked</h4><ol></ol></div>
    <div><h4>Dropped out</h4><ul></ul></div>
  </div>
  <p class="about"></p>`;

const ANY = 0; // as sparsity: whatever sparsity gains most within the loss; as in decision_helper.py
const ELSEWHERE = "measured on a CPU";
const out = (name, why) => ({ name, place: "out", why, sparsity: null, accuracy: null, gain: null, basis: "", sure: true, tied: false });

/** How many times more weights are left at one of two sparsities than at the other. */
function apart(one, other) {
  const [less, more] = [1 - one, 1 - other].sort((a, b) => a - b);
  return less > 0 ? more / less : Infinity;
}

// Which of the timed batches a goal is about, the smallest or the largest.
const BATCH = { latency: 0, throughput: -1 };

/** How many times less than dense, and how it is known. */
function gainOf(structure, point, { hardware, goal }, published) {
  if (!(goal in BATCH)) return [point[goal], "counted"];
  const faster = point.latency.at(BATCH[goal]) ?? null;
  if (structure === "structured") return faster === null ? [1, "not timed"] : [faster, hardware === "cpu" ? "measured" : ELSEWHERE];
  if (hardware === "kernels") return [point.macs, "at most"];
  if (structure === "unstructured" && hardware === "cpu") return faster === null ? [1, "not timed"] : [faster, faster > 1 ? "measured" : "runs as dense"];
  if (hardware === "ampere" && String(point.setting) === "2,4") return [published.low, "published"];
  return [1, "no kernel"];
}

function ofMethod(method, evidence, published, chosen) {
  const { budget, data, goal, sparsity, loss } = chosen;
  const floor = evidence[unpruned(chosen)][0] - loss - 1e-9;
  const { name } = method;
  if (method.time !== "after" && budget !== "full") return out(name, "needs training from scratch");
  if (data === "none" && method.data !== "none") return out(name, `needs ${method.data} to choose what goes`);
  const points = method.points.filter((point) => sparsity === ANY || apart(point.sparsity, sparsity) <= evidence.near);
  if (!points.length) return out(name, method.only);
  const moment = budget === "none" ? "cut" : "retrained";
  if (points.some((point) => point[moment] === null)) return out(name, "prunes in rounds of training: needs a budget for it");
  const found = points.map((point) => {
    const accuracy = point[moment];
    const [gain, basis] = goal === "accuracy" ? [accuracy[0], "measured"] : gainOf(method.structure, point, chosen, published);
    const lost = paired(point.seeds[moment], evidence.seeds[unpruned(chosen)], evidence.student);
    const place = accuracy[0] >= floor ? "fits" : "loses";
    const sure = lost !== null && (place === "fits" ? lost.low >= -loss - 1e-9 : lost.high < -loss);
    return { name, place, why: "", sparsity: point.sparsity, accuracy, gain, basis, sure, tied: false, seeds: point.seeds[moment] };
  });
  const fits = found.filter((one) => one.place === "fits");
  const more = (a, b) => a.gain - b.gain || a.accuracy[0] - b.accuracy[0];
  if (fits.length) return fits.reduce((best, one) => (more(one, best) > 0 ? one : best));
  return found.reduce((best, one) => (one.accuracy[0] > best.accuracy[0] ? one : best));
}

/** Which dense network to count losses from: where nothing is trained any more, as it was when others were cut. */
const unpruned = ({ budget, data }) => (budget === "none" || data !== "train" ? "dense_cut" : "dense");

/**
 * Marks, of those at the first's place, the ones that the evidence can't tell apart from it: gains that differ by no more
 * than two timings of the same shapes do, and an accuracy that pairs of seeds do not show to be lower.
 */
function markTied([first, ...others], { timing, student }, goal) {
  const clock = (goal in BATCH && timing.at(BATCH[goal])) || 1;
  for (const one of others) {
    const gains = goal === "accuracy" || first.place === "loses" || ((one.basis === ELSEWHERE) === (first.basis === ELSEWHERE) && one.gain * clock >= first.gain - 1e-9);
    one.tied = one.place === first.place && gains && mayMatch(paired(one.seeds, first.seeds, student));
  }
}

/** What gains on this hardware stands first, then what was timed on another, then what gains nothing. */
const known = ({ gain, basis }) => (gain <= 1 ? 2 : Number(basis === ELSEWHERE));

/** All methods, the advisable first: see `DecisionHelper` in decision_helper.py. */
export function advise(evidence, published, chosen) {
  if (chosen.data !== "train") chosen = { ...chosen, budget: "none" };
  const found = evidence.methods.map((method) => ofMethod(method, evidence, published, chosen));
  const fits = found.filter((one) => one.place === "fits").sort((a, b) => known(a) - known(b) || b.gain - a.gain || b.accuracy[0] - a.accuracy[0]);
  const loses = found.filter((one) => one.place === "loses").sort((a, b) => b.accuracy[0] - a.accuracy[0]);
  const ranked = [...fits, ...loses];
  if (ranked.length) markTied(ranked, evidence, chosen.goal);
  return [...ranked, ...found.filter((one) => one.place === "out")].map(({ seeds, ...advice }) => advice);
}

const ON_CARD = 8; // methods, at most
const LINE = 19;
const heightOf = (ranked) => 32 + LINE * Math.max(1, ranked.length);
const lookOf = ({ place }) => (place === "fits" ? palette.kept : palette.updated);

/** A dashed line down the sheet, for the dense network. */
const dashed = (g, x, bottom) => stroke(g, [[x, 2], [x, bottom]], palette.muted, { width: 1, dash: [4, 3] });

function drawAccuracy(canvas, ranked, labels, dense) {
  const c = sheet(canvas, heightOf(ranked));
  const { g } = c;
  const room = Math.max(0, ...ranked.map((one) => g.measureText(`≈ ${labels[one.name]}`).width)) + 12;
  const ends = ranked.flatMap(({ accuracy: [mean, sd] }) => [mean - sd, mean + sd]).concat(dense);
  const [low, high] = [Math.min(...ends) - 0.4, Math.max(...ends) + 0.4];
  const X = (value) => room + ((c.width - room - 14) * (value - low)) / (high - low);
  const bottom = 6 + LINE * Math.max(1, ranked.length);
  dashed(g, X(dense), bottom);
  stroke(g, [[room, bottom], [c.width - 14, bottom]], palette.muted, { width: 1 });
  write(c, `${low.toFixed(1)} %`, X(low), bottom + 14, { align: "left" });
  write(c, `${high.toFixed(1)} %`, X(high), bottom + 14, { align: "right" });
  ranked.forEach((one, row) => {
    const [[mean, sd], y] = [one.accuracy, 6 + LINE * (row + 0.5)];
    write(c, `${one.tied ? "≈ " : ""}${labels[one.name]}`, 0, y, { align: "left" });
    stroke(g, [[X(mean - sd), y], [X(mean + sd), y]], lookOf(one));
    drawMark(g, X(mean), y, lookOf(one), { shape: one.place === "fits" ? "circle" : "square" });
  });
}

function drawGain(canvas, ranked, labels) {
  const c = sheet(canvas, heightOf(ranked));
  const { g } = c;
  const words = ranked.map((one) => `${one.gain} × (${one.basis})`);
  const room = Math.max(0, ...words.map((text) => g.measureText(text).width)) + 12;
  const most = Math.max(1, ...ranked.map((one) => one.gain));
  const scale = (c.width - room) / most;
  ranked.forEach((one, row) => {
    const [y, wide, color] = [6 + LINE * (row + 0.5), scale * one.gain, lookOf(one)];
    rectangle(g, 0, y - 7, wide + 1, 14, { line: color });
    if (one.basis === "measured" || one.basis === "counted") rectangle(g, 0, y - 7, wide, 14, { fill: color });
    write(c, words[row], wide + 6, y, { align: "left" });
  });
  dashed(g, scale, 6 + LINE * ranked.length);
}

function render({ model, el }) {
  const [evidence, rules] = ["evidence", "rules"].map((name) => model.get(name));
  const { root, find, describe } = stage(el, "decision-helper", CONTROLS, { accuracy: "", gain: "" });
  root.insertAdjacentHTML("beforeend", LISTS);
  const labels = Object.fromEntries(evidence.methods.map((method) => [method.name, method.label]));
  for (const [name, options] of Object.entries(rules.choices)) for (const [key, text] of Object.entries(options)) find(`.${name}`).add(new Option(text, key));
  for (const points of rules.losses) find(".loss").add(new Option(`${points} ${points === 1 ? "point" : "points"}`, points));
  const stops = [ANY, ...evidence.sparsities];
  find(".sparsity").max = stops.length - 1;
  find(".about").textContent = `Measured: ${evidence.about}. Counted: from the stored tensors. Published, at best: 2:4 makes BERT ${rules.published.low} times as fast (PyTorch's tutorial, table, batch 16), a layer of OPT-175B ${rules.published.high} times (Frantar and Alistarh 2023); so small a network may get slower. At most: if every skipped zero cost nothing.`;

  const percentOf = (share) => `${Number((100 * share).toFixed(1))} %`;
  const told = ({ accuracy }) => spreadOf(accuracy);
  let card = ""; // what the button prints

  function draw(chosen) {
    const found = advise(evidence, rules.published, chosen);
    const ranked = found.filter((one) => one.place !== "out");
    const unit = rules.timesLess[chosen.goal];
    const gain = (one) => (chosen.goal === "accuracy" ? "" : `, ${one.gain} ${unit} (${one.basis})`);
    for (const name of [...Object.keys(rules.choices), "loss"]) find(`.${name}`).value = chosen[name];
    const percent = chosen.sparsity === ANY ? "any" : percentOf(chosen.sparsity);
    const where = chosen.sparsity === ANY ? "any sparsity" : percent;
    const measured = Object.fromEntries(evidence.methods.map((method) => [method.name, method.points]));
    const at = (one) => (chosen.sparsity === ANY ? measured[one.name].find(({ sparsity }) => sparsity === one.sparsity).name : labels[one.name]);
    setSlider(find(".sparsity"), stops.indexOf(chosen.sparsity), percent, where);
    const untrained = chosen.data !== "train" && chosen.budget !== "none" ? " Without the training set nothing can be trained: as with no training." : "";
    const first = ranked[0];
    const [reference] = evidence[unpruned(chosen)];
    const points = `${chosen.loss} ${chosen.loss === 1 ? "point" : "points"}`;
    const opening = !first ? `Nothing is left at ${where}.` : first.place === "fits" ? `First ${chosen.sparsity === ANY ? "of all, each at its best sparsity" : `at ${where}`}:` : `Nothing at ${where} stays within ${points} of dense. The closest:`;
    const tied = ranked.filter((one) => one.tied);
    const alone = chosen.goal === "accuracy" || first?.place === "loses" ? "All others are told apart from it." : `All others gain less${ranked.some(({ basis }) => basis === ELSEWHERE) ? ", were timed on other hardware" : ""} or are clearly less accurate.`;
    const others = tied.length ? `The evidence can't tell these apart from it: ${tied.map((one) => labels[one.name]).join(", ")}.` : alone;
    const words = first ? `${opening} ${at(first)}, ${told(first)}${gain(first)}; dense ${reference.toFixed(2)} %. ${others}${untrained}` : `${opening}${untrained}`;
    find("p").textContent = words;
    find(".accuracy figcaption").textContent = `Accuracy, mean ± standard deviation; dashed: dense` + (ranked.some(({ place }) => place === "loses") ? `; squares lose more than ${points}` : "") + (tied.length ? "; ≈: not told apart from the first" : "");
    const items = (kind, texts) => find(kind).replaceChildren(...texts.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
    const within = (one) => (one.place === "loses" ? (one.sure ? `; loses more than ${points}` : `; may stay within ${points}`) : one.sure ? "" : `; may lose more than ${points}`);
    const rows = ranked.map((one) => `${one.tied ? "≈ " : ""}${at(one)}: ${told(one)}${gain(one)}${within(one)}`);
    const dropped = found.filter((one) => one.place === "out").map((one) => `${labels[one.name]}: ${one.why}`);
    items("ol", rows);
    items("ul", dropped);
    const asked = Object.entries(rules.choices).map(([name, options]) => options[chosen[name]]);
    const given = `${asked.join("; ")}; giving up at most ${points}; ${where}.`;
    const short = rows.length > ON_CARD ? [...rows.slice(0, ON_CARD), `and ${rows.length - ON_CARD} more`] : rows;
    card = { title: "Which pruning method?", given, words, "Ranked; ≈: not told apart from the first": short, "Dropped out": dropped, about: find(".about").textContent };
    find(".gain").hidden = chosen.goal === "accuracy";
    find(".gain figcaption").textContent = `Against dense (dashed), ${unit ?? ""}; hollow: not measured on this hardware, or as dense`;
    drawAccuracy(find(".accuracy canvas"), ranked, labels, reference);
    if (chosen.goal !== "accuracy") drawGain(find(".gain canvas"), ranked, labels);
    describe(".accuracy", `Accuracy at ${where}: ${ranked.map((one) => `${at(one)} ${one.accuracy[0]} %`).join(", ") || "none"}`);
    describe(".gain", `Gain at ${where}: ${ranked.map((one) => `${at(one)}${gain(one)}`).join("; ") || "none"}`);
  }

  const traits = { hardware: String, budget: String, data: String, goal: String, loss: Number, sparsity: (at) => stops[at] };
  const { end } = follow(model, traits, root, draw);
  find(".print").addEventListener("click", () => printCard(root, card));
  return end;
}

export default { render };
