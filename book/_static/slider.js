// Sliders that notebooks leave in their pages: dip_book/slider.py writes the numbers, nothing is fetched.
(() => {
  const make = (tag, attributes, parent) => {
    const svg = ["svg", "line", "rect", "text"].includes(tag);
    const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    const { text, ...rest } = attributes;
    for (const [name, value] of Object.entries(rest)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    parent.append(node);
    return node;
  };
  const bottom = 130;
  const height = (share) => share * 110;

  // the bars of a panel at one position; groups stand beside each other
  const draw = (svg, { title, groups, heights, said, axis }, at) => {
    svg.replaceChildren();
    svg.setAttribute("aria-label", `${title}. ${said[at]}`);
    for (const share of [0, 0.5, 1]) {
      const y = bottom - height(share);
      make("line", { x1: 34, x2: 340, y1: y, y2: y, class: "grid" }, svg);
      make("text", { x: 28, y: y + 4, "text-anchor": "end", text: share }, svg);
    }
    if (axis) make("text", { x: -75, y: 9, transform: "rotate(-90)", "text-anchor": "middle", text: axis }, svg);
    const room = 306 / groups.length;
    groups.forEach((name, group) => {
      const bars = heights[at][group];
      const wide = (room - 30) / bars.length;
      bars.forEach((share, i) => {
        const x = 49 + group * room + i * wide;
        make("rect", { x, y: bottom - height(share), width: wide - 4, height: height(share), class: `group${group}` }, svg);
      });
      make("text", { x: 34 + (group + 0.5) * room, y: 148, "text-anchor": "middle", text: name }, svg);
    });
  };

  for (const place of document.querySelectorAll(".slider[data-slider]")) {
    const { label, positions, panels } = JSON.parse(place.dataset.slider);
    const row = make("label", {}, place);
    make("span", { text: label }, row);
    const input = make("input", { type: "range", min: 0, max: positions.length - 1, value: 0 }, row);
    const output = make("output", {}, row);
    const shown = panels.map((panel) => {
      make("p", { class: "slider-title", text: panel.title }, place);
      const svg = make("svg", { viewBox: "0 0 344 156", role: "img" }, place);
      return { panel, svg, said: make("p", { class: "slider-said", "aria-live": "polite" }, place) };
    });
    // what the bars are, once for all panels: each has the same groups and colours
    const legend = make("ul", { class: "legend" }, place);
    panels[0].groups.forEach((name, group) => {
      const entry = make("li", {}, legend);
      const key = make("svg", { viewBox: "0 0 12 12", "aria-hidden": "true" }, entry);
      make("rect", { width: 12, height: 12, class: `group${group}` }, key);
      entry.append(panels[0].bar ? `${panels[0].bar} of ${name}` : name);
    });
    const update = () => {
      const at = Number(input.value);
      input.setAttribute("aria-valuetext", positions[at]);
      output.textContent = positions[at];
      for (const { panel, svg, said } of shown) {
        draw(svg, panel, at);
        said.textContent = panel.said[at];
      }
    };
    input.addEventListener("input", update);
    place.hidden = false;
    update();
  }
})();
