// Reveal with widgets on its slides: who holds the focus holds the keyboard.

const [SMALLEST, LARGEST] = [60, 200]; // percent of the usual size
const READABLE = 20; // px of type in a formula
// Of a table, in percent: from the first size on rows go to the hand-out until six are left, below the second (16 px) all may.
const [SMALLER_TABLE, LEAST_TABLE, FEW_ROWS] = [80, 62, 6];
const inWidgets = new CSSStyleSheet();
inWidgets.replaceSync(document.getElementById("in-widgets").textContent);
const inWidget = () => document.activeElement?.closest(".live-widget, summary") != null;

function leaveWidget() {
  let focused = document.activeElement;
  while (focused.shadowRoot?.activeElement) focused = focused.shadowRoot.activeElement;
  focused.blur();
}

// On a phone a slide is as large as the screen, in type for the hand, and scrolls; elsewhere, and in the speaker's frames,
// it is 1280 × 720 and scaled.
const onPhone = window.top === window && Math.min(window.innerWidth, window.innerHeight) < 500;
document.documentElement.classList.toggle("phone", onPhone);
const room = () => (onPhone ? { width: window.innerWidth, height: window.innerHeight } : { width: 1280, height: 720 });

// Reveal and the style sheet enlarge what widgets draw, unknown to them: so they draw finer.
const finer = (onPhone ? 1 : 2) * window.devicePixelRatio;
Object.defineProperty(window, "devicePixelRatio", { get: () => finer });

/** What the slide holds as large as there is room: tables, then the slide, made smaller where it is too full; then it scrolls. */
function fit(slide) {
  if (onPhone) return narrow(slide);
  const widgets = [...slide.querySelectorAll(".live-widget")]; // they have their slides to themselves
  if (widgets.length) return Promise.all(widgets.map((widget) => fitWidget(slide, widget)));
  const picture = slide.querySelector("img");
  slide.classList.toggle("beside", picture?.naturalWidth < 1.7 * picture?.naturalHeight);
  slide.classList.remove("wide");
  slide.classList.toggle("wide", narrow(slide) < READABLE); // then the formula has the slide's width, above the picture
  narrow(slide);
  slide.style.zoom = "100%";
  const seen = [...slide.querySelectorAll("table")].filter((table) => table.checkVisibility()); // not those in the notes
  const tables = seen.map((table) => fitTable(slide, table));
  const smallest = Math.max(SMALLEST, ...tables.map((percent) => (100 * LEAST_TABLE) / percent));
  for (let percent = 100; percent >= smallest && tooFull(slide); percent -= 5) slide.style.zoom = `${percent}%`;
}

/** A table in smaller type where it is too full, then without its last rows; its size in percent. */
function fitTable(slide, table) {
  const rows = [...table.tBodies].flatMap((body) => [...body.rows]);
  const note = table.createCaption();
  let [percent, shown] = [100, rows.length];
  const set = () => {
    table.style.zoom = `${percent}%`;
    rows.forEach((row, place) => (row.hidden = place >= shown));
    note.textContent = shown < rows.length ? `… all ${rows.length} rows in the hand-out` : "";
  };
  table.classList.remove("wraps");
  set();
  table.classList.toggle("wraps", table.scrollWidth > 1.25 * slide.clientWidth);
  for (; tooFull(slide) && (percent > LEAST_TABLE || shown > 1); set())
    if (percent > SMALLER_TABLE || (shown <= FEW_ROWS && percent > LEAST_TABLE)) percent = Math.max(percent - 5, LEAST_TABLE);
    else shown -= 1;
  return percent;
}

function tooFull(slide) {
  const right = (part) => part.getBoundingClientRect().right;
  const exhibits = [...slide.querySelectorAll(".live-widget, table")];
  return slide.scrollHeight > slide.clientHeight + 1 || exhibits.some((one) => right(one) > right(slide) - 20);
}

/**
 * A widget as large as the slide lets it be, but never smaller than elsewhere; rather its heading goes to the foot, then it
 * scrolls. It draws anew at each width, and only a frame later its height is known. Who works with it sees it shrink only.
 */
async function fitWidget(slide, widget) {
  if (widget.fitting || !widget.shadowRoot || widget.fitted === widget.offsetHeight) return;
  widget.fitting = true;
  widget.shadowRoot.adoptedStyleSheets = [inWidgets];
  const drawn = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const fits = async (percent) => {
    widget.style.zoom = `${percent}%`;
    await drawn();
    return !tooFull(slide);
  };
  let [low, high] = [100, widget.matches(":focus-within") ? Number.parseFloat(widget.style.zoom) : LARGEST];
  widget.style.opacity = 0; // hidden it would lose the keyboard
  slide.classList.remove("tight");
  if (await fits(high)) low = high;
  while (high - low > 5) {
    const middle = 5 * Math.round((low + high) / 10);
    if (await fits(middle)) low = middle;
    else high = middle;
  }
  slide.classList.toggle("tight", !(await fits(low)));
  widget.style.opacity = "";
  widget.fitted = widget.offsetHeight;
  widget.fitting = false;
}

/** A formula, its number included, or a line of code that is wider than its place gets smaller type; the smallest, in px. */
function narrow(slide) {
  const sizes = [...slide.querySelectorAll('mjx-container[display="true"], .jp-InputArea-editor pre')].map((wide) => {
    wide.style.fontSize = "";
    let size = parseFloat(getComputedStyle(wide).fontSize);
    while (size > 12 && wide.scrollWidth > wide.parentElement.clientWidth + 1) wide.style.fontSize = `${(size = Math.max(size - 1, 12))}px`;
    return size;
  });
  return Math.min(...sizes);
}

/** The lines of an aligned formula appear one after the other. */
function build() {
  for (const formula of document.querySelectorAll('.reveal mjx-container[display="true"]')) {
    const table = [...formula.querySelectorAll("[data-mml-node=mtable]")].find((one) => one.children.length > 1);
    if (!table?.closest("[data-mml-node=mrow]")) for (const line of [...(table?.children ?? [])].slice(1)) line.classList.add("fragment");
  }
}

/** Show what was measured, whether the room has guessed or not; once it is shown the button would hide it again. */
function answer(slide) {
  const button = slide.querySelector(".live-widget")?.shadowRoot?.querySelector("[data-shown=false] button");
  if (button) Object.assign(button, { disabled: false }).click();
}

function startDeck() {
  const late = new ResizeObserver(() => fit(Reveal.getCurrentSlide())); // widgets and pictures take their room when shown
  const watch = () => {
    late.disconnect();
    for (const part of Reveal.getCurrentSlide().querySelectorAll(".live-widget, img")) late.observe(part);
    fit(Reveal.getCurrentSlide());
  };
  build();
  Reveal.on("ready", watch);
  Reveal.on("slidechanged", watch);
  Reveal.on("slidechanged", () => inWidget() && leaveWidget()); // a slider that is gone must not take keys
  Reveal.on("fragmentshown", ({ fragment }) => fragment.querySelector(".answer") && answer(fragment.closest("section")));
  Reveal.on("pdf-ready", async () => {
    await Promise.all(Reveal.getSlides().map(fit));
    document.documentElement.dataset.fitted = "";
  });
  if (onPhone) window.addEventListener("resize", () => Reveal.configure(room())); // it is turned
  return Reveal.initialize({
    ...room(),
    touch: !onPhone, // there a finger scrolls
    navigationMode: onPhone ? "linear" : "default", // two arrows, large enough for it
    scrollActivationWidth: 0,
    margin: 0,
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
