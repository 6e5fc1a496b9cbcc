// Classifying one image among names that the reader types, before and after training.
TrainHere.part("ask", (use) => {
  const { prepare, encode, scores } = use("tower");
  const { matrix } = use("prompt");
  const { UnknownWords } = use("tokens");

  /** Why names cannot be answered, in words; "" if they can. */
  const refusal = ({ words, tower, n }, names) => {
    if (names.length < 2) return "Give at least two names, with commas between.";
    if (new Set(names.map((name) => name.toLowerCase())).size < names.length) return "Two of the names are the same.";
    const room = tower.places.length / tower.d - 1 - n, unknown = [];
    for (const name of names) {
      try {
        const needed = words.suffix(name).length;
        if (needed > room) return `“${name}” is too long: it needs ${needed} tokens, and ${room} are left behind the prompt.`;
      } catch (error) {
        if (!(error instanceof UnknownWords)) throw error;
        unknown.push(...error.words);
      }
    }
    if (!unknown.length) return "";
    const near = [...new Set(unknown.flatMap((word) => words.similar(word)))], never = unknown.map((word) => `“${word}”`);
    const such = near.length ? `, such as ${near.join(", ")}` : "";
    return `The text encoder never saw ${never.join(", ")}: it knows the words of Unicode names${such}.`;
  };

  const softmax = (logits) => {
    const powers = Array.from(logits, (x) => Math.exp(x - Math.max(...logits)));
    return powers.map((x) => x / powers.reduce((a, b) => a + b));
  };

  /**
   * Probabilities of names for an image, behind P0 and behind what was learned.
   *
   * @param image a test image's number, or the unit features of any other.
   */
  const classify = ({ world, prompt, diverged }, names, image) => {
    const refused = diverged ? "Nothing was learned: train again with a lower learning rate." : refusal(world, names);
    if (refused) return { refused };
    const { tower, test, words, n, sos, start } = world, { e } = tower;
    const classes = prepare(tower, names.map(words.suffix), n, sos);
    const features = image.length ? image : test.images.subarray(image * e, (image + 1) * e);
    const of = (matrix) => softmax(scores(tower, features, 1, encode(tower, classes, matrix), names.length));
    return { names, before: of(start), after: of(matrix(prompt)) };
  };

  return { classify };
});
