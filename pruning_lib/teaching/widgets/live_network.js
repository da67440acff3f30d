// Live network: pruned and run here, so that no message to a kernel is waited for.

import { compact } from "./canvas.js";
import { list, setSlider, slider, stage } from "./charts.js";
import { fromHalves, layersOf, logitsOf, networkChooser, reading } from "./network.js";
import { IMAGE_CONTROLS, NETWORK_PANELS, networkPanels } from "./network_panels.js";
import { follow } from "./redraw.js";
import { parseNOfM } from "./sparsity_choice.js";

const SCOPES = { global: "global", layer: "per layer" };
const CONTROLS =
  list("structure", "Structure") +
  list("scope", "Scope", Object.entries(SCOPES).map(([key, name]) => `<option value="${key}">${name}</option>`).join("")) +
  slider("sparsity", "Sparsity") + '<button class="sweep" aria-pressed="false" aria-label="Sweep the sparsity from 0 to 100 %">sweep</button>' + IMAGE_CONTROLS;
const AXIS = { x: [0, 100], xTitle: "weights pruned, %" };
const LOOKS = {
  unstructured: { name: "single weights", color: "kept", shape: "circle", signs: "●○", scoped: true },
  neurons: { name: "neurons", color: "updated", shape: "square", signs: "■□", scoped: true, of: " of neurons" },
  columns: { name: "inputs", color: "good", shape: "triangle", signs: "▲", of: " of inputs" },
  "2:4": { name: "2:4", color: "violet", shape: "diamond", signs: "◆" },
  "1:4": { name: "1:4", color: "accent", shape: "diamond", signs: "◆" },
};

function render({ model, el }) {
  const { root, find, describe } = stage(el, "live-network", CONTROLS, NETWORK_PANELS);
  for (const [structure, name] of model.get("structures")) find(".structure").add(new Option(name, structure));
  find(".sparsity").max = 100;
  const layers = layersOf(model.get("layers"), fromHalves(model.get("vector")));
  const total = layers.reduce((sum, layer) => sum + layer.total, 0);
  const choose = networkChooser(layers);
  const panels = networkPanels(model, { root, find, describe });
  const curves = new Map(); // what was seen: structure and scope -> how it looks, and its points by sparsity

  function run(structure, scope, sparsity) {
    const keeps = choose(structure, scope, sparsity);
    const kept = keeps.map((keep) => keep.reduce((sum, one) => sum + one, 0));
    const after = reading(logitsOf(layers, keeps, panels.inputs, panels.labels.length), panels.labels);
    return { key: [structure, scope, sparsity].join(), kept, after, x: 100 * (1 - kept.reduce((sum, one) => sum + one) / total) };
  }
  function remember(structure, scope, sparsity, { x, after: { accuracy } }) {
    const key = `${structure} ${scope}`;
    const { name, color, shape, signs, scoped } = LOOKS[structure];
    const filled = scope === "global" || !scoped;
    const look = { name: scoped ? `${name}, ${SCOPES[scope]}` : name, color, shape, filled, dash: filled ? [] : [4, 3], sign: signs[filled ? 0 : 1] };
    if (!curves.has(key)) curves.set(key, { ...look, points: new Map() });
    curves.get(key).points.set(sparsity, { x, accuracy });
    return { ...look, point: { x, accuracy } };
  }
  /** A state as it takes effect: the sparsity of N:M is fixed, and so is the scope of most structures. */
  function effective({ structure, scope, sparsity }) {
    const [n, m] = parseNOfM(structure);
    return [structure, LOOKS[structure].scoped ? scope : "layer", m ? 1 - n / m : sparsity];
  }

  const dense = run("unstructured", "global", 0).after;
  const [structure, scope] = ["structure", "scope"].map((name) => model.get(name));
  for (const sparsity of model.get("seen")) {
    const state = effective({ structure, scope, sparsity });
    remember(...state, run(...state));
  }
  let result = {};

  function draw({ image, ...chosen }) {
    const [structure, scope, sparsity] = effective(chosen);
    if (result.key !== [structure, scope, sparsity].join()) result = run(structure, scope, sparsity); // else only the image changed
    const { kept, after } = result;
    const current = remember(structure, scope, sparsity, result);
    find(".structure").value = structure;
    find(".scope").value = scope;
    find(".scope").disabled = !LOOKS[structure].scoped;
    for (const name of ["sparsity", "sweep"]) find(`.${name}`).disabled = parseNOfM(structure).length > 0;
    setSlider(find(".sparsity"), 100 * sparsity, `${compact(100 * sparsity)} %${LOOKS[structure].of ?? ""}`);
    const seen = [...curves.values()].map((curve) => ({ ...curve, points: [...curve.points.values()] }));
    panels.show({ axis: AXIS, curves: seen, current, layers, kept, before: dense, after, image });
  }

  const { set, end } = follow(model, { structure: String, scope: String, sparsity: (percents) => percents / 100, image: Number }, root, draw);

  let film = null;
  function stop() {
    cancelAnimationFrame(film);
    film = null;
    find(".sweep").setAttribute("aria-pressed", "false");
  }
  /** From 0 to 100 %, a point a frame, then back to where it was. */
  function sweep() {
    const before = model.get("sparsity");
    let percents = 0;
    find(".sweep").setAttribute("aria-pressed", "true");
    const next = () => {
      const over = percents > 100;
      set({ sparsity: over ? before : percents++ / 100 });
      if (over) stop();
      else film = requestAnimationFrame(next);
    };
    film = requestAnimationFrame(next);
  }
  find(".sweep").addEventListener("click", () => (film === null ? sweep() : stop()));
  // A key, too: Home at 0 % changes nothing, so it is no input.
  for (const name of ["sparsity", "structure", "scope"])
    for (const touch of ["input", "keydown"]) find(`.${name}`).addEventListener(touch, stop, true);
  /** The least sparsity, in whole percents, that prunes about so many percent of all weights. */
  function sparsityFor(pruned) {
    const [structure, scope] = effective(Object.fromEntries(["structure", "scope"].map((name) => [name, model.get(name)])));
    let [low, high] = [0, 100];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (run(structure, scope, middle / 100).x < pruned - 0.5) low = middle + 1;
      else high = middle;
    }
    return low / 100;
  }
  panels.listen(set, (pruned) => {
    stop();
    return parseNOfM(model.get("structure")).length ? null : { sparsity: sparsityFor(pruned) };
  });
  return () => (stop(), end());
}

export default { render };
