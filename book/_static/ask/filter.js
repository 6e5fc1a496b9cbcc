// Which runs a question is about, in which order, and how many of each kind there are.
AskTheData.part("filter", () => {
  // for each condition of the question a function: row -> whether it holds
  const conditions = (table, { kept, between, words }) => {
    const found = [];
    for (const [name, wanted] of Object.entries(kept)) {
      const { codes, values } = table.by[name];
      const codesOf = wanted.map((text) => (text === "none" ? 0 : values.findIndex((value) => String(value) === text) + 1 || -1));
      const allowed = new Set(codesOf);
      found.push([name, (row) => allowed.has(codes[row])]);
    }
    for (const [name, [least, most]] of Object.entries(between)) {
      const { at } = table.by[name];
      found.push([name, (row) => at(row) !== null && (least === null || at(row) >= least) && (most === null || at(row) <= most)]);
    }
    for (const word of words.toLowerCase().split(/\s+/).filter(Boolean)) {
      const hits = table.columns
        .filter(({ name, words: has }) => has && name !== "context") // "a photo of a" is in most runs
        .map(({ codes, values }) => [codes, [false, ...values.map((value) => String(value).toLowerCase().includes(word))]]);
      found.push(["", (row) => hits.some(([codes, hit]) => hit[codes[row]])]);
    }
    return found;
  };

  /**
   * The rows for which all of a question holds, and `counts(name)`: of each code of a setting, how many
   * rows there are if nothing were asked of that setting itself.
   */
  const select = (table, asked) => {
    const asks = conditions(table, asked);
    const failed = new Int16Array(table.rows).fill(-1); // -1: none, i: only the i-th, -2: several
    asks.forEach(([, holds], i) => {
      for (let row = 0; row < table.rows; row += 1) {
        if (failed[row] !== -2 && !holds(row)) failed[row] = failed[row] === -1 ? i : -2;
      }
    });
    const rows = [];
    failed.forEach((which, row) => which === -1 && rows.push(row));
    const counts = (name) => {
      const { codes, values } = table.by[name];
      const own = asks.findIndex(([each]) => each === name), found = new Uint32Array(values.length + 1);
      failed.forEach((which, row) => {
        if (which === -1 || (own >= 0 && which === own)) found[codes[row]] += 1;
      });
      return found;
    };
    return { rows, counts };
  };

  /** `items` in the order of `value(item)`, none last; equal ones stay in their order. */
  const sorted = (items, value, down) => {
    const sign = down ? -1 : 1;
    return items
      .map((item) => [item, value(item)])
      .sort(([, a], [, b]) => {
        if (a === null || b === null) return (a === null) - (b === null);
        return a < b ? -sign : a > b ? sign : 0;
      })
      .map(([item]) => item);
  };

  return { select, sorted };
});
