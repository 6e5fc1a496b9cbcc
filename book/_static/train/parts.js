// The parts of the page that learns, each in a file of its own, for the page and for its worker.
//
// A page that is opened as a file may neither fetch nor start a worker from a file. So each part is
// a function that a script registers, `source` is the text of all of them, and a worker starts from
// that text. Weights and pictures' features come as scripts, too, and register themselves as packs.
var TrainHere = (function create() {
  const builders = {};
  const built = {};
  const packs = {};
  return {
    packs,
    /** Register a part; `build(use)` makes it when it is first asked for. */
    part(name, build) {
      builders[name] = build;
    },
    /** A part by name, with whatever it uses itself. */
    use(name) {
      if (!(name in built)) built[name] = builders[name](this.use.bind(this));
      return built[name];
    },
    /** Register what a script of data holds. */
    pack(name, content) {
      packs[name] = content;
    },
    /** The text of a script that has all parts registered so far and starts one of them. */
    source(first) {
      const parts = Object.entries(builders).map(([name, build]) => `TrainHere.part("${name}", ${build});`);
      return [`var TrainHere = (${create})();`, ...parts, `TrainHere.use("${first}");`].join("\n");
    },
  };
})();
