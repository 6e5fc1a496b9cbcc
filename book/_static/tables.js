// Tables of results: numbers stand under their headers, and where a table would lose columns its rows become cards.
(() => {
  const number = /^[-+−<>≥≤±]?\s*\d|^(NaN|nan|[-–—])?$/;
  const text = (cell) => cell.textContent.replace(/\s+/g, " ").trim();

  // the cell at every place of some rows: one that spans several stands at each of them
  const places = (rows) => {
    const found = rows.map(() => []);
    rows.forEach((row, y) => {
      let x = 0;
      for (const cell of row.cells) {
        while (found[y][x]) x += 1;
        for (let down = 0; down < cell.rowSpan && y + down < rows.length; down += 1) {
          for (let right = 0; right < cell.colSpan; right += 1) found[y + down][x + right] = cell;
        }
        x += cell.colSpan;
      }
    });
    return found;
  };

  // what each column is called: by the lowest header if that tells it from all others, else by all
  const names = (head, columns) => {
    const all = columns.map((x) => [...new Set(head.map((row) => row[x]).filter(Boolean).map(text))].filter(Boolean));
    const lowest = all.map((each) => each.at(-1) ?? "");
    return new Set(lowest).size === lowest.length ? lowest : all.map((each) => each.join(", "));
  };

  const prepare = (table) => {
    const head = places([...(table.tHead?.rows ?? [])]);
    const rows = [...table.tBodies].flatMap((body) => [...body.rows]);
    const body = places(rows);
    const columns = [...(body[0] ?? []).keys()];
    const said = names(head, columns);
    for (const x of columns) {
      const cells = body.map((row) => row[x]).filter((cell) => cell?.tagName === "TD");
      const plain = cells.length && cells.every((cell) => number.test(text(cell))) && cells.some((cell) => /\d/.test(text(cell)));
      const heads = head.map((row) => row[x]).filter((cell) => cell?.colSpan === 1);
      for (const cell of [...cells, ...heads]) cell.classList.add(plain ? "number" : "words");
      for (const cell of cells) {
        cell.dataset.label = said[x];
        cell.classList.toggle("none", ["", "NaN"].includes(text(cell)));
      }
    }
    rows.forEach((row, y) => {
      const heads = body[y].filter((cell) => cell?.tagName === "TH");
      const own = heads.at(-1);
      for (const outer of heads.slice(0, -1)) outer.classList.add("outer");
      if (own && heads.length > 1) own.dataset.group = heads.slice(0, -1).map(text).join(" · ");
      row.setAttribute("role", "row"); // cards are no table to a screen reader unless told so
      for (const cell of row.cells) cell.setAttribute("role", cell.tagName === "TH" ? "rowheader" : "cell");
    });
    table.setAttribute("role", "table");
    for (const part of table.tBodies) part.setAttribute("role", "rowgroup");
  };

  const tables = [...document.querySelectorAll(".cell_output table.dataframe")];
  tables.forEach(prepare);
  const loses = (table) => table.scrollWidth > table.closest(".output").clientWidth;
  const fit = () => {
    for (const table of tables) {
      table.classList.remove("snug", "as-cards");
      if (!loses(table)) continue;
      table.classList.add("snug");
      if (loses(table)) table.classList.replace("snug", "as-cards");
    }
  };
  let width = 0;
  const refit = () => {
    if (width === innerWidth) return; // a phone's bars come and go, which changes heights alone
    width = innerWidth;
    fit();
  };
  refit();
  addEventListener("resize", refit);
  document.fonts?.ready.then(fit);
  // what will be printed is fitted to the column and the letters of print.css
  const column = (width, letters) => {
    document.querySelector(".bd-article").style.width = width;
    document.documentElement.style.fontSize = letters;
    fit();
  };
  addEventListener("beforeprint", () => column("170mm", "10pt"));
  addEventListener("afterprint", () => column("", ""));
})();
