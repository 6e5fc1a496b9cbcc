// What a run needs, made from the scripts of data: the encoder, the words, a family's features.
TrainHere.part("world", (use) => {
  const { tensors, features } = use("packs");
  const { textTower } = use("tower");
  const { tokenizer } = use("tokens");

  const CONTEXT = "a photo of a";

  /** The text encoder and its words, which all families share. */
  const encoder = (packs) => ({ tower: textTower(tensors(packs.text_tower)), words: tokenizer(packs.vocabulary) });

  /** One family behind that encoder: everything `begin` of training.js asks for. */
  const family = ({ tower, words }, pack) => {
    const { about, ...stored } = pack, given = tensors(stored), { d, e } = tower;
    const levels = given.levels.values, labels = Array.from(given.train_labels.values), N = labels.length;
    const all = features(given.train.values, levels, e);
    const views = Array.from({ length: about.views }, (_, v) => all.subarray(v * N * e, (v + 1) * N * e));
    const context = words.encode(CONTEXT);
    return {
      tower, words, ...about,
      suffixes: about.names.map(words.suffix),
      sos: words.start, n: context.length,
      start: Float64Array.from(context.flatMap((row) => [...tower.words.subarray(row * d, (row + 1) * d)])),
      train: { views, labels },
      test: {
        images: features(given.test.values, levels, e),
        labels: about.names.flatMap((_, c) => Array(about.per_class).fill(c)),
      },
    };
  };

  return { encoder, family };
});
