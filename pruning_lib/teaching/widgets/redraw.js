// When to draw anew: the model has changed, here or in Python; the page has changed its width or its colors.

/**
 * Calls `paint` with the values of all `traits` when one of them changes, and when `root` changes its width or the page
 * its colors. `traits` says how each is read from the text of the control with its name; null: from none.
 * Gives `set`, which changes traits from the page: it draws first and then tells Python, so that what is seen waits for
 * nothing; `draw`, which paints anew; and `end`, which ends it all.
 */
export function follow(model, traits, root, paint) {
  const names = Object.keys(traits);
  const draw = () => paint(Object.fromEntries(names.map((name) => [name, model.get(name)])));
  let own = false; // a change from the page is drawn once, not once more for each trait
  const changed = () => own || !root.clientWidth || draw();
  for (const name of names) model.on(`change:${name}`, changed);
  function set(changes) {
    own = true;
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    own = false;
    draw();
    model.save_changes();
  }
  for (const [name, read] of Object.entries(traits))
    if (read) root.querySelector(`.${name}`).addEventListener("input", ({ target }) => set({ [name]: read(target.value) }));

  let width = 0;
  const sizes = new ResizeObserver(() => {
    if (root.clientWidth && root.clientWidth !== width) {
      width = root.clientWidth;
      draw();
    }
  });
  sizes.observe(root);
  // A theme names itself before its style sheet is there, and nothing tells when colors change: so look now and then.
  const ink = () => getComputedStyle(root).color;
  let drawn = ink();
  const theme = setInterval(() => {
    if (root.clientWidth && ink() !== drawn) {
      drawn = ink();
      draw();
    }
  }, 300);
  function end() {
    for (const name of names) model.off?.(`change:${name}`, changed); // a stub of a model may have nothing to switch off
    sizes.disconnect();
    clearInterval(theme);
  }
  return { set, draw, end };
}
