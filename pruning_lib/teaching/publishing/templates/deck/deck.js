// Reveal with widgets on its slides: who holds the focus holds the keyboard.

const SMALLEST = 70; // percent
const inWidget = () => document.activeElement?.closest(".live-widget, summary") != null;

function leaveWidget() {
  let focused = document.activeElement;
  while (focused.shadowRoot?.activeElement) focused = focused.shadowRoot.activeElement;
  focused.blur();
}

// Reveal and the style sheet enlarge what widgets draw, unknown to them: so they draw finer.
const finer = 2 * window.devicePixelRatio;
Object.defineProperty(window, "devicePixelRatio", { get: () => finer });

/** Make a slide that is too full smaller, down to SMALLEST; below that it scrolls. */
function fit(slide) {
  for (let percent = 100; percent >= SMALLEST; percent -= 5) {
    slide.style.zoom = `${percent}%`;
    if (slide.scrollHeight <= slide.clientHeight + 1) break;
  }
}

/** A formula that is wider than the slide, its number included, gets smaller type. */
function narrow(slide) {
  for (const formula of slide.querySelectorAll('mjx-container[display="true"]')) {
    formula.style.fontSize = "";
    const share = formula.parentElement.clientWidth / formula.scrollWidth;
    if (share < 1) formula.style.fontSize = `${Math.floor(100 * share)}%`;
  }
}

function startDeck() {
  const late = new ResizeObserver(() => fit(Reveal.getCurrentSlide())); // widgets and pictures take their room when shown
  const watch = () => {
    late.disconnect();
    for (const part of Reveal.getCurrentSlide().querySelectorAll(".live-widget, img")) late.observe(part);
    narrow(Reveal.getCurrentSlide());
    fit(Reveal.getCurrentSlide());
  };
  Reveal.on("ready", watch);
  Reveal.on("slidechanged", watch);
  Reveal.on("slidechanged", () => inWidget() && leaveWidget()); // a slider that is gone must not take keys
  return Reveal.initialize({
    width: 1280,
    height: 720,
    margin: 0.03,
    center: false,
    hash: true,
    controls: true,
    slideNumber: "c/t",
    transition: "none",
    keyboardCondition: () => !inWidget(),
    plugins: [RevealNotes],
  });
}

// Escape gives the keyboard back to the slides; only then does it open the overview.
document.addEventListener(
  "keydown",
  (event) => {
    if (event.key !== "Escape" || !inWidget()) return;
    leaveWidget();
    event.stopPropagation();
  },
  true
);
