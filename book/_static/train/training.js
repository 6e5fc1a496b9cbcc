// Training and evaluating one prompt: dip_lib/training/loop.py and evaluate.py for one run.
TrainHere.part("training", (use) => {
  const { prepare, encode, gradient, scores } = use("tower");
  const { firstPrompt, matrix, maskOf, gradients } = use("prompt");
  const { permutation } = use("chance");
  const { singularValues, density, asRead } = use("density");
  const { product } = use("kernels");

  // the profile's, the same for every run
  const BATCH = 128, MOMENTUM = 0.9, DECAY = 5e-4, WARMUP = 1 / 200;

  /** Constant in the first epoch, then a cosine that does not reach 0 (CoOp's). */
  const learningRate = (epoch, epochs, lr) =>
    epoch ? 0.5 * lr * (1 + Math.cos((Math.PI * (epoch - 1)) / epochs)) : lr * WARMUP;

  /** Mean cross-entropy of logits (m, C), and its gradient in place of them. */
  const crossEntropy = (logits, labels, C) => {
    const m = labels.length;
    let loss = 0;
    for (let i = 0; i < m; i++) {
      const row = logits.subarray(i * C, (i + 1) * C), most = row.reduce((a, b) => Math.max(a, b), -Infinity);
      const total = row.reduce((sum, x) => sum + Math.exp(x - most), 0);
      loss += (most + Math.log(total) - row[labels[i]]) / m;
      row.forEach((x, j) => (row[j] = (Math.exp(x - most) / total - (j === labels[i])) / m));
    }
    return loss;
  };

  /**
   * A run before its first step.
   *
   * @param world the tower; the family's suffixes (tokens), of which the first `base` are trained;
   *   its features: train, views times (N, e), and test, with labels; start, the prompt P0 (n, d).
   * @param settings method, rank, dropout, lr, epochs, seed.
   */
  const begin = (world, settings) => {
    const { tower, suffixes, base, start, n, sos } = world;
    const prompt = firstPrompt(start, n, settings);
    return {
      world, settings, prompt, step: 0, epoch: 0, diverged: false,
      velocity: prompt.trained.map((each) => new Float64Array(each.length)),
      classes: prepare(tower, suffixes.slice(0, base), n, sos),
      all: prepare(tower, suffixes, n, sos),
    };
  };

  /** The loss on a batch of image features and labels, and the gradients of what trains. */
  const lossAndGradients = (run, images, labels) => {
    const { world: { tower }, prompt, settings, classes } = run;
    const C = classes.C, m = labels.length, e = tower.e, mask = maskOf(prompt, settings, run.step);
    const unit = encode(tower, classes, matrix(prompt, mask));
    const logits = scores(tower, images, m, unit, C);
    const loss = crossEntropy(logits, labels, C);
    // of the class embeddings (C, e): scale * slopes' images, as one product of transposes
    const across = new Float64Array(C * m), down = new Float64Array(e * m);
    for (let i = 0; i < m; i++) {
      for (let c = 0; c < C; c++) across[c * m + i] = tower.scale * logits[i * C + c];
      for (let j = 0; j < e; j++) down[j * m + i] = images[i * e + j];
    }
    const dUnit = product(across, down, new Float64Array(C * e), C, e, m);
    return { loss, slopes: gradients(prompt, gradient(tower, classes, dUnit), mask) };
  };

  /** One step of SGD with momentum and weight decay. A run whose loss is no number stops. */
  const step = (run, images, labels, rate) => {
    const { loss, slopes } = lossAndGradients(run, images, labels);
    run.step += 1;
    if (!Number.isFinite(loss)) run.diverged = true;
    if (run.diverged) return loss;
    run.prompt.trained.forEach((tensor, t) => {
      const v = run.velocity[t], slope = slopes[t];
      for (let i = 0; i < tensor.length; i++) {
        v[i] = MOMENTUM * v[i] + slope[i] + DECAY * tensor[i];
        tensor[i] -= rate * v[i];
      }
    });
    return loss;
  };

  /** One epoch over the view whose turn it is; the losses of its steps. */
  const trainEpoch = (run) => {
    const { settings: { epochs, lr, seed }, world: { tower: { e }, train } } = run;
    const N = train.labels.length, size = Math.min(BATCH, N), order = permutation(seed, run.epoch, N);
    const view = train.views[run.epoch % train.views.length], rate = learningRate(run.epoch, epochs, lr);
    const losses = [];
    for (let at = 0; at + size <= N && !run.diverged; at += size) { // an incomplete last batch is dropped
      const chosen = order.slice(at, at + size), images = new Float64Array(size * e);
      chosen.forEach((row, i) => images.set(view.subarray(row * e, (row + 1) * e), i * e));
      losses.push(step(run, images, chosen.map((row) => train.labels[row]), rate));
    }
    run.epoch += 1;
    return losses;
  };

  /** The place of the largest of some numbers. */
  const best = (row) => row.reduce((most, x, j) => (x > row[most] ? j : most), 0);

  /** Predicted class of each test image among its own half's names, and both accuracies in percent. */
  const predict = ({ tower, base, test }, unit, C) => {
    const logits = scores(tower, test.images, test.labels.length, unit, C), right = [0, 0], of = [0, 0];
    const predicted = Array.from(test.labels, (label, i) => {
      const half = +(label >= base), from = half ? base : 0, to = half ? C : base;
      const named = from + best(logits.subarray(i * C + from, i * C + to));
      right[half] += named === label;
      of[half] += 1;
      return named;
    });
    return { predicted, base: (100 * right[0]) / of[0], new: (100 * right[1]) / of[1] };
  };

  /** What the page shows of a run as it is: accuracies, predictions, densities, spectra. */
  const evaluate = (run) => {
    const { world, all, prompt: { n, d, start } } = run, now = matrix(run.prompt);
    if (!now.every(Number.isFinite)) return null;
    const unit = encode(world.tower, all, now);
    const singular = singularValues(now, n), read = singularValues(asRead(now, world.tower.places, n), n);
    return {
      ...predict(world, unit, all.C),
      epoch: run.epoch, prompt: now, singular, read,
      id: density(singular, d), idRead: density(read, d),
      update: singularValues(now.map((x, i) => x - start[i]), n),
    };
  };

  return { begin, lossAndGradients, step, trainEpoch, evaluate, learningRate, scores };
});
