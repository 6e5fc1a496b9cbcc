"""Tables and figures of every page fit the column, on a phone and on a desk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_browser import look, opened, pages

# Tables of results, whether as tables or as cards: what is wrong with them.
LOST = """const seen = [];
for (const table of document.querySelectorAll('.cell_output table, table.cards')) {
  if (!table.offsetParent) continue;
  const edge = document.querySelector('.bd-article').getBoundingClientRect().right + 1;
  const cells = [...table.querySelectorAll('th, td')].filter(cell => cell.offsetParent);
  const out = cells.filter(cell => cell.getBoundingClientRect().right > edge);
  if (out.length) seen.push(`${out.length} cells are cut off: ${table.innerText.slice(0, 60)}`);
}
return seen"""
HEADS = """const seen = [];
const side = cell => getComputedStyle(cell).textAlign.replace('start', 'left');
for (const table of document.querySelectorAll('.cell_output table.dataframe:not(.as-cards)')) {
  const rows = [...table.tHead.rows].filter(row => ![...row.cells].some(c => c.colSpan > 1));
  const first = table.tBodies[0].rows[0].cells;
  for (const row of rows) {
    if (row.cells.length !== first.length) continue;
    [...row.cells].forEach((head, i) => {
      if (head.textContent.trim() && side(head) !== side(first[i])) seen.push(head.textContent);
    });
  }
}
return seen"""
UNSAID = """return [...document.querySelectorAll('table.as-cards td')]
.filter(cell => cell.textContent.trim() && !cell.dataset.label).map(cell => cell.textContent)"""
NARROW = """return [...document.querySelectorAll('.cell_output img')].map(image => {
  const box = image.getBoundingClientRect(), column = image.closest('.output, .cell_output');
  const shown = box.height * image.naturalWidth / image.naturalHeight;
  const full = Math.min(box.width, shown) >= column.clientWidth - 18;  // but for a dark card's edge
  const tall = box.height >= 1600;  // two screens
  return full || tall ? '' : `${image.src}: ${shown} in ${column.clientWidth}`;
}).filter(Boolean)"""


@pytest.mark.parametrize("width", [390, 1440])
def test_no_table_loses_a_column_and_figures_fill_theirs(
    html: Path, browser: Any, width: int
) -> None:
    look(browser, width, "light")
    faults, cards = [], 0
    for page in pages(html):
        opened(browser, page)
        found = {
            "table": browser.execute_script(LOST),
            "header": browser.execute_script(HEADS),
            "card": browser.execute_script(UNSAID),
            "figure": browser.execute_script(NARROW),
        }
        cards += browser.execute_script("return document.querySelectorAll('.as-cards').length")
        faults += [f"{page.stem}: {kind} {each}" for kind, all in found.items() for each in all]
    assert not faults, "\n".join(faults)
    assert cards  # the widest have become cards
