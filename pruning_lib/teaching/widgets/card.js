// A page for the printer: in a frame of its own, so that nothing else of the notebook, hand-out or deck is printed.

const STYLE = `@page { size: A4; margin: 16mm; } body { font: 10.5pt/1.4 system-ui, sans-serif; color: black; background: white; }
  h1 { margin: 0 0 8pt; font-size: 17pt; } h2 { margin: 10pt 0 2pt; font-size: 11pt; } ol, ul { margin: 0; padding-left: 18pt; }
  p { margin: 4pt 0; } .words { padding: 6pt 8pt; border: 1.5pt solid; font-weight: 600; } .about { font-size: 8.5pt; }`;

const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

/** The card as a page: its title, what was asked, the answer in a frame, lists under their headings, where it is from. */
export function cardPage({ title, given, words, about, ...lists }) {
  const list = ([heading, rows], k) => `<h2>${escaped(heading)}</h2><${k ? "ul" : "ol"}>${rows.map((row) => `<li>${escaped(row)}</li>`).join("")}</${k ? "ul" : "ol"}>`;
  const filled = Object.entries(lists).filter(([, rows]) => rows.length);
  return `<!doctype html><meta charset="utf-8"><title>${title}</title><style>${STYLE}</style><h1>${title}</h1><p>${escaped(given)}</p>
    <p class="words">${escaped(words)}</p>${filled.map(list).join("")}<p class="about">${escaped(about)}</p>`;
}

/** Opens the printer's dialog with the card alone. */
export function printCard(root, card) {
  root.querySelector("iframe")?.remove();
  const frame = Object.assign(document.createElement("iframe"), { srcdoc: cardPage(card), title: card.title, tabIndex: -1 });
  frame.style.cssText = "position: absolute; width: 0; height: 0; border: 0"; // a hidden frame would print nothing
  frame.addEventListener("load", () => frame.contentWindow.print());
  root.append(frame);
}
