// The table of an answer, fifty rows at a time; its heads sort it.
AskTheData.part("table", () => {
  const ROWS = 50;

  /**
   * Show a page of an answer.
   *
   * @param place the table; the head that had the focus has it again.
   * @param sort called with a column's name when its head is pressed.
   */
  const show = (place, { heads, items, text }, asked, page, sort) => {
    const focused = place.contains(document.activeElement) ? document.activeElement.dataset.sort : undefined;
    place.replaceChildren();
    const top = makeElement("tr", {}, makeElement("thead", {}, place));
    for (const { name, title, about, number } of heads) {
      const sorted = asked.sort.name === name ? (asked.sort.down ? "descending" : "ascending") : null;
      const cell = makeElement("th", { scope: "col", "aria-sort": sorted, class: number ? "number" : null }, top);
      const button = makeElement("button", { type: "button", "data-sort": name, title: about || null, text: title }, cell);
      if (sorted) makeElement("span", { "aria-hidden": "true", text: asked.sort.down ? " ↓" : " ↑" }, button);
      button.addEventListener("click", () => sort(name));
      if (name === focused) button.focus();
    }
    const body = makeElement("tbody", {}, place);
    for (const item of items.slice(page * ROWS, (page + 1) * ROWS)) {
      const row = makeElement("tr", {}, body);
      for (const { name, number } of heads) {
        const said = text(item, name);
        makeElement("td", { class: number ? "number" : null, text: said === "none" ? "–" : said }, row);
      }
    }
  };

  return { show, ROWS };
});
