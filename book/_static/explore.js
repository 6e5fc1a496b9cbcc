// Sliders over stored runs: the numbers stand in the page, nothing is fetched.
(() => {
  const place = document.querySelector(".explore");
  const { seeds, settings } = JSON.parse(document.getElementById("explore-data").textContent);
  const families = Object.keys(settings[0].families).sort();
  const knobs = { rank: "Rank", dropout: "Dropout", epochs: "Epochs" };
  const values = Object.fromEntries(
    Object.keys(knobs).map((name) => [name, [...new Set(settings.map((s) => s[name]))].sort((a, b) => a - b)])
  );
  values.rank.push(values.rank.shift()); // CoOp's full matrix (0) is the most, not the least
  const say = (name, value) => (name === "rank" && !value ? "full (CoOp)" : `${value}`);

  // ---- controls: native sliders, so that keys and screen readers work ---------------------------
  const form = makeElement("form", {}, place);
  const inputs = {};
  const start = { rank: 1, dropout: 0.5, epochs: 40 };
  for (const [name, label] of Object.entries(knobs)) {
    const row = makeElement("label", {}, form);
    makeElement("span", { text: label }, row);
    const at = Math.max(0, values[name].indexOf(start[name]));
    inputs[name] = makeElement("input", { type: "range", min: 0, max: values[name].length - 1, value: at }, row);
    makeElement("output", {}, row);
  }
  const row = makeElement("label", {}, form);
  makeElement("span", { text: "Family" }, row);
  const family = makeElement("select", {}, row);
  makeElement("option", { value: "", text: `mean of all ${families.length}` }, family);
  families.forEach((name) => makeElement("option", { value: name, text: name }, family));
  const said = makeElement("p", { "aria-live": "polite", class: "explore-said" }, place);
  const svg = makeElement("svg", { viewBox: "0 0 340 300", role: "img" }, place);
  const legend = makeElement("ul", { class: "legend" }, place);
  for (const [kind, name] of [["coop", "CoOp (full rank)"], ["dip", "DIP (rank 1 and more)"], ["here", "the setting chosen above"]]) {
    const entry = makeElement("li", {}, legend);
    makeElement("circle", { cx: 6, cy: 6, r: 5, class: kind }, makeElement("svg", { viewBox: "0 0 12 12", "aria-hidden": "true" }, entry));
    entry.append(name);
  }

  // ---- the figure: new against base accuracy, one dot a setting ---------------------------------
  const mean = (rows) => rows[0].map((_, i) => rows.reduce((sum, each) => sum + each[i], 0) / rows.length);
  const point = (s) => (family.value ? s.families[family.value] : mean(Object.values(s.families)));
  const draw = () => {
    const chosen = Object.fromEntries(Object.keys(knobs).map((name) => [name, values[name][inputs[name].value]]));
    for (const name of Object.keys(knobs)) {
      const text = say(name, chosen[name]);
      inputs[name].setAttribute("aria-valuetext", text);
      inputs[name].nextElementSibling.textContent = text;
    }
    const here = settings.find((s) => Object.keys(knobs).every((name) => s[name] === chosen[name]));
    const points = settings.map(point);
    const range = [0, 1].map((i) => [Math.min(...points.map((p) => p[i])) - 1, Math.max(...points.map((p) => p[i])) + 1]);
    const x = (v) => 46 + ((v - range[0][0]) / (range[0][1] - range[0][0])) * 284;
    const y = (v) => 256 - ((v - range[1][0]) / (range[1][1] - range[1][0])) * 246;
    svg.replaceChildren();
    for (const t of evenTicks(...range[0])) {
      makeElement("line", { x1: x(t), x2: x(t), y1: 10, y2: 256, class: "grid" }, svg);
      makeElement("text", { x: x(t), y: 272, "text-anchor": "middle", text: t }, svg);
    }
    for (const t of evenTicks(...range[1])) {
      makeElement("line", { x1: 46, x2: 330, y1: y(t), y2: y(t), class: "grid" }, svg);
      makeElement("text", { x: 40, y: y(t) + 4, "text-anchor": "end", text: t }, svg);
    }
    makeElement("text", { x: 188, y: 292, "text-anchor": "middle", text: "accuracy on base classes, %" }, svg);
    makeElement("text", { x: -133, y: 12, transform: "rotate(-90)", "text-anchor": "middle", text: "accuracy on new classes, %" }, svg);
    settings.forEach((s, i) => {
      const kind = s === here ? "here" : s.rank ? "dip" : "coop";
      makeElement("circle", { cx: x(points[i][0]), cy: y(points[i][1]), r: s === here ? 7 : 4, class: kind }, svg);
    });
    const name = `${say("rank", chosen.rank) === "full (CoOp)" ? "Full rank (CoOp)" : `Rank ${chosen.rank}`}, dropout ${chosen.dropout}, ${chosen.epochs} epochs`;
    const of = family.value ? `${family.value}, ${seeds} seeds` : `mean of ${families.length} families, ${seeds} seeds`;
    if (here) {
      const [base, next, id] = point(here);
      const h = (2 * base * next) / (base + next);
      said.textContent = `${name}: base ${base.toFixed(1)} %, new ${next.toFixed(1)} %, H ${h.toFixed(1)}, ID₁ ${id.toFixed(2)} (${of}).`;
    } else {
      said.textContent = `${name}: not measured. The dots are what was.`;
    }
    svg.setAttribute("aria-label", `New-class against base-class accuracy, one dot for each measured setting. ${said.textContent}`);
  };
  form.addEventListener("input", draw);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.querySelector(".explore-table").open = false;
  place.hidden = false;
  draw();
})();
