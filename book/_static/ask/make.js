// Elements, in HTML and in SVG.
AskTheData.part("make", () => {
  const DRAWN = ["svg", "g", "line", "path", "text"];
  /** An element with attributes (`text` is its content; null ones are left out), at the end of `parent`. */
  const make = (tag, attributes = {}, parent = null) => {
    const node = DRAWN.includes(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    const { text, ...rest } = attributes;
    for (const [name, value] of Object.entries(rest)) if (value !== null) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    parent?.append(node);
    return node;
  };
  return make;
});
