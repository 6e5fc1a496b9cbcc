// Drawings of a run: lines along its epochs, and bars of singular values. SVG, described in words.
TrainHere.part("charts", () => {
  const LEFT = 34, RIGHT = 336, TOP = 10, BOTTOM = 150;

  const grid = (svg, ticks, y, say) => {
    for (const tick of ticks) {
      makeElement("line", { x1: LEFT, x2: RIGHT, y1: y(tick), y2: y(tick), class: "grid" }, svg);
      makeElement("text", { x: LEFT - 5, y: y(tick) + 4, "text-anchor": "end", text: say(tick) }, svg);
    }
  };

  /**
   * Lines along epochs 0 ... `epochs`.
   *
   * @param lines [{ name, kind, values: [[epoch, value], ...] }]; kind is the line's class.
   * @param ticks of the vertical axis; its ends are the first and the last.
   */
  const lines = (svg, { title, lines, epochs, ticks, digits }) => {
    svg.replaceChildren();
    const x = (epoch) => LEFT + (epoch / epochs) * (RIGHT - LEFT);
    const span = ticks[ticks.length - 1] - ticks[0];
    const y = (value) => BOTTOM - ((Math.min(Math.max(value, ticks[0]), ticks[0] + span) - ticks[0]) / span) * (BOTTOM - TOP);
    grid(svg, ticks, y, (tick) => tick);
    for (const epoch of [0, Math.round(epochs / 2), epochs]) {
      makeElement("text", { x: x(epoch), y: BOTTOM + 16, "text-anchor": epoch === epochs ? "end" : "middle", text: epoch }, svg);
    }
    makeElement("text", { x: (LEFT + RIGHT) / 2, y: BOTTOM + 32, "text-anchor": "middle", text: "epoch" }, svg);
    for (const { kind, values } of lines) {
      const points = values.map(([epoch, value]) => [x(epoch), y(value)]);
      makeElement("path", { d: points.map(([a, b], i) => `${i ? "L" : "M"}${a.toFixed(1)} ${b.toFixed(1)}`).join(""), class: `line ${kind}` }, svg);
      const [a, b] = points[points.length - 1];
      makeElement("circle", { cx: a, cy: b, r: 4, class: `dot ${kind}` }, svg);
    }
    const said = lines.map(({ name, values }) => {
      const first = values[0][1].toFixed(digits), last = values[values.length - 1][1].toFixed(digits);
      return `${name} from ${first} to ${last}`;
    });
    svg.setAttribute("aria-label", `${title}: ${said.join("; ")}.`);
  };

  /** Bars of singular values, at the start beside now. */
  const bars = (svg, { title, before, now }) => {
    svg.replaceChildren();
    const most = Math.max(...before, ...now), y = (value) => BOTTOM - (value / most) * (BOTTOM - TOP);
    grid(svg, [0, most / 2, most], y, (tick) => tick.toFixed(most < 10 ? 1 : 0));
    const room = (RIGHT - LEFT) / now.length, wide = Math.min(34, room / 2 - 6);
    now.forEach((value, i) => {
      const middle = LEFT + (i + 0.5) * room;
      const bar = (at, height, kind) => makeElement("rect", { x: at, y: y(height), width: wide, height: BOTTOM - y(height), class: kind }, svg);
      bar(middle - wide - 1, before[i], "start");
      bar(middle + 1, value, "now");
      makeElement("text", { x: middle, y: BOTTOM + 16, "text-anchor": "middle", text: `s${"₁₂₃₄"[i]}` }, svg);
    });
    const say = (values) => values.map((value) => value.toFixed(2)).join(", ");
    svg.setAttribute("aria-label", `${title}: ${say(before)} at the start, ${say(now)} now.`);
  };

  return { lines, bars };
});
