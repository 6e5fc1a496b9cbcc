// Sliders that notebooks leave in their pages: dip_book/slider.py writes the numbers, nothing is fetched.
(() => {
  const PAUSE = 600; // milliseconds at each position while it plays

  // A button that goes from position to position and stops at the last; so it does when the reader moves the slider.
  const playButton = (place, input, update, quiet) => {
    const button = makeElement("button", { type: "button", class: "play", text: "Play" }, place);
    let timer = 0;
    const stop = () => {
      clearInterval(timer);
      timer = 0;
      button.textContent = "Play";
      quiet(false);
    };
    const step = () => {
      if (input.value === input.max) input.value = 0;
      else input.stepUp();
      const last = input.value === input.max;
      if (last) stop(); // before, so that what is said at the end is read out
      update();
    };
    button.addEventListener("click", () => {
      if (timer) return stop();
      button.textContent = "Stop";
      quiet(true);
      timer = setInterval(step, PAUSE);
      step();
    });
    input.addEventListener("input", stop);
  };

  for (const place of document.querySelectorAll(".slider[data-slider]")) {
    const { label, positions, panels, play } = JSON.parse(place.dataset.slider);
    const kind = panels[0].paths ? SliderPaths : SliderBars;
    const row = makeElement("label", {}, place);
    makeElement("span", { text: label }, row);
    // what plays begins as the still figure ends
    const first = play ? positions.length - 1 : 0;
    const input = makeElement("input", { type: "range", min: 0, max: positions.length - 1, value: first }, row);
    const output = makeElement("output", {}, row);
    const update = () => {
      const at = Number(input.value);
      input.setAttribute("aria-valuetext", positions[at]);
      output.textContent = positions[at];
      for (const { panel, svg, said } of shown) {
        kind.draw(svg, panel, at);
        said.textContent = panel.said[at];
      }
    };
    const quiet = (off) => shown.forEach(({ said }) => said.setAttribute("aria-live", off ? "off" : "polite"));
    if (play) playButton(place, input, update, quiet);
    const shown = panels.map((panel) => {
      makeElement("p", { class: "slider-title", text: panel.title }, place);
      const svg = makeElement("svg", { viewBox: kind.viewBox, role: "img" }, place);
      return { panel, svg, said: makeElement("p", { class: "slider-said", "aria-live": "polite" }, place) };
    });
    // once for all panels
    const legend = makeElement("ul", { class: "legend" }, place);
    for (const [name, drawKey] of kind.legend(panels)) {
      const entry = makeElement("li", {}, legend);
      drawKey(makeElement("svg", { viewBox: kind.key, "aria-hidden": "true" }, entry));
      entry.append(name);
    }
    input.addEventListener("input", update);
    place.hidden = false;
    update();
  }
})();
