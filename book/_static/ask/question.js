// A question: what is asked of the table, as an object and as the end of the page's address.
AskTheData.part("question", () => {
  const SHOWN = ["world", "study", "method", "dataset", "seed", "lr", "rank", "dropout", "base", "new", "h", "val", "id1"]; // in the order of the table

  const nothing = () => ({
    kept: {}, // column -> values as text, any of which a run has
    between: {}, // column -> [least or null, most or null]
    words: "",
    sort: { name: "", down: false },
    group: [],
    over: "dataset",
    plot: { x: "base", y: "new", colour: "method", lines: false },
    shown: [...SHOWN],
    grids: false, // with the runs from which methods choose settings
  });

  const bound = (text) => (text === "" || Number.isNaN(Number(text)) ? null : Number(text));

  /** The question that an address ends with; what it names that the table lacks is left out. */
  const read = (fragment, by) => {
    const asked = nothing();
    const known = (name) => name in by;
    for (const [name, value] of new URLSearchParams(fragment.replace(/^#/, ""))) {
      if (name === "q") asked.words = value;
      else if (name === "sort") {
        const column = value.replace(/^-/, "");
        if (known(column) || ["runs", "units"].includes(column)) asked.sort = { name: column, down: value.startsWith("-") };
      } else if (name === "group") asked.group = value.split(",").filter((each) => known(each) && by[each].values).slice(0, 3);
      else if (name === "over") asked.over = value === "run" || (known(value) && by[value].values) ? value : asked.over;
      else if (["x", "y", "colour"].includes(name)) asked.plot[name] = known(value) || (name === "colour" && !value) ? value : asked.plot[name];
      else if (name === "grids") asked.grids = value === "1";
      else if (name === "lines") asked.plot.lines = value === "1";
      else if (name === "show") asked.shown = value.split(",").filter(known);
      else if (known(name) && by[name].values) (asked.kept[name] ??= []).push(value);
      else if (known(name)) {
        const range = value.split("..").map(bound);
        if (range.length === 2 && range.some((end) => end !== null)) asked.between[name] = range;
      }
    }
    return asked;
  };

  /** The end of an address that asks this question; only what differs from asking nothing. */
  const write = (asked) => {
    const plain = nothing(), said = new URLSearchParams();
    for (const [name, values] of Object.entries(asked.kept)) for (const value of values) said.append(name, value);
    for (const [name, [least, most]] of Object.entries(asked.between)) said.append(name, `${least ?? ""}..${most ?? ""}`);
    if (asked.words) said.append("q", asked.words);
    if (asked.group.length) said.append("group", asked.group.join(","));
    if (asked.over !== plain.over) said.append("over", asked.over);
    if (asked.sort.name) said.append("sort", (asked.sort.down ? "-" : "") + asked.sort.name);
    for (const name of ["x", "y", "colour"]) if (asked.plot[name] !== plain.plot[name]) said.append(name, asked.plot[name]);
    if (asked.plot.lines) said.append("lines", "1");
    if (asked.shown.join() !== plain.shown.join()) said.append("show", asked.shown.join(","));
    if (asked.grids) said.append("grids", "1");
    return said.toString().replaceAll("%2C", ",");
  };

  return { nothing, read, write };
});
