// When to draw anew though nobody touched the widget.

/** Call `draw` when `root` changes its width and when the page changes its colors; returns what ends that. */
export function follow(root, draw) {
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
  return () => {
    sizes.disconnect();
    clearInterval(theme);
  };
}
