// Runs the parts of the page that learns outside a browser, for tests/test_train_here.py.
// Arguments: the scripts to load, in order. Each line of standard input is {task, ...} as JSON, and each
// line of the output its answer.
const { readFileSync } = require("node:fs");
const { createInterface } = require("node:readline");
const { runInThisContext } = require("node:vm");

for (const path of process.argv.slice(2)) runInThisContext(readFileSync(path, "utf-8"), path);
const { encoder, family } = TrainHere.use("world");
const { begin, lossAndGradients, trainEpoch, evaluate } = TrainHere.use("training");
const { prepare, encode } = TrainHere.use("tower");
const plain = (each) => Array.from(each);
const shared = encoder(TrainHere.packs);
const world = (name) => family(shared, TrainHere.packs[name]);

const tasks = {
  chance({ seed, step, count, p }) {
    const { uniform, normal, dropoutMask, permutation } = TrainHere.use("chance");
    const drawn = [uniform(seed, step, count, 3), normal(seed, count), dropoutMask(seed, step, count, p)];
    return [...drawn.map(plain), permutation(seed, step, count)];
  },
  density({ matrix, rows }) {
    const { singularValues } = TrainHere.use("density");
    return singularValues(Float64Array.from(matrix), rows);
  },
  tokens({ texts }) {
    const { words } = shared;
    return texts.map((text) => {
      try {
        return words.encode(text);
      } catch (error) {
        return error.words;
      }
    });
  },
  features({ name }) {
    const { train, test } = world(name);
    return { views: train.views.map(plain), images: plain(test.images), train: train.labels, test: test.labels };
  },
  embeddings({ prompt, names }) {
    const { tower, words } = shared;
    const classes = prepare(tower, names.map(words.suffix), prompt.length / tower.d, words.start);
    return plain(encode(tower, classes, prompt));
  },
  images({ images }) {
    const { imageTower } = TrainHere.use("image_tower"), features = imageTower(TrainHere.packs.image_tower);
    return images.map((pixels) => plain(features(pixels)));
  },
  gradients({ name, settings, trained, rows }) {
    const given = world(name), run = begin(given, settings), { e } = given.tower;
    trained.forEach((values, i) => run.prompt.trained[i].set(values));
    const images = Float64Array.from(rows.flatMap((row) => plain(given.train.views[0].subarray(row * e, (row + 1) * e))));
    const { loss, slopes } = lossAndGradients(run, images, rows.map((row) => given.train.labels[row]));
    return { loss, slopes: slopes.map(plain) };
  },
  run({ name, settings, epochs }) {
    const run = begin(world(name), settings), losses = [];
    const first = evaluate(run), began = process.cpuUsage().user;
    for (let epoch = 0; epoch < epochs && !run.diverged; epoch++) losses.push(...trainEpoch(run));
    const seconds = (process.cpuUsage().user - began) / 1e6, last = evaluate(run);
    return { seconds, losses, first, last: last && { ...last, prompt: plain(last.prompt) }, diverged: run.diverged };
  },
};

createInterface({ input: process.stdin }).on("line", (line) => {
  const { task, ...job } = JSON.parse(line);
  process.stdout.write(`${JSON.stringify(tasks[task](job))}\n`);
});
