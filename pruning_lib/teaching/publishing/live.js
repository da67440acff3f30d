// Starts the widgets of a page that has no kernel: each gets a model made of its saved state.
// A page may hold this text several times; whoever comes first starts everything.

const models = (window.liveModels ??= new Map());
const modules = (window.liveModules ??= new Map()); // the widgets' scripts, by the first widget that has it

/** What a widget's script sees of Python: values, and a call to whoever listens when one changes. */
class Model {
  #state;
  #listeners = [];

  constructor(state) {
    this.#state = state;
  }

  get(name) {
    return this.#state[name];
  }

  /** As Backbone does it: a value or an object of values; listeners hear at once, and only of what is new. */
  set(name, value) {
    const values = typeof name === "object" ? name : { [name]: value };
    const changed = Object.keys(values).filter((key) => !same(this.#state[key], values[key]));
    Object.assign(this.#state, values);
    for (const key of changed) this.#tell(`change:${key}`, values[key]);
    if (changed.length) this.#tell("change");
  }

  on(names, listener) {
    for (const name of names.split(" ")) this.#listeners.push({ name, listener });
  }

  /** Without a listener all of that name go, without a name all. */
  off(names, listener) {
    const gone = (entry) => (!names || names.split(" ").includes(entry.name)) && (!listener || listener === entry.listener);
    this.#listeners = this.#listeners.filter((entry) => !gone(entry));
  }

  save_changes() {} // nobody to save to

  #tell(event, ...values) {
    for (const { name, listener } of [...this.#listeners]) if (name === event) listener(this, ...values);
  }
}

function same(left, right) {
  return left === right || (typeof left === "object" && JSON.stringify(left) === JSON.stringify(right));
}

/** The saved state with its binary values put where they belong. */
function restore({ state, buffers }) {
  for (const { path, data } of buffers) {
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    const place = path.slice(0, -1).reduce((part, key) => part[key], state);
    place[path.at(-1)] = new DataView(bytes.buffer);
  }
  return state;
}

/** The widget's module and its model, which all views of the same widget share. */
async function load(saved) {
  const address = URL.createObjectURL(new Blob([modules.get(saved.carrier ?? saved.id)], { type: "text/javascript" }));
  const { default: given } = await import(address);
  URL.revokeObjectURL(address);
  const widget = typeof given === "function" ? await given() : given;
  const model = new Model(restore(saved));
  await widget.initialize?.({ model });
  return { widget, model };
}

/** Draws one view, in a shadow tree: the page's styles and the widget's must not meet. */
async function start(place) {
  const saved = JSON.parse(place.querySelector("script").textContent);
  if (saved.module) modules.set(saved.id, saved.module);
  const [style, view] = ["style", "div"].map((name) => document.createElement(name));
  style.textContent = saved.style;
  place.attachShadow({ mode: "open" }).append(style, view);
  try {
    if (!models.has(saved.id)) models.set(saved.id, load(saved));
    const { widget, model } = await models.get(saved.id);
    await widget.render({ model, el: view });
  } catch (error) {
    view.textContent = `This widget did not start: ${error}`;
    throw error;
  }
}

for (const place of document.querySelectorAll(".live-widget:not([data-started])")) {
  place.dataset.started = "";
  start(place);
}
