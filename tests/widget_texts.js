// What of a widget can't be read; in the page before the widget is.

/** Of every canvas the texts of its last drawing (setting its width clears it): the box of the ink and the size, in pixels of the page. */
function watchTexts() {
  const drawing = CanvasRenderingContext2D.prototype;
  const plain = drawing.fillText;
  const width = Object.getOwnPropertyDescriptor(HTMLCanvasElement.prototype, "width");
  Object.defineProperty(HTMLCanvasElement.prototype, "width", {
    ...width,
    set(value) {
      this.texts = [];
      width.set.call(this, value);
    },
  });
  drawing.fillText = function (text, x, y) {
    plain.call(this, text, x, y);
    const ink = this.measureText(text);
    const [at, ratio] = [this.getTransform(), window.devicePixelRatio];
    const corners = [-ink.actualBoundingBoxLeft, ink.actualBoundingBoxRight].flatMap((aside) =>
      [-ink.actualBoundingBoxAscent, ink.actualBoundingBoxDescent].map((down) => at.transformPoint({ x: x + aside, y: y + down })),
    );
    const [xs, ys] = ["x", "y"].map((axis) => corners.map((corner) => corner[axis] / ratio));
    const box = { left: Math.min(...xs), right: Math.max(...xs), top: Math.min(...ys), bottom: Math.max(...ys) };
    const size = (parseFloat(this.font.match(/[\d.]+px/)) * Math.hypot(at.a, at.b)) / ratio;
    if (box.right > box.left) this.canvas.texts.push({ text, size, ...box });
  };
}

/** In words: texts that leave their canvas, run into another or are under 12 px; choices and panels that are cut. */
function unreadable(root) {
  const found = [];
  const every = (kind) => [...root.querySelectorAll(kind)].filter((element) => element.clientWidth);
  const size = (element) => parseFloat(getComputedStyle(element).fontSize);
  for (const canvas of every("canvas")) {
    const where = canvas.closest("figure")?.className;
    canvas.texts.forEach((one, i) => {
      if (one.size < 12) found.push(`${where}: “${one.text}” has ${one.size} px`);
      const inside = one.left >= -1 && one.top >= -1 && one.right <= canvas.clientWidth + 1 && one.bottom <= canvas.clientHeight + 1;
      if (!inside) found.push(`${where}: “${one.text}” leaves its canvas`);
      for (const other of canvas.texts.slice(i + 1)) {
        const beside = one.left >= other.right + 2 || other.left >= one.right + 2;
        const below = one.top >= other.bottom - 1 || other.top >= one.bottom - 1;
        if (!beside && !below) found.push(`${where}: “${one.text}” runs into “${other.text}”`);
      }
    });
  }
  const g = document.createElement("canvas").getContext("2d");
  for (const list of every("select")) {
    const { font, paddingLeft, paddingRight, textOverflow } = getComputedStyle(list);
    if (textOverflow === "ellipsis") continue; // says so itself
    g.font = font;
    const arrow = 13;
    const room = list.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight) - arrow;
    const text = list.selectedOptions[0]?.text ?? "";
    if (g.measureText(text).width > room) found.push(`${list.className}: the choice “${text}” is cut`);
  }
  for (const panel of every("figure")) if (panel.scrollWidth > panel.clientWidth + 1) found.push(`${panel.className}: ${panel.scrollWidth} px in ${panel.clientWidth}`);
  const words = document.createTreeWalker(root.querySelector(".charts"), NodeFilter.SHOW_TEXT);
  while (words.nextNode()) {
    const { data, parentElement } = words.currentNode;
    if (data.trim() && parentElement.getClientRects().length && size(parentElement) < 12) found.push(`“${data.trim()}” is under 12 px`);
  }
  return found;
}

watchTexts();
