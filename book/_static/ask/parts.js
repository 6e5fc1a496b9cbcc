// The parts of the page that asks the data, each in a file of its own, and the place of its runs.
//
// A page that is opened as a file may not fetch: the runs come as a script, which registers them.
var AskTheData = (() => {
  const builders = {};
  const built = {};
  let arrived;
  return {
    runs: new Promise((resolve) => {
      arrived = resolve;
    }),
    /** Register a part; `build(use)` makes it when it is first asked for. */
    part(name, build) {
      builders[name] = build;
    },
    /** A part by name, with whatever it uses itself. */
    use(name) {
      if (!(name in built)) built[name] = builders[name](this.use.bind(this));
      return built[name];
    },
    /** Register the runs, as dip_book/ask_the_data.py packs them. */
    pack(content) {
      arrived(content);
    },
  };
})();
