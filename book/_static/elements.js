// What the scripts that draw have in common; it is loaded before each of them.

const IN_SVG = ["svg", "g", "line", "polyline", "path", "rect", "circle", "text"];

/**
 * A new element of HTML, or of SVG where its name is one of SVG's, as the last of `parent`, if there is one.
 *
 * @param attributes by name, null ones left out; `text` is what stands in the element.
 */
function makeElement(tag, attributes = {}, parent = null) {
  const node = IN_SVG.includes(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  const { text, ...rest } = attributes;
  for (const [name, value] of Object.entries(rest)) if (value !== null) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  parent?.append(node);
  return node;
}

/** At most seven round numbers, evenly apart, from `low` to `high`: for an axis in per cent. */
function evenTicks(low, high) {
  const step = [0.5, 1, 2, 5, 10, 20].find((each) => (high - low) / each <= 6) ?? 50;
  return Array.from({ length: 20 }, (_, i) => (Math.floor(low / step) + i) * step).filter((t) => t >= low && t <= high);
}
