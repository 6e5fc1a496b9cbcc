// Bars beneath a slider (Bars in dip_book/slider.py): at every position some groups of them.
const SliderBars = (() => {
  const bottom = 130;
  const height = (share) => share * 110;

  /** The bars of a panel at one position; groups stand beside each other. */
  const draw = (svg, { title, groups, heights, said, axis }, at) => {
    svg.replaceChildren();
    svg.setAttribute("aria-label", `${title}. ${said[at]}`);
    for (const share of [0, 0.5, 1]) {
      const y = bottom - height(share);
      makeElement("line", { x1: 40, x2: 340, y1: y, y2: y, class: "grid" }, svg);
      makeElement("text", { x: 35, y: y + 4, "text-anchor": "end", text: share }, svg);
    }
    if (axis) makeElement("text", { x: -75, y: 9, transform: "rotate(-90)", "text-anchor": "middle", text: axis }, svg);
    const room = 300 / groups.length;
    groups.forEach((name, group) => {
      const bars = heights[at][group];
      const wide = (room - 30) / bars.length;
      bars.forEach((share, i) => {
        const x = 55 + group * room + i * wide;
        makeElement("rect", { x, y: bottom - height(share), width: wide - 4, height: height(share), class: `group${group}` }, svg);
      });
      makeElement("text", { x: 40 + (group + 0.5) * room, y: 148, "text-anchor": "middle", text: name }, svg);
    });
  };

  /** What the bars are: [name, how to draw its key in a square of 12]. All panels have the same groups. */
  const legend = ([{ groups, bar }]) =>
    groups.map((name, group) => [
      bar ? `${bar}: ${name}` : name,
      (svg) => makeElement("rect", { width: 12, height: 12, class: `group${group}` }, svg),
    ]);

  return { viewBox: "0 0 344 156", key: "0 0 12 12", draw, legend };
})();
