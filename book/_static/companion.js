// The scoreboard's filter: shown only where scripts run; without it the whole table stands.
(() => {
  const filter = document.querySelector(".claims-filter");
  if (!filter) return;
  const rows = [...document.querySelectorAll("table.claims tbody tr[id]")];
  const parts = [...document.querySelectorAll("table.claims tbody")];
  const said = filter.querySelector("output");
  const show = () => {
    const { verdict, world } = Object.fromEntries(new FormData(filter));
    const wanted = ({ dataset }) => (!verdict || dataset.verdict === verdict) && (!world || dataset.world === world);
    for (const row of rows) {
      row.hidden = ![...row.querySelectorAll("td[data-verdict]")].some(wanted); // both of one world
    }
    for (const part of parts) part.hidden = !part.querySelector("tr[id]:not([hidden])");
    said.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} claims`;
  };
  // a link to a claim must find it, whatever is filtered
  const find = () => {
    const row = rows.find((each) => [each, ...each.querySelectorAll("[id]")].some(({ id }) => `#${id}` === location.hash));
    if (row?.hidden) {
      filter.reset();
      show();
      row.scrollIntoView();
    }
  };
  filter.hidden = false;
  filter.addEventListener("change", show);
  filter.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", find);
  show(); // a browser that goes back keeps what was chosen
  find();
})();

// Paper is white: a dark page is printed as the light one.
(() => {
  const root = document.documentElement;
  let theme;
  addEventListener("beforeprint", () => {
    theme = root.dataset.theme;
    root.dataset.theme = "light";
  });
  addEventListener("afterprint", () => {
    root.dataset.theme = theme;
  });
})();

// What the theme leaves to be wished for by those who read with ears or keys.
(() => {
  const each = (selector, change) => document.querySelectorAll(selector).forEach(change);
  // a button is called what is written on it, and its icons, which become pictures later, say nothing
  const quiet = () =>
    each(".theme-switch-button :is(i, svg)", (icon) => {
      icon.removeAttribute("title");
      icon.querySelector("title")?.remove();
      icon.setAttribute("aria-hidden", "true");
    });
  quiet();
  each(".search-button-field, details.hide > summary", (button) => button.removeAttribute("aria-label"));
  each(".has-children > details > summary", (toggle) => {
    toggle.setAttribute("aria-label", `Pages under ${toggle.closest("li").querySelector("a").textContent.trim()}`);
  });
  each(".citation-list", (list) => list.removeAttribute("role")); // its children are no list items
  addEventListener("load", () => {
    quiet();
    each(".bd-article table.table", (table) => {
      if (table.scrollWidth > table.clientWidth) table.tabIndex = 0; // arrow keys scroll it
    });
  });
})();
