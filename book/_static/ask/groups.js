// Runs that are alike, as one: means, and intervals over datasets, seeds, class splits or runs.
AskTheData.part("groups", () => {
  // P(|t| < x) of Student's t with whole degrees of freedom: Abramowitz and Stegun, 26.7.3 and 26.7.4
  const within = (x, freedom) => {
    const angle = Math.atan(x / Math.sqrt(freedom)), cos = Math.cos(angle) ** 2;
    let term = freedom % 2 ? Math.cos(angle) : 1, sum = freedom === 1 ? 0 : term;
    for (let k = freedom % 2 ? 3 : 2; k <= freedom - 2; k += 2) {
      term *= (cos * (k - 1)) / k;
      sum += term;
    }
    return freedom % 2 ? (2 / Math.PI) * (angle + Math.sin(angle) * sum) : Math.sin(angle) * sum;
  };
  const known = {};
  /** Half of a 95 % interval in standard errors: Student's quantile. */
  const quantile = (freedom) => {
    if (freedom in known) return known[freedom];
    let low = 1, high = 13;
    for (let i = 0; i < 60; i += 1) {
      const middle = (low + high) / 2;
      if (within(middle, freedom) < 0.95) low = middle;
      else high = middle;
    }
    known[freedom] = high;
    return high;
  };

  /** The mean of units' means, how many units, and half of its interval; null with one unit. */
  const estimate = (units) => {
    const means = [...units.values()].map(({ sum, n }) => sum / n);
    if (!means.length) return { mean: null, n: 0, half: null };
    const n = means.length, mean = means.reduce((a, b) => a + b, 0) / n;
    const variance = means.reduce((sum, each) => sum + (each - mean) ** 2, 0) / (n - 1);
    return { mean, n, half: n > 1 ? quantile(n - 1) * Math.sqrt(variance / n) : null };
  };

  /**
   * The groups of rows that have the same values in the columns `names`.
   *
   * @param over the column whose values are units: runs of a unit are averaged first; "run": each is one.
   * @param measured names of the columns that are averaged.
   * @returns [{ key: codes, rows, units, of: name -> { mean, n, half } }], in the order of the values.
   */
  const grouped = (table, rows, names, over, measured) => {
    const columns = names.map((name) => table.by[name]), found = new Map();
    for (const row of rows) {
      const key = columns.map(({ codes }) => codes[row]), text = key.join();
      if (!found.has(text)) found.set(text, { key, rows: [] });
      found.get(text).rows.push(row);
    }
    const unit = over === "run" ? (row) => row : (row) => table.by[over].codes[row];
    for (const group of found.values()) {
      group.units = new Set(group.rows.map(unit)).size;
      group.of = {};
      for (const name of measured) {
        const { at } = table.by[name], units = new Map();
        for (const row of group.rows) {
          const value = at(row);
          if (value === null) continue;
          const own = units.get(unit(row)) ?? { sum: 0, n: 0 };
          units.set(unit(row), { sum: own.sum + value, n: own.n + 1 });
        }
        group.of[name] = estimate(units);
      }
    }
    return [...found.values()].sort((a, b) => {
      const at = a.key.findIndex((code, i) => code !== b.key[i]);
      return at < 0 ? 0 : a.key[at] - b.key[at];
    });
  };

  return { grouped, quantile };
});
