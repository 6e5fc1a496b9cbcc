// What the page shows of a run: figures, words, pictures with their names, and a row of each run.
TrainHere.part("show", (use) => {
  const { lines, bars } = use("charts");
  const TILES = 4; // pictures in a row of the sheet
  const find = (name) => document.querySelector(`.train [data-show="${name}"]`);
  const series = (reports, name, kind, value) => ({ name, kind, values: reports.map((each) => [each.epoch, value(each)]) });

  /** The figures, from all reports of a run so far. */
  const figures = (reports, epochs) => {
    const first = reports[0], now = reports[reports.length - 1];
    lines(find("accuracy"), {
      title: "Accuracy in percent", epochs, ticks: [0, 25, 50, 75, 100], digits: 1,
      lines: [series(reports, "base classes", "base", (r) => r.base), series(reports, "new classes", "new", (r) => r.new)],
    });
    lines(find("density"), {
      title: "Information Density", epochs, ticks: [0.2, 0.4, 0.6, 0.8, 1], digits: 3,
      lines: [series(reports, "of the prompt", "whole", (r) => r.id), series(reports, "as read", "read", (r) => r.idRead)],
    });
    bars(find("singular"), { title: "Singular values of the prompt", before: first.singular, now: now.singular });
    const numbers = {
      base: `${now.base.toFixed(1)} %`, new: `${now.new.toFixed(1)} %`, id: now.id.toFixed(3), read: now.idRead.toFixed(3),
    };
    for (const [name, text] of Object.entries(numbers)) find(`${name}-now`).textContent = text;
  };

  /** The words nearest to each vector of the prompt. */
  const words = ({ words: nearest }) => {
    find("words").replaceChildren(
      ...nearest.map((found, i) => {
        const row = document.createElement("tr");
        makeElement("th", { scope: "row", text: `vector ${i + 1}` }, row);
        for (const { word, distance } of found) {
          const cell = makeElement("td", { text: `${word} ` }, row);
          makeElement("small", { text: distance.toFixed(2) }, cell);
        }
        return row;
      })
    );
  };

  /** Pictures of a family, with the true name below each. */
  const pictures = (family, about, sheet) => {
    const list = find("pictures");
    list.replaceChildren();
    about.shown.forEach((image, i) => {
      const name = about.names[Math.floor(image / about.per_class)], item = makeElement("li", {}, list);
      const picture = makeElement("span", { class: "tile", role: "img", "aria-label": `${family}: ${name}` }, item);
      picture.style.backgroundImage = `url("${sheet}")`;
      picture.style.setProperty("--across", i % TILES);
      picture.style.setProperty("--down", Math.floor(i / TILES));
      makeElement("b", { text: name }, item);
      makeElement("span", { class: "half", text: i < about.shown.length / 2 ? "base" : "new" }, item);
      makeElement("span", { class: "before" }, item);
      makeElement("span", { class: "after" }, item);
    });
  };

  /** What each shown picture is called, at the start and now. */
  const names = (about, before, now) => {
    [...find("pictures").children].forEach((item, i) => {
      const truth = about.names[Math.floor(about.shown[i] / about.per_class)];
      const say = (place, label, named) => {
        const span = item.querySelector(`.${place}`), right = named === truth;
        span.textContent = `${label}: ${right ? "✓ right" : named}`;
        span.classList.toggle("right", right);
      };
      say("before", "before", before[i]);
      say("after", "now", now[i]);
    });
  };

  /** A row of the table of runs. */
  const run = (settings, family, now, how) => {
    const row = document.createElement("tr");
    const method = settings.method === "coop" ? "CoOp" : `DIP, rank ${settings.rank}, dropout ${settings.dropout}`;
    makeElement("th", { scope: "row", text: `${method}, ${family}` }, row);
    makeElement("td", { text: `${settings.lr}` }, row);
    makeElement("td", { text: how }, row);
    for (const text of [now.base.toFixed(1), now.new.toFixed(1), now.id.toFixed(3), now.idRead.toFixed(3)]) makeElement("td", { text }, row);
    find("runs").append(row);
    find("runs").closest("table").hidden = false;
  };

  const MOST = 5; // names of an answer that are shown

  /** Probabilities of names for a picture, or why there are none. */
  const answer = ({ refused, names: given, before, after }) => {
    const table = find("answer").closest("table");
    table.hidden = Boolean(refused);
    find("refused").textContent = refused ?? "";
    if (refused) return;
    const order = given.map((_, i) => i).sort((a, b) => after[b] - after[a]);
    find("answer").replaceChildren(
      ...order.slice(0, MOST).map((i) => {
        const row = document.createElement("tr");
        makeElement("th", { scope: "row", text: given[i] }, row);
        for (const each of [before, after]) makeElement("td", { text: (100 * each[i]).toFixed(1) }, row);
        return row;
      })
    );
    const first = given[before.indexOf(Math.max(...before))];
    find("refused").textContent = `Most likely: before training ${first}, after it ${given[order[0]]}.`;
  };

  return { find, answer, figures, words, pictures, names, run };
});
