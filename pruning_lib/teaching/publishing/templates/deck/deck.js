// Reveal with widgets on its slides: who holds the focus holds the keyboard.

const SMALLEST = 60; // percent
const LARGEST = 2; // times a widget's own size
const inWidget = () => document.activeElement?.closest(".live-widget, summary") != null;

function leaveWidget() {
  let focused = document.activeElement;
  while (focused.shadowRoot?.activeElement) focused = focused.shadowRoot.activeElement;
  focused.blur();
}

// Reveal and the style sheet enlarge what widgets draw, unknown to them: so they draw finer.
const finer = 2 * window.devicePixelRatio;
Object.defineProperty(window, "devicePixelRatio", { get: () => finer });

/** Widgets as large as the slide lets them be; a slide that is too full gets smaller, down to SMALLEST; then it scrolls. */
function fit(slide) {
  const right = (part) => part.getBoundingClientRect().right;
  const tooWide = () => [...slide.querySelectorAll("table")].some((table) => right(table) > right(slide));
  const tooFull = () => slide.scrollHeight > slide.clientHeight + 1 || tooWide();
  slide.style.zoom = "100%";
  for (const widget of slide.querySelectorAll(".live-widget"))
    for (let zoom = LARGEST; zoom >= 0.8; zoom -= 0.05) {
      widget.style.zoom = zoom;
      if (!tooFull()) break;
    }
  for (let percent = 100; percent >= SMALLEST && tooFull(); percent -= 5) slide.style.zoom = `${percent}%`;
}

/** A formula, its number included, or a line of code that is wider than the slide gets smaller type. */
function narrow(slide) {
  for (const wide of slide.querySelectorAll('mjx-container[display="true"], .jp-InputArea-editor pre')) {
    wide.style.fontSize = "";
    const share = wide.parentElement.clientWidth / wide.scrollWidth;
    if (share < 1) wide.style.fontSize = `${Math.floor(share * parseFloat(getComputedStyle(wide).fontSize))}px`;
  }
}

/** The lines of an aligned formula appear one after the other. */
function build() {
  for (const formula of document.querySelectorAll('.reveal mjx-container[display="true"]')) {
    const table = [...formula.querySelectorAll("[data-mml-node=mtable]")].find((one) => one.children.length > 1);
    if (!table?.closest("[data-mml-node=mrow]")) for (const line of [...(table?.children ?? [])].slice(1)) line.classList.add("fragment");
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
  build();
  Reveal.on("ready", watch);
  Reveal.on("slidechanged", watch);
  Reveal.on("slidechanged", () => inWidget() && leaveWidget()); // a slider that is gone must not take keys
  Reveal.on("pdf-ready", () => {
    for (const slide of Reveal.getSlides()) {
      narrow(slide);
      fit(slide);
    }
  });
  return Reveal.initialize({
    width: 1280,
    height: 720,
    margin: 0.03,
    center: false,
    display: "flex",
    hash: true,
    controls: true,
    slideNumber: "c/t",
    transition: "none",
    pdfMaxPagesPerSlide: 1,
    pdfSeparateFragments: false,
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
