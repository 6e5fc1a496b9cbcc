// The table of runs: columns of whole numbers, and what they stand for.
AskTheData.part("data", () => {
  const inflated = async (text) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };

  // codes of a column: the high bytes of all rows, then the next ones
  const codesOf = (raw, begin, rows, bytes) => {
    const codes = new Uint32Array(rows);
    for (let byte = 0; byte < bytes; byte += 1) {
      const plane = begin + byte * rows;
      for (let i = 0; i < rows; i += 1) codes[i] = codes[i] * 256 + raw[plane + i];
    }
    return codes;
  };

  /**
   * A column: `codes` (0: none), `at(row)` its value or null, `say(value)` as text.
   * A setting has `values`, a measured quantity `digits` after the point.
   */
  const column = (about, codes) => {
    const { values, per, low } = about;
    const value = values ? (code) => values[code - 1] : (code) => (low + code - 1) / per;
    const digits = per ? String(per).length - 1 : 0;
    return {
      ...about,
      codes,
      digits,
      words: Boolean(values) && values.some((each) => typeof each === "string"),
      at: (row) => (codes[row] ? value(codes[row]) : null),
      say: (each) => (each === null ? "none" : per ? each.toFixed(digits) : String(each)),
    };
  };

  /** The table of a pack's parts: rows, columns in their order, `by` name, and `source(row)`: file and line. */
  const unpack = async ({ columns, parts }) => {
    const raws = await Promise.all(parts.map(({ data }) => inflated(data)));
    const counts = parts.map(({ sources }) => sources.reduce((sum, [, , , runs]) => sum + runs, 0));
    const rows = counts.reduce((sum, count) => sum + count, 0);
    let planes = 0; // of the columns before
    const made = columns.map((about) => {
      const codes = new Uint32Array(rows);
      let first = 0;
      raws.forEach((raw, i) => {
        codes.set(codesOf(raw, planes * counts[i], counts[i], about.bytes), first);
        first += counts[i];
      });
      planes += about.bytes;
      return column(about, codes);
    });
    const source = (row) => {
      let left = row;
      for (const [path, , , runs] of parts.flatMap(({ sources }) => sources)) {
        if (left < runs) return [path, left + 3]; // two lines stand before the first run
        left -= runs;
      }
      return null;
    };
    return { rows, columns: made, by: Object.fromEntries(made.map((each) => [each.name, each])), source };
  };

  return { unpack };
});
