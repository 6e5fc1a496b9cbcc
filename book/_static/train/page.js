// The page: controls, the worker that trains, and what comes back from it.
TrainHere.part("page", (use) => {
  const { find, figures, words, pictures, names, run, answer } = use("show");
  const { drawing } = use("drawing");
  const place = document.querySelector(".train");
  const [form, asked] = place.querySelectorAll("form");
  const bar = place.querySelector("progress"), stop = form.elements.stop;
  const say = (text) => (find("said").textContent = text);
  const folder = place.dataset.static;

  // ---- what is loaded: only when asked for, and as scripts, which a page opened as a file may load --
  const loaded = {};
  const load = (name) =>
    (loaded[name] ??= new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = `${folder}/packs/${name}.js`;
      script.onload = () => done(TrainHere.packs[name]);
      script.onerror = () => {
        delete loaded[name]; // the next press tries again
        failed(new Error(`could not load ${script.src}`));
      };
      document.head.append(script);
    }));

  let worker = null;
  const start = async () => {
    const packs = { text_tower: await load("text_tower"), vocabulary: await load("vocabulary") };
    worker = new Worker(URL.createObjectURL(new Blob([TrainHere.source("worker")], { type: "text/javascript" })));
    worker.onmessage = ({ data: { kind, ...rest } }) => on[kind](rest);
    worker.onerror = (event) => on.error(event);
    worker.postMessage({ kind: "load", packs });
  };

  // ---- a run -------------------------------------------------------------------------------------
  let halted = false; // Stop was pressed while data were loading
  let now = null; // { settings, family, about, reports }
  const number = (name) => Number(form.elements[name].value);
  const press = form.querySelector("[type=submit]");
  /** Train or Stop can be pressed; whoever used the keyboard stays at the one that can. */
  const busy = (is) => {
    const there = [press, stop].includes(document.activeElement);
    press.disabled = is;
    stop.disabled = !is;
    if (there) (is ? stop : press).focus();
  };
  const percent = ({ base, new: other }) => `base ${base.toFixed(1)} %, new ${other.toFixed(1)} %`;

  const train = async () => {
    const family = form.elements.family.value, method = form.elements.method.value;
    const settings = { method, rank: number("rank"), dropout: number("dropout"), lr: number("lr"), epochs: number("epochs"), seed: number("seed") };
    halted = false;
    busy(true);
    say("Loading the text encoder (2 MB) and the images’ features (0.3 MB) …");
    try {
      const pack = await load(family);
      if (!worker) await start();
      if (halted) {
        busy(false);
        say("Stopped before it began.");
        return;
      }
      now = { settings, family, about: pack.about, reports: [] };
      bar.value = 0;
      show();
      worker.postMessage({ kind: "train", pack, settings });
      say("Training has begun.");
    } catch (error) {
      on.error(error);
    }
  };

  const on = {
    progress({ epoch, loss, shown }) {
      const { settings, reports, about } = now;
      bar.value = epoch / settings.epochs;
      if (loss !== undefined) bar.textContent = `epoch ${epoch}, loss ${loss.toFixed(3)}`;
      if (!shown) return;
      if (!reports.length) find("run").hidden = false;
      reports.push({ epoch, ...shown });
      figures(reports, settings.epochs);
      words(shown);
      names(about, reports[0].named, shown.named);
      const quarter = Math.floor((4 * epoch) / settings.epochs); // few words for those who listen
      if (now.quarter !== quarter && quarter < 4) say(`Epoch ${epoch} of ${settings.epochs}: ${percent(shown)}.`);
      now.quarter = quarter;
    },
    end({ epoch, diverged, stopped }) {
      const { settings, reports, family } = now, first = reports[0], last = reports[reports.length - 1];
      busy(false);
      bar.value = diverged ? 0 : 1;
      if (diverged) {
        say(`Nothing was learned: in epoch ${epoch} the loss was no longer a number, because the learning rate ${settings.lr} is too high. Try 0.03.`);
        return;
      }
      const whole = stopped && epoch < settings.epochs ? `Stopped after epoch ${epoch} of ${settings.epochs}` : `Trained for ${epoch} epoch${epoch > 1 ? "s" : ""}`;
      const failed = last.base < first.base - 5 ? " Training made the classes it trained on worse: the learning rate is too high. Try 0.03." : "";
      const density = `ID₁ ${first.id.toFixed(2)} → ${last.id.toFixed(2)}`;
      say(`${whole}: ${percent(last)}; at the start ${percent(first)}. ${density}.${failed}`);
      find("none").hidden = true;
      run(settings, family, last, epoch < settings.epochs ? `${epoch} of ${settings.epochs}` : `${epoch}`);
    },
    answer,
    error({ message }) {
      busy(false);
      say(`This did not work: ${message}. Reload the page to try again.`);
    },
  };

  // ---- controls ----------------------------------------------------------------------------------
  const method = () => {
    const plain = form.elements.method.value === "coop";
    for (const name of ["rank", "dropout"]) form.elements[name].disabled = plain;
  };

  const OWN = "own";
  const own = drawing(place.querySelector(".draw"), (is) => (asked.elements.image.value = is ? OWN : asked.elements.image.options[0].value));

  const ask = async () => {
    const given = asked.elements.names.value.split(",").map((name) => name.trim()).filter(Boolean);
    const names = given.length ? given : now.about.names, image = asked.elements.image.value;
    if (image !== OWN) return worker.postMessage({ kind: "ask", names, image: Number(image) });
    if (!own.any()) return (find("refused").textContent = "There is no drawing yet: draw a character, or type one.");
    find("refused").textContent = "Loading the image encoder (1.7 MB) …";
    const pack = await load("image_tower");
    worker.postMessage({ kind: "ask", names, pixels: own.pixels(), pack });
  };

  /** The pictures of the family that is trained on, and three of its new names to begin with. */
  let shown = "";
  const show = () => {
    const { family, about } = now;
    if (family === shown) return;
    shown = family;
    pictures(family, about, `${folder}/pictures/${family}.webp`);
    const some = about.shown.slice(-6).filter((_, i) => i % 2);
    asked.elements.names.value = some.map((image) => about.names[Math.floor(image / about.per_class)]).join(", ");
    asked.elements.image.replaceChildren(
      ...about.shown.map((image) => new Option(about.names[Math.floor(image / about.per_class)], image)),
      new Option("your drawing", OWN)
    );
    asked.elements.image.value = own.any() ? OWN : some[0];
  };

  form.addEventListener("change", method);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    train();
  });
  stop.addEventListener("click", () => {
    halted = true;
    worker?.postMessage({ kind: "stop" });
  });
  asked.addEventListener("submit", (event) => {
    event.preventDefault();
    ask().catch(on.error);
  });
  for (const still of document.querySelectorAll(".train-still")) still.hidden = true;
  place.hidden = false;
  method();
  return {};
});
