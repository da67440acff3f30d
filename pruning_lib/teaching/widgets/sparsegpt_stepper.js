// SparseGPT stepper: three views of one small layer. All is computed here, so that nothing waits for a kernel.

import { subscript } from "./canvas.js";
import { list, slider, stage } from "./charts.js";
import { follow } from "./redraw.js";
import { blockStates, correlated, formStates, refusal } from "./sparsegpt_layer.js";
import { BLOCK_PANELS, drawBlocks } from "./sparsegpt_blocks.js";
import { cellAt, drawLayer, LAYER_PANELS, numbered } from "./sparsegpt_editor.js";
import { x } from "./sparsegpt_drawing.js";
import { drawSteps, NAMES, STEP_PANELS } from "./sparsegpt_steps.js";
import { STEP_BUTTONS, stepper } from "./stepper.js";

const VIEWS = { steps: "step by step", blocks: "block by block", layer: "change the layer" };
const radios = (group, label, names) =>
  `<span role="radiogroup" aria-label="${label}" data-group="${group}">${Object.entries(names)
    .map(([value, name]) => `<label><input type="radio" name="${group}" value="${value}">${name}</label>`)
    .join("")}</span>`;
const CONTROLS =
  `<form>${radios("view", "View", VIEWS)}</form>` +
  `<form data-view="steps">${radios("form", "Form of the method", NAMES)}</form>` +
  `<span class="stepping" data-view="steps blocks">${STEP_BUTTONS}${slider("step", "step")}</span>` +
  `<span class="stepping" data-view="layer">${slider("rho", "correlation of the inputs")}</span>` +
  `<span class="cell" role="group" aria-label="One number" data-view="layer">` +
  list("matrix", "change", '<option value="weight">W</option><option value="hessian">H</option>') +
  `${list("row", "row")}${list("column", "column")}` +
  `<label>to <input class="value" type="text" inputmode="decimal" size="6" autocomplete="off"></label></span>` +
  `<button class="reset" data-view="layer">as given</button>`;
const TABLES = ["cost", "traffic", "lost"]; // panels without a canvas
const LIMIT = 9; // of a number that is typed or dragged, either sign

function render({ model, el }) {
  const [given, sparsity, maskBlock] = ["given", "sparsity", "mask_block"].map((name) => model.get(name));
  const settings = { sparsity, maskBlock };
  const [rows, columns] = [given.weight.length, given.hessian.length];
  const { root, find, describe } = stage(el, "sparsegpt-stepper", CONTROLS, { ...STEP_PANELS, ...BLOCK_PANELS, ...LAYER_PANELS });
  const [bar, panels] = [find(".controls"), find(".panels")];
  for (const [names, view] of [[STEP_PANELS, "steps"], [BLOCK_PANELS, "blocks"], [LAYER_PANELS, "layer"]])
    for (const name of Object.keys(names)) find(`figure.${name}`).dataset.view = view;
  for (const name of TABLES) find(`figure.${name} canvas`).outerHTML = "<table><thead></thead><tbody></tbody></table>";
  Object.assign(find(".rho"), { min: 0, max: 0.99, step: 0.01 });
  const parts = [...bar.children, ...panels.children];
  const [parted, slide] = [find(".stepping"), find(".step")];
  const inputs = Object.fromEntries(["rho", "matrix", "row", "column", "value", "reset"].map((name) => [name, find(`.${name}`)]));
  const canvases = { weight: find(".before canvas"), hessian: find(".hessian canvas") };
  const cell = { matrix: "weight", row: 0, column: 0 }; // the number to be changed
  const memory = {}; // of the losses over the correlation
  let [layer, forms, blocks, view, refused, last] = [null, null, null, null, "", 0];

  /** Only what belongs to the view is on the page, so that the keyboard goes nowhere else. */
  function arrange() {
    for (const part of parts.filter(({ dataset }) => dataset.view)) {
      if (!part.dataset.view.split(" ").includes(view)) part.remove();
      else (part.tagName === "FIGURE" ? panels : bar).append(part);
    }
  }
  function compute(weight, hessian) {
    if (layer?.weight === weight && layer.hessian === hessian) return;
    layer = { weight, hessian };
    refused = "";
    [forms, blocks] = [formStates(weight, hessian, settings), null];
  }

  const at = () => Math.min(model.get("step"), last); // some have fewer steps: they show their last
  function draw(values) {
    compute(values.weight, values.hessian);
    if (values.view !== view) {
      view = values.view;
      arrange();
      refused = "";
    }
    bar.querySelector(`[name=view][value=${view}]`).checked = true;
    if (view === "layer") {
      steps.stop();
      for (const name of ["matrix", "row", "column"]) inputs[name].value = cell[name];
      inputs.value.value = numbered(values[cell.matrix][cell.row][cell.column]);
      drawLayer({ find, describe, inputs }, { ...values, settings, forms, cell, refused, memory });
      return;
    }
    if (view === "blocks") blocks ??= blockStates(values.weight, values.hessian, settings);
    last = (view === "blocks" ? blocks : forms[values.form]).length - 1;
    steps.show();
    if (view === "blocks") drawBlocks({ find, describe }, { blocks, step: at(), last, maskBlock });
    else {
      bar.querySelector(`[name=form][value=${values.form}]`).checked = true;
      drawSteps({ find, describe }, { forms, form: values.form, step: at(), last, maskBlock });
    }
  }

  const { set, draw: again, end } = follow(model, { view: null, form: null, step: null, weight: null, hessian: null }, root, draw);
  const steps = stepper(parted, slide, { at, last: () => last, go: (step) => set({ step }), word: "step", pause: 1000 });
  for (const part of parts.filter(({ tagName }) => tagName === "FORM")) {
    part.addEventListener("submit", (event) => event.preventDefault()); // Enter would leave the page
    part.addEventListener("input", ({ target }) => {
      steps.stop();
      set({ [target.name]: target.value });
    });
  }

  /** Take another layer, or say why not and leave everything as it was. */
  function change(changes) {
    const next = { weight: model.get("weight"), hessian: model.get("hessian"), ...changes };
    const reason = refusal(next.weight, next.hessian, x);
    refused = reason && `Refused: ${reason}. The layer stays as it was.`;
    if (reason) again();
    else set(changes);
  }
  function put(value) {
    const { matrix, row, column } = cell;
    const next = model.get(matrix).map((line) => [...line]);
    next[row][column] = value;
    if (matrix === "hessian") next[column][row] = value; // it is XXᵀ
    change({ [matrix]: next });
  }
  function typed(text) {
    const value = Number(text.trim().replace("−", "-").replace(",", "."));
    if (text.trim() && Math.abs(value) <= LIMIT) return put(value); // false for NaN too
    const name = `${cell.matrix === "weight" ? "W" : "H"}${subscript(cell.row + 1)}${subscript(cell.column + 1)}`;
    refused = `Refused: ${name} can't be “${text}”, must be a number from −${LIMIT} to ${LIMIT}. The layer stays as it was.`;
    again();
  }
  function select(place) {
    Object.assign(cell, place);
    refused = "";
    if (cell.matrix === "weight" && cell.row >= rows) cell.row = 0;
    if (place.matrix) options();
    again();
  }
  function options() {
    const count = cell.matrix === "weight" ? rows : columns;
    const row = (k) => (cell.matrix === "weight" ? `row ${k + 1}` : x(k));
    inputs.row.replaceChildren(...Array.from({ length: count }, (_, k) => new Option(row(k), k)));
  }
  inputs.column.replaceChildren(...Array.from({ length: columns }, (_, k) => new Option(x(k), k)));
  options();
  inputs.matrix.addEventListener("input", () => select({ matrix: inputs.matrix.value }));
  for (const name of ["row", "column"]) inputs[name].addEventListener("input", () => select({ [name]: Number(inputs[name].value) }));
  inputs.rho.addEventListener("input", () => change({ hessian: correlated(model.get("hessian"), Number(inputs.rho.value)) }));
  inputs.reset.addEventListener("click", () => change({ ...given }));
  inputs.value.addEventListener("change", () => typed(inputs.value.value));
  inputs.value.addEventListener("keydown", (event) => {
    const by = { ArrowUp: 0.1, ArrowDown: -0.1 }[event.key];
    if (!by) return;
    event.preventDefault();
    typed(String(Math.round(100 * (model.get(cell.matrix)[cell.row][cell.column] + by)) / 100));
  });
  for (const [matrix, canvas] of Object.entries(canvases)) {
    let drag = null;
    canvas.addEventListener("pointerdown", (event) => {
      const found = cellAt(canvas, event, matrix === "weight" ? rows : columns, columns);
      if (!found) return;
      select({ matrix, ...found });
      canvas.setPointerCapture(event.pointerId);
      drag = { left: event.clientX, value: model.get(matrix)[cell.row][cell.column] };
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!drag) return;
      const value = Math.round(100 * (drag.value + Math.round((event.clientX - drag.left) / 4) / (matrix === "weight" ? 10 : 50))) / 100;
      if (Math.abs(value) <= LIMIT && value !== model.get(matrix)[cell.row][cell.column]) put(value);
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (drag = null));
  }
  return () => {
    steps.stop();
    end();
  };
}

export default { render };
