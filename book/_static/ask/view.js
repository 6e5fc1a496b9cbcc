// What a question's answer is made of: heads and cells of a table, of runs or of groups, also as CSV.
AskTheData.part("view", (use) => {
  const { select, sorted } = use("filter"), { grouped } = use("groups");
  const UNITS = { dataset: "Datasets", seed: "Seeds", class_split: "Splits", held_out: "Thirds", run: "Units" };

  /**
   * The answer to a question.
   *
   * @returns { rows, counts, groups, heads, items }: groups is null where runs are shown; a head has name,
   * title, about and number; items are what the table's rows are of; `value(item, name)` sorts and draws,
   * `text(item, name)` is read.
   */
  const answer = (table, asked) => {
    const { rows, counts } = select(table, asked);
    const { name: by, down } = asked.sort;
    const head = ({ name, title, about, words, values }) => ({ name, title, about, number: !words, setting: Boolean(values) });
    if (!asked.group.length) {
      const value = (row, name) => table.by[name]?.at(row) ?? null;
      const items = by && table.by[by] ? sorted(rows, (row) => value(row, by), down) : rows;
      const text = (row, name) => table.by[name].say(value(row, name));
      return { rows, counts, groups: null, heads: asked.shown.map((name) => head(table.by[name])), items, value, text };
    }
    const shown = asked.shown.filter((name) => !table.by[name].values);
    const drawn = [asked.plot.x, asked.plot.y].filter((name) => !table.by[name].values);
    const groups = grouped(table, rows, asked.group, asked.over, [...new Set([...shown, ...drawn])]);
    const value = (group, name) => {
      if (name === "runs") return group.rows.length;
      if (name === "units") return group.units;
      if (group.of[name]) return group.of[name].mean;
      return asked.group.includes(name) ? table.by[name].at(group.rows[0]) : null;
    };
    const text = (group, name) => {
      const found = value(group, name);
      if (name === "runs" || name === "units") return String(found);
      if (!group.of[name]) return table.by[name].say(found);
      if (found === null) return "none";
      const { half } = group.of[name], { digits } = table.by[name];
      return found.toFixed(digits) + (half === null ? "" : ` ± ${half.toFixed(digits)}`);
    };
    const heads = [
      ...asked.group.map((name) => head(table.by[name])),
      { name: "runs", title: "Runs", about: "", number: true },
      { name: "units", title: UNITS[asked.over] ?? "Units", about: "How many the interval is over.", number: true },
      ...shown.map((name) => head(table.by[name])),
    ];
    const known = heads.some(({ name }) => name === by);
    const items = known ? sorted(groups, (group) => value(group, by), down) : groups;
    return { rows, counts, groups, heads, items, value, text };
  };

  const quoted = (value) => (/[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);

  /** What is shown, all of its pages, as CSV: of a group's mean also the ends of its interval. */
  const csv = (table, { groups, heads, items, value }) => {
    const one = (name, item) => {
      const found = value(item, name), column = table.by[name];
      return found === null ? "" : column?.per && !groups ? found.toFixed(column.digits) : String(found);
    };
    const three = (name, { of }) => {
      const { mean, half } = of[name], digits = table.by[name].digits + 2;
      if (mean === null) return ["", "", ""];
      return half === null ? [mean.toFixed(digits), "", ""] : [mean, mean - half, mean + half].map((each) => each.toFixed(digits));
    };
    const measured = (name) => groups && Boolean(table.by[name]?.per);
    const names = heads.flatMap(({ name }) => (measured(name) ? [name, `${name}_low`, `${name}_high`] : [name]));
    const lines = items.map((item) => {
      const cells = heads.flatMap(({ name }) => (measured(name) ? three(name, item) : [one(name, item)]));
      return groups ? cells : [...cells, ...table.source(item).map(String)];
    });
    const top = groups ? names : [...names, "file", "line"];
    return [top, ...lines].map((cells) => cells.map(quoted).join(",")).join("\r\n") + "\r\n";
  };

  return { answer, csv };
});
