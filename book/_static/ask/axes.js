// Axes of a drawing: words in places, numbers along a line, rates and sizes by their logarithm.
AskTheData.part("axes", () => {
  const BY_POWERS = ["lr", "weight", "trainable", "seconds", "update_norm", "drift_words", "drift_base", "drift_new"];
  const short = (value) => (Math.abs(value) >= 1e5 || (value && Math.abs(value) < 1e-3) ? value.toExponential(0) : String(Number(value.toPrecision(4))));

  const places = (column, values) => {
    const names = column.values.filter((each) => values.includes(each));
    return {
      title: column.title,
      ticks: names.map((name, i) => [(i + 0.5) / names.length, String(name)]),
      at: (value, shift) => (names.indexOf(value) + 0.5 + 0.7 * shift) / names.length,
      words: true,
    };
  };

  const powers = (column, low, high) => {
    const from = Math.log10(low) - 0.05, to = Math.log10(high) + 0.05;
    const ticks = [];
    const few = to - from > 3;
    for (let power = Math.floor(from); power <= to; power += 1) {
      for (const part of few ? [1] : [1, 3]) ticks.push(part * 10 ** power);
    }
    const at = (value) => (Math.log10(value) - from) / (to - from);
    const inside = ticks.filter((tick) => at(tick) >= 0 && at(tick) <= 1);
    return { title: `${column.title} (logarithmic)`, ticks: inside.map((tick) => [at(tick), short(tick)]), at, words: false };
  };

  const line = (column, low, high) => {
    const room = (high - low || Math.abs(high) || 1) * 0.04, from = low - room, to = high + room;
    const at = (value) => (value - from) / (to - from);
    const power = 10 ** Math.floor(Math.log10((to - from) / 4));
    const step = [1, 2, 5, 10].map((each) => each * power).find((each) => (to - from) / each <= 6);
    const ticks = [];
    for (let tick = Math.ceil(from / step) * step; tick <= to; tick += step) ticks.push([at(tick), short(tick)]);
    return { title: column.title, ticks, at, words: false };
  };

  /**
   * The axis of a column for the values that are drawn.
   *
   * @returns { title, ticks: [[share, text]], at(value, shift) -> share of the axis from its start, words };
   * shift, -0.5 to 0.5, spreads what lies on one word.
   */
  const axis = (column, values) => {
    if (column.words) return places(column, values);
    let low = Infinity, high = -Infinity;
    for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
    return BY_POWERS.includes(column.name) && low > 0 && high / low > 5 ? powers(column, low, high) : line(column, low, high);
  };

  return { axis };
});
