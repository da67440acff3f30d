// Two byte GPTs write in the page: dense beside pruned, from the same prompt and the same random numbers. No kernel is needed.

import { networks, reader, softmax } from "./byte_gpt.js";
import { percent, rectangle, sheet, write } from "./canvas.js";
import { list, setSlider, slider, stage } from "./charts.js";
import { follow } from "./redraw.js";
import { STEP_BUTTONS, stepper } from "./stepper.js";

const CONTROLS =
  '<label class="wide">Prompt <input class="prompt" type="text" spellcheck="false" autocomplete="off"><small>↑ ↓ others</small></label>' +
  list("method", "Pruned by") +
  slider("sparsity", "Sparsity") +
  slider("temperature", "Temperature") +
  '<label class="seed-label">Seed <input class="seed" type="number" min="0" step="1"></label>' +
  STEP_BUTTONS +
  slider("written", "Bytes written");
const PANELS = { dense: "", pruned: "" };
const EXAMPLES = ["The import statement ", "A class is ", "If an exception ", "The value of the "]; // by the arrow keys
const SHOWN = 7; // bytes with a bar
const ROOM = 64; // bytes that a long prompt leaves to be written
const [AT_ONCE, AT_A_TIME] = [3, 16]; // ms of computing before the browser has its turn: after a key, and later on
const KEPT = 100; // texts, so that a control moved back finds them
const PAUSE = 25; // ms from one written byte to the next
const HOTTEST = 1.5;
const LAST_SEED = 9999;

/** The bytes of a prompt that are read: all, or of a long one the last that leave some room, from the start of a character. */
export function usedBytes(prompt, context) {
  const bytes = new TextEncoder().encode(prompt);
  let start = Math.max(0, bytes.length - Math.max(1, context - ROOM));
  while (start && start < bytes.length - 1 && (bytes[start] & 0xc0) === 0x80) start++;
  return { bytes: [...bytes.subarray(start)], total: bytes.length };
}

/** Uniform numbers in [0, 1) from a seed: mulberry32. */
function uniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The next byte: the most likely one at temperature 0, else the one at which the summed probabilities pass `random`. */
function drawn(logits, temperature, random) {
  if (temperature === 0) return logits.indexOf(Math.max(...logits));
  const shares = softmax(logits, temperature);
  let sum = 0;
  const found = shares.findIndex((share) => (sum += share) > random);
  return found < 0 ? shares.length - 1 : found;
}

/** Gives the logits after the first `length` bytes of a text; what it has read of it before it does not read again. */
export function remembering({ feed, rewind }) {
  const [read, logits] = [[], []];
  return (text, length) => {
    let same = 0;
    while (same < Math.min(read.length, length) && read[same] === text[same]) same++;
    if (same < length) {
      rewind(same);
      read.length = logits.length = same;
      for (const byte of text.slice(same, length)) {
        logits.push(feed(byte));
        read.push(byte);
      }
    }
    return logits[length - 1];
  };
}

/**
 * A text that grows from a prompt: `bytes`; at each place after the prompt the likeliest next bytes as `tops`, [byte,
 * probability, the critic's]; and the critic's `surprise` in bits, summed. `grow` reads one byte more, then draws the next.
 */
export function growing(prompt, speaker, critic, temperature, seed) {
  const [bytes, tops, surprise] = [[...prompt], [], [0]];
  const random = uniform(seed);
  let read = 0;
  function grow() {
    read++;
    const own = speaker(bytes, read);
    const others = critic(bytes, read);
    if (read < prompt.length) return;
    const [shares, compared] = [softmax(own), softmax(others)];
    const order = [...shares.keys()].sort((i, j) => shares[j] - shares[i] || i - j);
    tops.push(order.slice(0, SHOWN).map((i) => [i, shares[i], compared[i]]));
    bytes.push(drawn(own, temperature, random()));
    surprise.push(surprise.at(-1) - Math.log2(compared[bytes.at(-1)]));
  }
  return { bytes, tops, surprise, grow };
}

const decoder = new TextDecoder(); // what is no UTF-8 becomes �
const plain = (bytes) => decoder.decode(Uint8Array.from(bytes)).replaceAll("\n", "↵");
const text = (bytes) => plain(bytes).replace(/ {2,}/g, (run) => "·".repeat(run.length)); // else a table's empty cells fill the page unseen
const NAMES = { 10: "↵", 32: "space" };
const named = (byte) => NAMES[byte] ?? (byte > 32 && byte < 127 ? String.fromCharCode(byte) : `0x${byte.toString(16).padStart(2, "0")}`);

/** The likeliest next bytes with their probabilities, full color for the one that was drawn; outlined what another model thinks. */
function drawBars(canvas, tops, next, color, compared) {
  const [row, left] = [22, 54];
  const c = sheet(canvas, SHOWN * row + 4);
  const scale = c.width - left - 62;
  tops.forEach(([byte, share, other], i) => {
    const middle = (i + 0.5) * row + 2;
    write(c, named(byte), left - 8, middle, { align: "right" });
    rectangle(c.g, left, middle - 7, Math.max(1, scale * share), 14, { fill: color, alpha: byte === next ? 1 : 0.45 });
    if (compared) rectangle(c.g, left, middle - 9, Math.max(2, scale * other), 18, { line: palette.kept, thick: 1.5 });
    write(c, percent(share), left + scale * Math.max(share, compared ? other : 0) + 6, middle, { align: "left" });
  });
}

/** Prompt, written bytes and, marked, the first that is not as in the other text. */
function showText(place, bytes, prompt, parting) {
  const ends = [prompt, parting, parting + 1, bytes.length].map((end) => Math.min(end, bytes.length));
  const kinds = ["given", "same", "parting", "rest"];
  place.replaceChildren(
    ...kinds.map((kind, i) => {
      const piece = document.createElement("span");
      piece.className = kind;
      piece.textContent = text(bytes.slice(i ? ends[i - 1] : 0, ends[i]));
      return piece;
    })
  );
  place.scrollTop = place.scrollHeight;
}

function render({ model, el }) {
  const [index, variants] = ["index", "variants"].map((name) => model.get(name));
  const { context } = index.config;
  const { root, find, describe } = stage(el, "gpt-writer", CONTROLS, PANELS);
  const [first, ...others] = variants;
  const methods = [...new Set(others.map((one) => one.method))];
  const sparsities = [...new Set(others.map((one) => one.sparsity))].sort((a, b) => a - b);
  for (const method of methods) find(".method").add(new Option(method, method));
  find(".sparsity").max = sparsities.length - 1;
  Object.assign(find(".temperature"), { max: HOTTEST, step: 0.1 });
  for (const side of Object.keys(PANELS)) find(`.${side} figcaption`).insertAdjacentHTML("afterend", '<div class="text"></div>');
  const focused = (name) => root.getRootNode().activeElement === find(name);

  const unpack = networks(model.get("content"), index);
  const readers = {}; // of a variant's own text; and the dense one's of another's
  const failures = {}; // by variant
  function readerOf(variant, purpose = variant) {
    if (purpose in readers) return readers[purpose];
    readers[purpose] = null;
    const ready = (network) => (readers[purpose] = remembering(reader(network)));
    unpack(variant).then(ready).catch((error) => (failures[variant] = `The weights could not be unpacked: ${error}`)).then(() => draw());
    return null;
  }

  let prompt = []; // bytes of the last one that was not empty
  const texts = new Map(); // by what they grew from
  function textOf(variant, { temperature, seed }) {
    const id = [variant, temperature, seed, ...prompt].join();
    if (!texts.has(id)) {
      const [speaker, critic] = [readerOf(variant), readerOf(first.name, variant === first.name ? variant : "critic")];
      if (!speaker || !critic) return null;
      texts.set(id, growing(prompt, speaker, critic, temperature, seed));
    }
    return texts.get(id);
  }

  const last = () => context - prompt.length;
  const steps = stepper(root, find(".written"), {
    at: () => Math.min(model.get("written"), last()),
    last,
    go: (written) => set({ written }),
    word: "byte",
    pause: PAUSE,
  });

  let [complaint, later, shown, ended, budget] = ["", null, false, false, AT_ONCE];
  function paint(values) {
    if (ended) return; // off the page
    clearTimeout(later);
    const { bytes, total } = usedBytes(values.prompt, context);
    prompt = bytes;
    if (texts.size > KEPT) texts.clear();
    const written = Math.min(values.written, last());
    const variant = others.find((one) => one.method === values.method && one.sparsity === values.sparsity);
    const pair = [first, variant].map(({ name }) => textOf(name, values));
    const behind = () => pair.find((one) => one && one.tops.length <= written);
    for (const until = performance.now() + budget; behind() && performance.now() < until; ) behind().grow();
    budget = AT_ONCE;
    if (behind()) later = setTimeout(() => ((budget = AT_A_TIME), draw()));
    const done = !behind() && !pair.includes(null);

    if (!focused(".prompt")) find(".prompt").value = values.prompt;
    if (!focused(".seed")) find(".seed").value = values.seed;
    find(".method").value = values.method;
    setSlider(find(".sparsity"), sparsities.indexOf(values.sparsity), `${Math.round(100 * values.sparsity)} %`);
    setSlider(find(".temperature"), values.temperature, values.temperature ? values.temperature.toFixed(1) : "0, likeliest");
    steps.show();
    root.setAttribute("aria-busy", String(!done));
    const failure = failures[first.name] ?? failures[variant.name];
    if (failure || !pair.every((one) => one?.tops.length) || !(done || shown)) return void (find("p").textContent = failure || "Unpacking the weights …");
    shown = true;
    show(variant, pair, Math.min(written, ...pair.map(({ tops }) => tops.length - 1)), total, done);
  }

  function show(variant, pair, written, total, done) {
    const length = prompt.length + written;
    const [own, other] = pair.map(({ bytes }) => bytes.slice(0, length));
    const differs = own.findIndex((byte, i) => byte !== other[i]);
    const parting = differs < 0 ? length : differs;
    [first, variant].forEach((one, k) => {
      const side = ["dense", "pruned"][k];
      const { tops, bytes, surprise } = pair[k];
      const name = k ? `${one.method}, ${Math.round(100 * one.sparsity)} %` : "dense";
      const cost = written ? `${(surprise[written] / written).toFixed(2)} bits a byte` : "none yet";
      find(`.${side} figcaption`).innerHTML = k
        ? `<i class="second"></i> <b></b><br>The dense model's surprise: ${cost}; <i class="outlined"></i> its bars`
        : `<i class="kept"></i> <b></b><br>Its surprise: ${cost}; bars: the byte after this text`;
      find(`.${side} b`).textContent = `${name}: perplexity ${one.perplexity.toFixed(2)}${k ? "" : " (weights rounded in both)"}`;
      showText(find(`.${side} .text`), [own, other][k], prompt.length, parting);
      drawBars(find(`.${side} canvas`), tops[written], bytes[length], k ? palette.updated : palette.kept, k);
      describe(`.${side}`, `${name}, next byte: ${tops[written].map(([byte, share]) => `${named(byte)} ${percent(share)}`).join(", ")}`);
    });
    const playing = find(".play").getAttribute("aria-pressed") === "true";
    const agree = parting - prompt.length;
    const parted = differs < 0 ? "" : `the dense one writes “${named(own[parting])}” where the pruned one writes “${named(other[parting])}”`;
    let told = `The two texts agree for ${agree} of ${written} bytes${parted && `, then (framed) ${parted}`}`;
    if (written && !agree) told = `The two texts part at once (framed): ${parted}`;
    if (!written) told = "Nothing is written yet: the bars show what each expects after the prompt";
    const cut = total > prompt.length ? ` Of the prompt's ${total} bytes the last ${prompt.length} are read: the model sees ${context} at a time.` : "";
    const full = written === last() ? ` The model's ${context} bytes are full: it can't write on.` : "";
    find("p").textContent = complaint || (playing || !done ? "Writing …" : "") || `${told}.${cut}${full}`;
  }

  const sparsity = (at) => sparsities[at];
  const { set, draw, end } = follow(model, { prompt: null, method: String, sparsity, temperature: Number, seed: null, written: null }, root, paint);
  /** Takes what was typed if it is allowed; else says why not, and what is shown stays. */
  function typed(name, accept, otherwise) {
    find(`.${name}`).addEventListener("input", ({ target }) => {
      const changes = accept(target);
      complaint = changes ? "" : otherwise(target.value);
      changes ? set(changes) : draw();
    });
    find(`.${name}`).addEventListener("blur", () => {
      complaint = "";
      draw();
    });
  }
  typed(
    "prompt",
    ({ value }) => value && { prompt: value, written: 0 },
    () => `The prompt is empty, must have at least one byte. Below is still what “${plain(prompt)}” led to.`
  );
  find(".prompt").addEventListener("keydown", (event) => {
    const by = { ArrowUp: 1, ArrowDown: EXAMPLES.length - 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    complaint = "";
    event.target.value = EXAMPLES[(Math.max(0, EXAMPLES.indexOf(model.get("prompt"))) + by) % EXAMPLES.length];
    set({ prompt: event.target.value });
  });
  typed(
    "seed",
    ({ valueAsNumber }) => Number.isInteger(valueAsNumber) && valueAsNumber >= 0 && valueAsNumber <= LAST_SEED && { seed: valueAsNumber },
    (value) => `The seed is “${value}”, must be a whole number from 0 to ${LAST_SEED}. Below is still seed ${model.get("seed")}.`
  );
  return () => {
    ended = true;
    clearTimeout(later);
    steps.stop();
    end();
  };
}

export default { render };
