// The worker: trains and answers, so that the page stays responsive. Messages in: `kind` names what
// to do. Messages out: progress of a run, its end, an answer, or an error.
TrainHere.part("worker", (use) => {
  const { encoder, family } = use("world");
  const { begin, trainEpoch, evaluate } = use("training");
  const { classify } = use("ask");
  const { imageTower } = use("image_tower");

  const EVALUATIONS = 20; // along a run, beside the one at the start
  let known = null; // the encoder and its words
  let run = null;
  let features = null; // the image encoder, once a picture of the reader's own is asked for
  let stop = false;

  /** What the page shows of a run as it is; null when its prompt is no longer a number. */
  const report = (current) => {
    const now = evaluate(current);
    if (!now) return null;
    const { prompt, predicted, ...numbers } = now, { world } = current;
    return {
      ...numbers,
      words: world.words.nearest(prompt, world.n, world.tower.words),
      named: world.shown.map((image) => world.names[predicted[image]]),
    };
  };

  const pause = () => new Promise((done) => setTimeout(done)); // lets messages in

  const train = async ({ pack, settings }) => {
    stop = false;
    run = begin(family(known, pack), settings);
    const current = run, every = Math.ceil(settings.epochs / EVALUATIONS);
    postMessage({ kind: "progress", epoch: 0, shown: report(current) });
    while (run === current && current.epoch < settings.epochs && !current.diverged && !stop) {
      await pause();
      const losses = trainEpoch(current), loss = losses.reduce((a, b) => a + b, 0) / losses.length;
      const due = current.epoch % every === 0 || current.epoch === settings.epochs;
      const shown = due && !current.diverged ? report(current) : null;
      if (due && !shown) current.diverged = true; // the last step went to infinity
      if (!current.diverged) postMessage({ kind: "progress", epoch: current.epoch, loss, shown });
    }
    if (run !== current) return;
    if (stop && !current.diverged) postMessage({ kind: "progress", epoch: current.epoch, shown: report(current) });
    postMessage({ kind: "end", epoch: current.epoch, diverged: current.diverged, stopped: stop });
  };

  const tasks = {
    load: ({ packs }) => {
      known = encoder(packs);
    },
    train,
    stop: () => {
      stop = true;
    },
    ask: ({ names, image, pixels, pack }) => {
      if (pack) features ??= imageTower(pack);
      postMessage({ kind: "answer", ...classify(run, names, pixels ? features(pixels) : image) });
    },
  };

  onmessage = async ({ data: { kind, ...rest } }) => {
    try {
      await tasks[kind](rest);
    } catch (error) {
      postMessage({ kind: "error", message: `${error.message}` });
    }
  };
});
