// At initialization: masks are chosen here, from recorded rankings; the weights after training are recorded.

import { compact } from "./canvas.js";
import { list, setSlider, slider, stage } from "./charts.js";
import { fromHalves, layersOf, logitsOf, reading } from "./network.js";
import { IMAGE_CONTROLS, NETWORK_PANELS, networkPanels } from "./network_panels.js";
import { follow } from "./redraw.js";
import { roundHalfEven } from "./sparsity_choice.js";

const CONTROLS = list("score", "Chosen by") + list("stage", "Weights") + slider("level", "Sparsity") + IMAGE_CONTROLS;
const LOOKS = [["kept", "circle", "●○"], ["updated", "square", "■□"], ["good", "triangle", "▲△"]];

/** The weights of a network that stay under each mask, from what a model's bytes hold. */
export function recordedNetworks(model) {
  const [scores, sparsities, shapes] = ["scores", "sparsities", "layers"].map((name) => model.get(name));
  const [start, dense, trained] = ["start", "dense", "trained"].map((name) => fromHalves(model.get(name)));
  const total = shapes.reduce((sum, { shape }) => sum + shape[0] * shape[1], 0);
  const biases = start.length - total;
  const stays = (sparsity) => roundHalfEven(total * (1 - sparsity));
  const bytes = model.get("ranks");

  function keeps(score, sparsity) {
    let at = 2 * total * scores.indexOf(score);
    const limit = stays(sparsity);
    return shapes.map(({ shape }) => Uint8Array.from({ length: shape[0] * shape[1] }, () => (bytes.getUint16((at += 2) - 2, true) < limit ? 1 : 0)));
  }
  function vectorOf(score, sparsity, keep, stage) {
    if (stage !== "after training") return start;
    if (!sparsity) return dense;
    const lengths = sparsities.slice(1).map((one) => stays(one) + biases);
    const before = scores.indexOf(score) * lengths.length + sparsities.indexOf(sparsity) - 1;
    let from = Array.from({ length: before }, (_, i) => lengths[i % lengths.length]).reduce((sum, length) => sum + length, 0);
    const vector = new Float64Array(start.length);
    let place = 0;
    for (const own of keep) for (const one of own) vector[place++] = one ? trained[from++] : 0;
    vector.set(trained.subarray(from, from + biases), total);
    return vector;
  }
  return function network(score, sparsity, stage) {
    const keep = keeps(score, sparsity);
    return { keep, layers: layersOf(shapes, vectorOf(score, sparsity, keep, stage)) };
  };
}

function render({ model, el }) {
  const { root, find, describe } = stage(el, "at-initialization", CONTROLS, NETWORK_PANELS);
  const [scores, sparsities, stages] = ["scores", "sparsities", "stages"].map((name) => model.get(name));
  for (const score of scores) find(".score").add(new Option(score, score));
  for (const stage of stages) find(".stage").add(new Option(stage, stage));
  find(".level").max = sparsities.length - 1;
  const networks = recordedNetworks(model);
  const panels = networkPanels(model, { root, find, describe });
  const texts = sparsities.map((sparsity) => `${compact(100 * sparsity)} %`);
  const axis = { x: [-0.3, sparsities.length - 0.7], names: texts, xTitle: "weights pruned" };
  const curves = new Map(); // what was seen: score and stage -> how it looks, and its points by sparsity
  const results = new Map();

  function run(score, sparsity, stage) {
    const key = [score, sparsity, stage].join();
    if (!results.has(key)) {
      const { keep, layers } = networks(score, sparsity, stage);
      const after = reading(logitsOf(layers, keep, panels.inputs, panels.labels.length), panels.labels);
      results.set(key, { layers, after, kept: keep.map((own) => own.reduce((sum, one) => sum + one, 0)) });
    }
    return results.get(key);
  }
  function remember(score, sparsity, stage) {
    const [color, shape, signs] = LOOKS[scores.indexOf(score) % LOOKS.length];
    const trained = stage === stages[1];
    const look = { name: `${score}, ${stage}`, color, shape, filled: trained, dash: trained ? [] : [4, 3], sign: signs[trained ? 0 : 1] };
    const point = { x: sparsities.indexOf(sparsity), accuracy: run(score, sparsity, stage).after.accuracy };
    if (!curves.has(look.name)) curves.set(look.name, { ...look, points: new Map() });
    curves.get(look.name).points.set(sparsity, point);
    return { ...look, point };
  }
  for (const sparsity of sparsities.filter((one) => one <= model.get("sparsity"))) remember(model.get("score"), sparsity, model.get("stage"));

  function draw({ score, sparsity, stage, image }) {
    const current = remember(score, sparsity, stage);
    find(".score").value = score;
    find(".stage").value = stage;
    const level = sparsities.indexOf(sparsity);
    setSlider(find(".level"), level, texts[level]);
    const untrained = stage === stages[0];
    const seen = [...curves.values()].map((curve) => ({ ...curve, points: [...curve.points.values()] }));
    panels.show({ axis, curves: seen, current, ...run(score, sparsity, stage), before: run(score, 0, stage).after, image, untrained, how: untrained ? "Before training the network guesses, dense or pruned. " : "The mask was chosen before training. " });
  }

  const { set, end } = follow(model, { score: String, stage: String, sparsity: null, image: Number }, root, draw);
  find(".level").addEventListener("input", () => set({ sparsity: sparsities[Number(find(".level").value)] }));
  panels.listen(set, (x) => ({ sparsity: sparsities[Math.round(Math.min(Math.max(x, 0), sparsities.length - 1))] }));
  return end;
}

export default { render };
