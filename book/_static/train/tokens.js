// CLIP's byte-pair tokens of a text, for those words that the text encoder was trained on.
//
// Of CLIP's 48,894 merges the page has those whose halves both occur in tokens that the encoder
// knows. They find the tokens of every known word; a word that meets a merge into anything else, or
// ends in an unknown token, is unknown. So the answer is that of the whole tokenizer.
TrainHere.part("tokens", () => {
  class UnknownWords extends Error {
    constructor(words) {
      super(`unknown words: ${words.join(", ")}`);
      this.words = words;
    }
  }
  const WORDS = /'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+/giu;

  /** How many letters have to be added, removed or replaced to make one word of the other. */
  const letters = (a, b) => {
    let above = Array.from({ length: b.length + 1 }, (_, j) => j);
    for (let i = 1; i <= a.length; i++) {
      const row = [i];
      for (let j = 1; j <= b.length; j++) row.push(Math.min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] !== b[j - 1])));
      above = row;
    }
    return above[b.length];
  };

  /** @param vocabulary texts: tokens, whose row is their place, and pairs that merge, by rank. */
  const tokenizer = (vocabulary) => {
    const tokens = vocabulary.tokens.split(" "), pairs = vocabulary.merges.split(" ");
    const merges = Array.from({ length: pairs.length / 2 }, (_, i) => `${pairs[2 * i]} ${pairs[2 * i + 1]}`);
    const row = new Map(tokens.map((token, i) => [token, i]));
    const rank = new Map(merges.map((merge, i) => [merge, i]));
    const kept = new Map();

    const split = (word) => {
      let pieces = [...word];
      pieces[pieces.length - 1] += "</w>";
      for (;;) {
        const ranks = pieces.slice(1).map((piece, i) => rank.get(`${pieces[i]} ${piece}`) ?? Infinity);
        const first = Math.min(...ranks, Infinity);
        if (first === Infinity) return pieces;
        const [left, right] = merges[first].split(" "), joined = [];
        for (let i = 0; i < pieces.length; i++) {
          const both = pieces[i] === left && pieces[i + 1] === right;
          joined.push(both ? left + right : pieces[i]);
          i += both;
        }
        pieces = joined;
      }
    };

    /** Rows of the tokens of a text; throws UnknownWords. */
    const encode = (text) => {
      const unknown = [], rows = [];
      for (const word of text.toLowerCase().match(WORDS) ?? []) {
        if (!kept.has(word)) kept.set(word, split(word).map((piece) => row.get(piece)));
        if (kept.get(word).includes(undefined)) unknown.push(word);
        rows.push(...kept.get(word));
      }
      if (unknown.length) throw new UnknownWords([...new Set(unknown)]);
      return rows;
    };

    const start = row.get("<start_of_text>"), end = row.get("<end_of_text>");
    /** What stands behind the prompt: the name, a full stop, the end. */
    const suffix = (name) => [...encode(`${name.replaceAll("_", " ")}.`), end];

    const whole = tokens.map((token, i) => [token.slice(0, -4), i]).filter(([, i]) => /^[a-z]+<\/w>$/.test(tokens[i]));

    /** For each row of a prompt (n, d) the nearest whole words by Euclid's distance. */
    const nearest = (prompt, n, embeddings, count = 3) => {
      const d = prompt.length / n;
      const from = (row, i) => {
        let square = 0;
        for (let j = 0; j < d; j++) square += (prompt[row * d + j] - embeddings[i * d + j]) ** 2;
        return Math.sqrt(square);
      };
      return Array.from({ length: n }, (_, row) =>
        whole
          .map(([word, i]) => ({ word, distance: from(row, i) }))
          .sort((a, b) => a.distance - b.distance)
          .slice(0, count)
      );
    };

    /** Known words that are a few letters away from an unknown one, the nearest first. */
    const similar = (word, count = 3) =>
      whole
        .map(([known]) => [known, letters(word, known)])
        .filter(([, apart]) => apart <= Math.max(1, word.length / 3))
        .sort((a, b) => a[1] - b[1])
        .slice(0, count)
        .map(([known]) => known);

    return { encode, suffix, nearest, similar, start };
  };

  return { tokenizer, UnknownWords };
});
