// The parts of the page that asks the data, each in a file of its own, and the place of its runs.
//
// A page that is opened as a file may not fetch: the runs come as a script, which registers them.
var AskTheData = (() => {
  const builders = {};
  const built = {};
  let arrived, followed;
  return {
    runs: new Promise((resolve) => {
      arrived = resolve;
    }),
    /** The runs of the grids, from a script that is loaded now; @param folder where it lies. */
    grids(folder) {
      return new Promise((resolve, reject) => {
        followed = resolve;
        const script = makeElement("script", { src: `${folder}/grids.js` }, document.head);
        script.addEventListener("error", reject);
      });
    },
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
    /** Register the runs of the grids. */
    more(content) {
      followed(content);
    },
  };
})();
