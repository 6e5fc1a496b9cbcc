// The picture: a dot for each run or group, in up to eight colours; lines and intervals of groups.
AskTheData.part("plot", (use) => {
  const { axis } = use("axes");
  const COLOURS = 8;

  // classes of colour: the most frequent values of a setting, or fifths of what was measured
  const classes = (column, points) => {
    if (!column) return { names: ["all"], of: () => 0 };
    if (!column.per) {
      const counts = new Map();
      for (const { colour } of points) counts.set(colour, (counts.get(colour) ?? 0) + 1);
      const most = [...counts].sort((a, b) => b[1] - a[1]).map(([value]) => value);
      const rest = most.length > COLOURS ? most.splice(COLOURS - 1) : [];
      const order = [null, ...column.values].filter((each) => most.includes(each));
      const names = [...order.map((value) => column.say(value)), ...(rest.length ? [`${rest.length} others`] : [])];
      return { names, of: (value) => (most.includes(value) ? order.indexOf(value) : order.length) };
    }
    const values = points.map(({ colour }) => colour).filter((value) => value !== null).sort((a, b) => a - b);
    const ends = [...new Set([0.2, 0.4, 0.6, 0.8].map((share) => values[Math.floor(share * values.length)]))].filter((each) => each !== undefined);
    const said = ends.map((end) => column.say(end));
    const names = [...said.map((end, i) => (i ? `${said[i - 1]} to ${end}` : `below ${end}`)), said.length ? `${said.at(-1)} and more` : "all", "none"];
    return { names, of: (value) => (value === null ? names.length - 1 : ends.filter((end) => value >= end).length) };
  };

  // a number between -0.5 and 0.5 that is always the same for a point
  const shift = (i) => ((i * 0.618034) % 1) - 0.5;

  const frame = (svg, x, y, { left, right, top, bottom }) => {
    const across = (share) => left + share * (right - left), up = (share) => bottom - share * (bottom - top);
    const tilted = x.words && x.ticks.length * 9 * Math.max(...x.ticks.map(([, text]) => text.length)) > right - left;
    for (const [share, text] of x.ticks) {
      makeElement("line", { x1: across(share), x2: across(share), y1: top, y2: bottom, class: "ask-grid" }, svg);
      const place = tilted ? { transform: `translate(${across(share) + 4} ${bottom + 12}) rotate(-45)`, "text-anchor": "end" } : { x: across(share), y: bottom + 17, "text-anchor": "middle" };
      makeElement("text", { ...place, text }, svg);
    }
    for (const [share, text] of y.ticks) {
      makeElement("line", { x1: left, x2: right, y1: up(share), y2: up(share), class: "ask-grid" }, svg);
      makeElement("text", { x: left - 6, y: up(share) + 4, "text-anchor": "end", text }, svg);
    }
    return { across, up };
  };

  /**
   * Draw points into an SVG as wide as its place.
   *
   * @param points [{ x, y, colour, half: of the interval of y or null, series }], values as the columns have them.
   * @param drawn { x, y, colour: columns; lines: whether those of a series are joined; groups: whether they are groups }.
   * @returns { classes: [[name, count]] of the legend, near(left, top): the point nearest to a place }.
   */
  const draw = (svg, points, { x: ofX, y: ofY, colour, lines, groups }) => {
    svg.replaceChildren();
    if (!points.length) return { classes: [], near: () => null };
    const x = axis(ofX, points.map((each) => each.x)), y = axis(ofY, points.flatMap(({ y: at, half }) => (half ? [at - half, at + half] : [at])));
    const width = Math.max(280, svg.parentElement.clientWidth), height = Math.round(Math.min(460, 0.72 * width + 60));
    const longest = (ticks) => Math.max(...ticks.map(([, text]) => text.length));
    const under = x.words ? Math.min(110, 30 + 5.2 * longest(x.ticks)) : 24;
    const box = { left: Math.min(150, 30 + 6.6 * longest(y.ticks)), right: width - 10, top: 8, bottom: height - under - 22 };
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const { across, up } = frame(svg, x, y, box);
    makeElement("text", { x: (box.left + box.right) / 2, y: height - 5, "text-anchor": "middle", class: "ask-axis", text: x.title }, svg);
    makeElement("text", { transform: `translate(14 ${(box.top + box.bottom) / 2}) rotate(-90)`, "text-anchor": "middle", class: "ask-axis", text: y.title }, svg);

    const kinds = classes(colour, points), paths = kinds.names.map(() => []);
    const places = points.map((each, i) => {
      const kind = kinds.of(each.colour); // groups of one word stand side by side, runs anywhere
      const place = [across(x.at(each.x, groups ? (kind + 0.5) / paths.length - 0.5 : shift(i))), up(y.at(each.y, groups ? 0 : shift(i + 0.5)))];
      paths[kind].push([...place, each]);
      return [...place, each];
    });
    const path = (d, attributes) => d && makeElement("path", { d, fill: "none", ...attributes }, svg);
    paths.forEach((own, kind) => {
      const colours = `ask-colour${kind % COLOURS}${colour?.per ? " ask-shade" : ""}`;
      if (lines) {
        const inOrder = [...own].sort((a, b) => (a[2].series < b[2].series ? -1 : a[2].series > b[2].series ? 1 : a[0] - b[0]));
        const starts = (i) => !i || inOrder[i][2].series !== inOrder[i - 1][2].series;
        path(inOrder.map(([left, top], i) => `${starts(i) ? "M" : "L"}${left.toFixed(1)} ${top.toFixed(1)}`).join(""), { class: `${colours} ask-line` });
      }
      const bars = own.filter(([, , { half }]) => half).map(([left, , { y: at, half }]) => `M${left.toFixed(1)} ${up(y.at(at - half)).toFixed(1)}V${up(y.at(at + half)).toFixed(1)}`);
      path(bars.join(""), { class: `${colours} ask-bar` });
      const dots = new Set(own.map(([left, top]) => `M${left.toFixed(1)} ${top.toFixed(1)}h0`));
      path([...dots].join(""), { class: `${colours} ask-dot${points.length < 400 ? " ask-large" : ""}` });
    });
    const near = (left, top) => {
      let best = null, least = 20 ** 2;
      for (const [a, b, each] of places) {
        const far = (a - left) ** 2 + (b - top) ** 2;
        if (far < least) [best, least] = [each, far];
      }
      return best;
    };
    return { classes: kinds.names.map((name, i) => [name, paths[i].length]), near };
  };

  return { draw };
});
