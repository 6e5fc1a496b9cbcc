// The page: what the reader sets becomes a question, the question becomes the address, and the answer is shown.
AskTheData.part("page", (use) => {
  const { read, write, nothing } = use("question"), { answer, csv } = use("view");
  const place = document.querySelector(".ask-data"), part = (name) => place.querySelector(`[data-show="${name}"]`);
  const form = place.querySelector("form"), control = (name) => form.elements[name];
  const number = (count) => count.toLocaleString("en");
  let content, table, asked, found, page = 0, showFacets, near = () => null;

  const choices = (select, columns, first) => {
    select.replaceChildren();
    for (const [value, text] of [...first, ...columns.map(({ name, title }) => [name, title])]) makeElement("option", { value, text }, select);
  };

  // what the controls say is what is asked
  const setControls = () => {
    control("q").value = asked.words;
    [0, 1, 2].forEach((i) => {
      control(`group${i}`).value = asked.group[i] ?? "";
    });
    control("over").value = asked.over;
    const { lines, ...axes } = asked.plot;
    for (const [name, value] of Object.entries(axes)) control(name).value = value;
    control("lines").checked = lines;
    for (const box of part("columns").querySelectorAll("input")) box.checked = asked.shown.includes(box.value);
    place.classList.toggle("ask-grouped", asked.group.length > 0);
  };

  const chips = () => {
    const parent = part("chips"), focus = parent.contains(document.activeElement);
    parent.replaceChildren();
    const chip = (text, without) => {
      const button = makeElement("button", { type: "button", text: `${text} `, "aria-label": `Remove the filter ${text}` }, makeElement("li", {}, parent));
      makeElement("span", { text: "×", "aria-hidden": "true" }, button);
      button.addEventListener("click", () => change(without));
    };
    const title = (name) => table.by[name].title;
    for (const [name, values] of Object.entries(asked.kept)) chip(`${title(name)}: ${values.join(", ")}`, () => delete asked.kept[name]);
    for (const [name, [least, most]] of Object.entries(asked.between)) {
      chip(`${title(name)}: ${least ?? "…"} to ${most ?? "…"}`, () => delete asked.between[name]);
    }
    if (asked.words) chip(`“${asked.words}”`, () => (asked.words = ""));
    if (focus) (parent.querySelector("button") ?? part("said")).focus();
  };

  // accuracies of runs that differ in these are of different kinds
  const mixed = () => {
    const kinds = ["held_out", "protocol", "target"].filter((name) => {
      const column = table.by[name];
      return column && new Set(found.rows.map((row) => (name === "protocol" ? column.codes[row] : Boolean(column.at(row))))).size > 1;
    });
    part("mixed").textContent = kinds.length
      ? `Accuracies of several kinds are together here: the runs differ in ${new Intl.ListFormat("en").format(kinds.map((name) => table.by[name].title.toLowerCase()))}. Filter before you compare.`
      : "";
  };

  const legend = (kinds) => {
    const list = part("legend"), { colour } = asked.plot, column = table.by[colour];
    list.replaceChildren();
    if (!column || kinds.length < 2) return;
    makeElement("li", { text: column.title, class: "ask-legend-title" }, list);
    kinds.forEach(([name, count], i) => {
      if (!count) return;
      const entry = makeElement("li", {}, list);
      makeElement("path", { d: "M6 6h0", class: `ask-colour${i % 8} ask-dot ask-large${column.per ? " ask-shade" : ""}` }, makeElement("svg", { viewBox: "0 0 12 12", "aria-hidden": "true" }, entry));
      entry.append(`${name} (${number(count)})`);
    });
  };

  const plot = () => {
    const { x, y, colour, lines } = asked.plot, { groups, value } = found;
    const coded = (name) => !groups || !table.by[name]?.values || asked.group.includes(name);
    const svg = part("plot"), of = groups ? "groups" : "runs";
    const problem = [x, y].filter((name) => !coded(name)).map((name) => `${table.by[name].title} is not what the groups are made by`);
    const points = problem.length ? [] : found.items.flatMap((item) => {
      const at = { x: value(item, x), y: value(item, y), colour: colour && coded(colour) ? value(item, colour) : null };
      if (at.x === null || at.y === null) return [];
      const series = groups ? item.key.filter((_, i) => asked.group[i] !== x).join() : "";
      return [{ ...at, half: groups ? (item.of[y]?.half ?? null) : null, series, item }];
    });
    const drawn = { x: table.by[x], y: table.by[y], colour: coded(colour) ? table.by[colour] : null, lines: lines && Boolean(groups), groups: Boolean(groups) };
    const made = use("plot").draw(svg, points, drawn);
    near = made.near;
    legend(drawn.colour ? made.classes : []);
    const left = found.items.length - points.length, without = left && !problem.length ? `; ${number(left)} have no value of both and are left out` : "";
    const bars = groups && points.some(({ half }) => half) ? " Bars: 95 % intervals." : "";
    const told = `${table.by[y].title} against ${table.by[x].title}: ${number(points.length)} ${of}${without}.${bars}`;
    part("drawn").textContent = problem.length ? `${problem.join("; ")}: choose another axis, or group by it.` : told;
    svg.setAttribute("aria-label", `${told} The table below has the same numbers.`);
    part("point").textContent = "";
  };

  const sort = (name) => change(() => {
    asked.sort = { name, down: asked.sort.name === name ? !asked.sort.down : table.by[name]?.words !== true };
  });

  const showTable = () => {
    const { ROWS, show } = use("table"), last = Math.max(0, Math.ceil(found.items.length / ROWS) - 1);
    page = Math.min(page, last);
    show(part("table"), found, asked, page, sort);
    part("page").textContent = found.items.length ? `Rows ${number(page * ROWS + 1)} to ${number(Math.min(found.items.length, (page + 1) * ROWS))} of ${number(found.items.length)}` : "No rows";
    for (const [name, off] of [["first", !page], ["back", !page], ["on", page === last], ["last", page === last]]) {
      control(name).setAttribute("aria-disabled", String(off)); // a disabled button would lose the focus
    }
  };

  const shown = () => {
    found = answer(table, asked);
    setControls();
    showFacets(asked, found.counts);
    chips();
    mixed();
    const groups = found.groups ? `, in ${number(found.groups.length)} groups` : "";
    part("said").textContent = `${number(found.rows.length)} of ${number(table.rows)} runs${groups}.`;
    part("grids").hidden = whole();
    plot();
    showTable();
  };

  // the grids are more than half of all runs: they come when a question is about them
  let arriving;
  const whole = () => content.parts.length > 1;
  const aboutGrids = () => asked.grids || content.grids.sources.some(([, , study]) => asked.kept.study?.includes(study));
  const answered = async () => {
    if (!whole() && aboutGrids()) {
      part("said").textContent = "Reading the runs of the grids …";
      arriving ??= AskTheData.grids(place.dataset.static).then(async (grids) => {
        const all = { ...content, parts: [...content.parts, grids] };
        table = await use("data").unpack(all);
        content = all;
      });
      await arriving;
    }
    shown();
  };
  const failed = (error) => {
    part("said").textContent = "The runs could not be read here: this needs a browser of 2023 or later.";
    throw error;
  };

  const change = (by) => {
    by();
    page = 0;
    history.replaceState(null, "", `#${write(asked)}`);
    return answered().catch(failed);
  };

  // a link to a question leads to its answer
  const lead = () => location.hash.includes("=") && place.scrollIntoView();

  const listen = () => {
    form.addEventListener("submit", (event) => event.preventDefault());
    let waiting;
    control("q").addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => change(() => (asked.words = control("q").value.trim())), 200);
    });
    form.addEventListener("change", ({ target: { name } }) => {
      if (/^(group\d|over|x|y|colour|lines|column)$/.test(name)) {
        change(() => {
          asked.group = [...new Set([0, 1, 2].map((i) => control(`group${i}`).value).filter(Boolean))];
          asked.over = control("over").value;
          for (const axis of ["x", "y", "colour"]) asked.plot[axis] = control(axis).value;
          asked.plot.lines = control("lines").checked;
          asked.shown = [...part("columns").querySelectorAll("input:checked")].map(({ value }) => value);
        });
      }
    });
    const turn = { first: () => 0, back: () => Math.max(0, page - 1), on: () => page + 1, last: () => Infinity };
    for (const [name, to] of Object.entries(turn)) {
      control(name).addEventListener("click", () => {
        page = to();
        showTable();
      });
    }
    control("grids").addEventListener("click", () => change(() => (asked.grids = true)).then(() => part("said").focus()));
    control("clear").addEventListener("click", () => change(() => (asked = nothing())));
    control("save").addEventListener("click", () => {
      const address = URL.createObjectURL(new Blob([csv(table, found)], { type: "text/csv" }));
      makeElement("a", { href: address, download: found.groups ? "groups.csv" : "runs.csv" }).click();
      setTimeout(() => URL.revokeObjectURL(address), 1000);
    });
    part("plot").addEventListener("pointermove", (event) => {
      const { left, top } = part("plot").getBoundingClientRect();
      const point = near(event.clientX - left, event.clientY - top);
      const about = found.heads.slice(0, 12).map(({ name, title }) => `${title} ${found.text(point?.item ?? found.items[0], name)}`);
      part("point").textContent = point ? about.join(" · ") : "";
    });
    let width = innerWidth;
    addEventListener("resize", () => {
      if (width !== innerWidth) plot(); // a phone's bars come and go, which changes heights alone
      width = innerWidth;
    });
    addEventListener("hashchange", () => {
      page = 0;
      asked = read(location.hash, table.by);
      answered().then(lead).catch(failed);
    });
  };

  const begin = async () => {
    place.hidden = false;
    document.querySelector(".ask-files").open = false;
    content = await AskTheData.runs;
    table = await use("data").unpack(content);
    asked = read(location.hash, table.by);
    const settings = table.columns.filter(({ values }) => values);
    [0, 1, 2].forEach((i) => choices(control(`group${i}`), settings, [["", i ? "–" : "single runs"]]));
    choices(control("over"), settings.filter(({ name }) => ["dataset", "seed", "class_split", "held_out"].includes(name)), [["run", "Runs"]]);
    for (const axis of ["x", "y"]) choices(control(axis), table.columns, []);
    choices(control("colour"), table.columns, [["", "nothing"]]);
    for (const { name, title } of table.columns) {
      const label = makeElement("label", {}, part("columns"));
      makeElement("input", { type: "checkbox", name: "column", value: name }, label);
      label.append(` ${title}`);
    }
    for (const link of document.querySelectorAll("[data-ask]")) link.href = `#${link.dataset.ask}`;
    const places = { first: part("first"), others: part("others"), measured: part("measured") };
    showFacets = use("facets").build(table, places, (name, values) => change(() => {
      const kind = table.by[name].per ? asked.between : asked.kept;
      if (values.length && values.some((each) => each !== null)) kind[name] = values;
      else delete kind[name];
    }));
    const more = content.grids.sources.reduce((sum, [, , , runs]) => sum + runs, 0);
    control("grids").textContent = `Add the ${number(more)} runs from which methods choose their settings (${(content.grids.bytes / 1e6).toFixed(1)} MB)`;
    listen();
    form.hidden = false;
    await answered();
    lead();
  };

  begin().catch(failed);
});
