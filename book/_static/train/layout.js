// Which token states have to be computed for a set of class names: dip_lib/clip/layout.py.
//
// In a causal text encoder the state of a token depends on the tokens up to it alone. Sequences that
// begin alike, as all do with the start token and the prompt, share the states of their beginning:
// what remains is a tree, one row a node. A row attends to its path to the root.
TrainHere.part("layout", () => {
  /**
   * The rows of `[SOS] [n vectors] [suffix]` for each suffix.
   *
   * @param suffixes token rows of each class's name and what follows, end token included.
   * @returns tokens (-1 in the vectors' rows 1 ... n), position, and `paths`: the rows that row r
   *   looks at are paths[from[r]] ... paths[from[r + 1] - 1], itself last; `end`: each class's last.
   */
  const layout = (suffixes, n, start) => {
    const tokens = [], parent = [], position = [], children = [];
    const add = (token, above) => {
      tokens.push(token);
      parent.push(above);
      position.push(above < 0 ? 0 : position[above] + 1);
      children.push(new Map());
      return tokens.length - 1;
    };
    let last = add(start, -1);
    for (let i = 0; i < n; i++) last = add(-1, last);
    const end = suffixes.map((suffix) => {
      let row = last;
      for (const token of suffix) {
        if (!children[row].has(token)) children[row].set(token, add(token, row));
        row = children[row].get(token);
      }
      return row;
    });
    const from = [0], paths = [];
    for (let row = 0; row < tokens.length; row++) {
      for (let each = row; each >= 0; each = parent[each]) paths.push(each);
      from.push(paths.length);
    }
    return { n, tokens, position, end, from: Int32Array.from(from), paths: Int32Array.from(paths) };
  };
  return { layout };
});
