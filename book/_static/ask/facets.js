// The filters: a setting's values to check, with counts, and the ends of what was measured.
AskTheData.part("facets", () => {
  const FIRST = ["world", "study", "method", "dataset", "lr", "rank", "dropout", "seed", "held_out", "class_split", "backbone", "epochs"];
  const number = (count) => count.toLocaleString("en");

  /**
   * Fill the places of filters.
   *
   * @param places { first, others, measured }: where filters of each kind go.
   * @param changed called with (name, values) or (name, [least, most]) when the reader sets one.
   * @returns show(asked, counts): set them as a question has them.
   */
  const build = (table, places, changed) => {
    const shows = [];
    const fold = (place, { title }) => {
      const details = makeElement("details", { class: "ask-facet" }, place);
      const summary = makeElement("summary", {}, details);
      makeElement("span", { text: title }, summary);
      return { details, said: makeElement("span", { class: "ask-chosen" }, summary) };
    };

    const setting = (column, place) => {
      const { details, said } = fold(place, column);
      const names = ["none", ...column.values.map((value) => column.say(value))];
      let boxes = [];
      const fill = () => {
        if (boxes.length) return;
        const set = makeElement("fieldset", {}, details);
        makeElement("legend", { text: column.title, class: "ask-unseen" }, set);
        if (column.about) makeElement("p", { text: column.about }, set);
        boxes = names.map((name, code) => {
          const label = makeElement("label", {}, set);
          const box = makeElement("input", { type: "checkbox", value: name }, label);
          label.append(` ${name} `);
          box.addEventListener("change", () => changed(column.name, boxes.filter(({ box }) => box.checked).map(({ box }) => box.value)));
          return { box, label, count: makeElement("span", { class: "ask-count" }, label), code };
        });
      };
      shows.push((asked, counts) => {
        const chosen = asked.kept[column.name] ?? [];
        said.textContent = chosen.length ? (chosen.length > 2 ? `${chosen.length} chosen` : chosen.join(", ")) : "";
        if (!details.open) return;
        fill();
        const found = counts(column.name);
        for (const { box, label, count, code } of boxes) {
          box.checked = chosen.includes(box.value);
          count.textContent = number(found[code]);
          label.classList.toggle("ask-empty", !found[code]);
          label.hidden = code === 0 && !found[0] && !box.checked;
        }
      });
      return details;
    };

    const measured = (column, place) => {
      const { details, said } = fold(place, column);
      const set = makeElement("fieldset", { class: "ask-range" }, details);
      makeElement("legend", { text: column.title, class: "ask-unseen" }, set);
      if (column.about) makeElement("p", { text: column.about }, set);
      const ends = [..."01"].map(() => null);
      ["from", "to"].forEach((word, i) => {
        const label = makeElement("label", { text: `${word} ` }, set);
        ends[i] = makeElement("input", { type: "number", step: "any", inputmode: "decimal" }, label);
        ends[i].addEventListener("change", () => changed(column.name, ends.map(({ value }) => (value === "" ? null : Number(value)))));
      });
      shows.push((asked) => {
        const range = asked.between[column.name] ?? [null, null];
        said.textContent = range.some((end) => end !== null) ? `${range[0] ?? "…"} to ${range[1] ?? "…"}` : "";
        ends.forEach((input, i) => {
          input.value = range[i] ?? "";
        });
      });
      return details;
    };

    let last = [];
    const all = table.columns.map((column) => {
      const place = column.per ? places.measured : FIRST.includes(column.name) ? places.first : places.others;
      return [column.name, (column.per ? measured : setting)(column, place)];
    });
    for (const [, details] of all) details.addEventListener("toggle", () => details.open && shows.forEach((each) => each(...last)));
    const order = Object.fromEntries(all);
    for (const name of FIRST) if (order[name]) places.first.append(order[name]);
    return (...question) => {
      last = question;
      shows.forEach((each) => each(...question));
    };
  };

  return { build };
});
