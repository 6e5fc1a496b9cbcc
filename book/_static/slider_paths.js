// Paths beneath a slider (Paths in dip_book/slider_paths.py): each goes as far as the slider stands.
const SliderPaths = (() => {
  const LEFT = 46, RIGHT = 334, TOP = 8, BOTTOM = 256;

  // the end of a path: a square if it is dashed, else a dot
  const mark = (svg, { look, dashed }, x, y, size) => {
    const kind = { class: `head look${look}` };
    if (dashed) makeElement("rect", { x: x - size, y: y - size, width: 2 * size, height: 2 * size, ...kind }, svg);
    else makeElement("circle", { cx: x, cy: y, r: size, ...kind }, svg);
  };
  const trail = (svg, { look, dashed }, places) => {
    const points = places.map((place) => place.map((each) => each.toFixed(1)).join()).join(" ");
    makeElement("polyline", { points, class: `trail look${look}${dashed ? " dashed" : ""}` }, svg);
  };

  /** The paths of a panel up to one position, and the front: the paths' ends that no other beats on both axes. */
  const draw = (svg, { title, axes, paths, fronts, said }, at) => {
    const all = paths.flatMap(({ points }) => points);
    const ranges = [0, 1].map((i) => [Math.min(...all.map((p) => p[i])) - 0.6, Math.max(...all.map((p) => p[i])) + 0.6]);
    const place = ([a, b]) => [
      LEFT + ((a - ranges[0][0]) / (ranges[0][1] - ranges[0][0])) * (RIGHT - LEFT),
      BOTTOM - ((b - ranges[1][0]) / (ranges[1][1] - ranges[1][0])) * (BOTTOM - TOP),
    ];
    svg.replaceChildren();
    for (const tick of evenTicks(...ranges[0])) {
      const [x] = place([tick, 0]);
      makeElement("line", { x1: x, x2: x, y1: TOP, y2: BOTTOM, class: "grid" }, svg);
      makeElement("text", { x, y: BOTTOM + 16, "text-anchor": "middle", text: tick }, svg);
    }
    for (const tick of evenTicks(...ranges[1])) {
      const [, y] = place([0, tick]);
      makeElement("line", { x1: LEFT, x2: RIGHT, y1: y, y2: y, class: "grid" }, svg);
      makeElement("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end", text: tick }, svg);
    }
    makeElement("text", { x: (LEFT + RIGHT) / 2, y: BOTTOM + 36, "text-anchor": "middle", text: axes[0] }, svg);
    makeElement("text", { x: -(TOP + BOTTOM) / 2, y: 12, transform: "rotate(-90)", "text-anchor": "middle", text: axes[1] }, svg);
    // stairs from the left edge to the lower one
    const stairs = [[LEFT, place(paths[fronts[at][0]].points[at])[1]]];
    for (const i of fronts[at]) {
      const [x, y] = place(paths[i].points[at]);
      stairs.push([stairs[stairs.length - 1][0], y], [x, y]);
    }
    stairs.push([stairs[stairs.length - 1][0], BOTTOM]);
    makeElement("polyline", { points: stairs.map((each) => each.map((v) => v.toFixed(1)).join()).join(" "), class: "front" }, svg);
    for (const path of paths) trail(svg, path, path.points.slice(0, at + 1).map(place));
    for (const path of paths) mark(svg, path, ...place(path.points[at]), 4.5);
    const ends = paths.map(({ name, points }) => `${name} ${points[at].map((each) => each.toFixed(1)).join(" and ")}`);
    svg.setAttribute("aria-label", `${title}, ${axes.join(" and ")}. ${ends.join("; ")}. ${said[at]}`);
  };

  /** What the paths are, each once: [name, how to draw its key]. */
  const legend = (panels) => {
    const paths = new Map(panels.flatMap((panel) => panel.paths.map((path) => [path.name, path])));
    const entries = [...paths.values()].map((path) => [
      path.name,
      (svg) => {
        trail(svg, path, [[0, 6], [24, 6]]);
        mark(svg, path, 24, 6, 4);
      },
    ]);
    return [...entries, ["front: no other is better on both", (svg) => makeElement("polyline", { points: "0,6 28,6", class: "front" }, svg)]];
  };

  return { viewBox: "0 0 344 298", key: "0 0 30 12", draw, legend };
})();
