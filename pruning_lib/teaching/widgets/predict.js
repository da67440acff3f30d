// Predict, then see: a question, a slider or choices for the guess, and a button that shows what was found.

import { keepFocus, setSlider, slider, stage } from "./charts.js";
import { follow } from "./redraw.js";

const SCALE = slider("guess", "Your guess") + '<span class="scale" aria-hidden="true"><i></i><i></i></span>';
const radio = (group) => (_, i) => `<label><input type="radio" name="${group}" value="${i}"><span></span></label>`;

function render({ model, el }) {
  const { question, answer, note, choices, low, high, step, unit, found } = model.get("asked");
  const digits = { maximumFractionDigits: Math.max(0, Math.ceil(-Math.log10(step))) + 1 };
  const number = (x) => x.toLocaleString("en-US", digits).replace("-", "−");
  const text = (x) => choices[x] ?? `${number(x)} ${unit}`.trim();
  const off = (guess) => {
    if (choices.length) return guess === answer ? "Right. " : "";
    const by = number(Math.abs(guess - answer));
    return by === number(0) ? "Right. " : `Your guess is ${by} too ${guess < answer ? "low" : "high"}. `;
  };
  const guesses = choices.length ? choices.map(radio(`guess ${Math.random()}`)).join("") : SCALE; // no two share a group
  const { root, find } = stage(el, "predict", `<b></b><span class="guesses" role="group">${guesses}</span><button></button>`, {});
  find("b").textContent = question;
  find(".guesses").setAttribute("aria-label", question);
  const [inputs, marks] = ["input", ".scale i"].map((one) => [...root.querySelectorAll(one)]);
  if (!choices.length) {
    Object.assign(inputs[0], { min: low, max: high, step });
    Object.assign(find(".scale").dataset, { low: number(low), high: text(high) });
  } else inputs.forEach((input, i) => (input.nextSibling.textContent = choices[i]));

  function paint({ guess, shown }) {
    root.dataset.shown = shown; // for slides, whose next step shows it
    const said = guess === null ? "no guess yet" : text(guess);
    inputs.forEach((input, i) => {
      Object.assign(input, { disabled: shown, checked: i === guess });
      input.parentElement.classList.toggle("measured", shown && choices.length > 0 && i === answer);
    });
    if (!choices.length) setSlider(inputs[0], guess ?? (low + high) / 2, said);
    marks.forEach((mark, i) => {
      mark.hidden = i ? !shown : guess === null;
      mark.textContent = i ? `${found}: ${text(answer)}` : `you: ${said}`;
      mark.style.setProperty("--at", `${(100 * ((i ? answer : (guess ?? low)) - low)) / (high - low)}%`);
    });
    Object.assign(find("button"), { disabled: guess === null && !shown, textContent: shown ? "Guess again" : `Show what was ${found}` });
    keepFocus(root, shown ? find("button") : inputs[0]);
    const you = guess === null ? "Guess first." : `You say: ${said}.`;
    const verdict = guess === null ? "" : off(guess);
    find("p").textContent = shown ? `${found[0].toUpperCase() + found.slice(1)}: ${text(answer)}. ${verdict}${note}` : you;
  }

  const { set, end } = follow(model, { guess: null, shown: null }, root, paint);
  find(".guesses").addEventListener("input", ({ target }) => set({ guess: Number(target.value) }));
  if (!choices.length) {
    const take = () => set({ guess: Number(inputs[0].value) });
    inputs[0].addEventListener("click", take); // where the slider stands there is nothing to move
    inputs[0].addEventListener("keydown", ({ key }) => key === "Enter" && take());
  }
  find("button").addEventListener("click", () => set(model.get("shown") ? { shown: false, guess: null } : { shown: true }));
  return end;
}

export default { render };
