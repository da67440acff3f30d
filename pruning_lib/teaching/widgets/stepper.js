// Steps forth and back: four buttons, a slider and a film. What the steps are, the widget knows.

import { keepFocus, setSlider } from "./charts.js";

const CATCH_UP = 500; // ms: so many a film that was held up makes good at once

export const STEP_BUTTONS = `
  <span role="group" aria-label="Steps">
    <button class="start" aria-label="To the start">start</button>
    <button class="back" aria-label="One step back">◀ back</button>
    <button class="play" aria-pressed="false">play</button>
    <button class="next" aria-label="One step on">step ▶</button>
  </span>`;

/**
 * Ties the buttons and the `slider` in `root` to the steps 0, …, last(). `at` says where the widget stands, `go` takes it
 * elsewhere and draws; a film takes it on by one every `pause` ms of the clock, by several where the page can't draw that
 * often. Gives `show`, which the drawing calls so that the controls agree, and `stop`, which ends the film.
 */
export function stepper(root, slider, { at, last, go, word, pause }) {
  const button = (name) => root.querySelector(`.${name}`);
  let timer = null;

  function show() {
    const words = `${at()} of ${last()}`;
    slider.max = last();
    setSlider(slider, at(), words, `${word} ${words}`);
    button("start").disabled = button("back").disabled = at() === 0;
    button("next").disabled = at() === last();
    keepFocus(root, slider);
    button("play").textContent = timer === null ? "play" : "pause";
    button("play").setAttribute("aria-pressed", String(timer !== null));
  }
  function stop() {
    clearInterval(timer);
    timer = null;
  }
  function to(step) {
    stop();
    go(Math.max(0, Math.min(last(), step)));
  }
  function play() {
    if (at() === last()) go(0);
    const most = Math.max(1, Math.floor(CATCH_UP / pause));
    let shown = performance.now();
    timer = setInterval(() => {
      const now = performance.now();
      const due = Math.min(most, Math.round((now - shown) / pause));
      if (!due) return;
      shown = due < most ? shown + due * pause : now;
      const next = Math.min(last(), at() + due);
      if (next === last()) stop();
      go(next);
    }, pause);
    show();
  }
  button("start").addEventListener("click", () => to(0));
  button("back").addEventListener("click", () => to(at() - 1));
  button("next").addEventListener("click", () => to(at() + 1));
  button("play").addEventListener("click", () => (timer === null ? play() : to(at())));
  slider.addEventListener("input", () => to(Number(slider.value)));
  root.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || event.target.tagName !== "BUTTON") return; // the slider and lists have their own arrow keys
    event.preventDefault();
    to(at() + by);
  });
  return { show, stop };
}
