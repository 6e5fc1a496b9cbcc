"""The book's own roles and directives, in a tiny book built with warnings as errors."""

from __future__ import annotations

import json
import re
from pathlib import Path

import launch_buttons
import nbformat
import yaml
from pybtex.database import parse_file
from tiny_book import NUMBERS, ROOT, SVG, book, build, cells, index_page

import dip_lib


def test_numbers_claims_and_gallery_come_from_the_files(tmp_path: Path) -> None:
    index = """# Title
Median {measured}`02_information_density/median_rho_id1`; parameters {verdict}`half-k-parameters`.

```{score}
```

```{cite-us}
```

```{claims}
```

::::{gallery}
:::{thumb} 02_information_density
Card text.
:::
::::
"""
    status, errors = build(book(tmp_path, index), "site")
    assert status == 0, errors
    for name in NUMBERS:
        built = tmp_path / "_build" / "html" / "notebooks" / f"{name}.html"
        assert launch_buttons.shown(built) == launch_buttons.expected(ROOT, name)
    page = index_page(tmp_path)
    number = re.search(r'class="measured"><a [^>]*href="([^"]+)".*?0\.42 \[0\.1, 0\.6\]', page)
    assert number
    assert number[1] == "../notebooks/02_information_density.html"
    assert cells(page, "half-k-parameters") == {"any": "by construction"}
    assert "<b>516</b>" in page
    link = '<a class="verdict-link" href="#claim-half-k-parameters"><span class="verdict by-'
    assert link in page
    rows = len(re.findall(r'<tr id="claim-', page))
    assert '<form class="claims-filter" hidden>' in page
    assert page.count(f">all {rows}</span>") == 2
    assert 'src="../_images/thumb-02_information_density.svg" alt="Rising."' in page
    assert (tmp_path / "_build/html/_images/thumb-02_information_density.svg").read_text() == SVG
    assert "thebe" not in page.lower()
    notebook = tmp_path / "_build/html/notebooks/02_information_density.html"
    (data,) = re.findall(r'href="([^"]+curve\.csv)"', notebook.read_text("utf-8"))
    assert (notebook.parent / data).read_text() == "epoch,new\n0,50\n"
    icons = (tmp_path / "_build/html/_static/scripts/fontawesome.js").read_text("utf-8")
    assert '"magnifying-glass":[' in icons and "expand:[" in icons  # shown on every page
    assert "yelp:[" not in icons and len(icons) < 200_000
    bibtex = parse_file(tmp_path / "_build/html/_downloads/dip-companion.bib").entries
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert bibtex["dipcompanion"].fields["title"] == f"{{{cited['title']}}}"
    assert bibtex["dipcompanion"].fields["version"] == cited["version"]
    names = [str(person) for person in bibtex["hao2023dip"].persons["author"]]
    assert names[:2] == ["Hao, Tianxiang", "Lyu, Mengyao"]
    assert 'href="../_downloads/dip-companion.bib"' in page


def test_a_missing_number_or_notebook_fails_the_build(tmp_path: Path) -> None:
    wrong = {
        "{measured}`02_information_density/median_rho_id`": "Did you mean 'median_rho_id1'",
        "{measured}`02_information/median_rho_id1`": "Did you mean '02_information_density'",
        ":::{thumb} 09_nothing\n:::": "thumb 09_nothing",
        "{verdict}`half-k-parameter`": "Did you mean 'half-k-parameters'",
        "{verdict}`dip-new photo`": "Did you mean 'photos'",
        "{verdict}`rotation-new photos`": "world of claim rotation-new",
    }
    root = book(tmp_path, "# Title\n\n" + "\n\n".join(wrong))
    earlier = root / "_build" / "html" / "index.html"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("earlier")
    status, errors = build(root, "site")
    assert status == 1
    assert "the book has warnings" in errors
    for complaint in wrong.values():
        assert complaint in errors
    assert earlier.read_text() == "earlier"


def test_fresh_pages_and_numbers_replace_committed_ones_and_say_so(tmp_path: Path) -> None:
    root = book(
        tmp_path,
        "# Title\n\n{measured}`03_base_to_new/trainable_4_512_1`, "
        "{measured}`02_information_density/median_rho_id1`\n",
    )
    committed = (root / "notebooks" / "03_base_to_new.ipynb").read_bytes()
    status, errors = build(root, "run", "--profile", "smoke", "--notebook", "03")
    assert status == 0, errors
    page = index_page(root)
    assert "seven smoke" in page
    assert "0.42 [0.1, 0.6]" in page
    assert "This machine measured notebooks 03 (smoke); all other pages show the" in page
    assert (root / "notebooks" / "03_base_to_new.ipynb").read_bytes() == committed


def test_what_decides_nothing_is_marked_wherever_it_is_read_and_judges_no_claim(
    tmp_path: Path,
) -> None:
    index = """# Title
{measured}`03_base_to_new/trainable_4_512_1`, {measured}`02_information_density/median_rho_id1`

```{claims}
```

::::{gallery}
:::{thumb} 03_base_to_new
Card text.
:::
:::{thumb} 02_information_density
Card text.
:::
::::
"""
    root, reason = book(tmp_path, index), "profile smoke, 2 datasets"
    numbers = root / "results" / "numbers" / "03_base_to_new.json"
    few = {key: each | {"undecided": reason} for key, each in NUMBERS[numbers.stem].items()}
    numbers.write_text(json.dumps(few))
    path = root / "notebooks" / "03_base_to_new.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata |= {"companion": {"profile": "smoke"}, "made": {"undecided": reason}}
    nbformat.write(notebook, path)
    status, errors = build(root, "site")
    assert status == 0, errors
    page = index_page(root)
    assert f"516 ({reason})" in page and "0.42 [0.1, 0.6]<" in page
    assert page.count(f"Decides nothing: {reason}.") == 1  # on its own card
    assert f"notebooks 03 ({reason}: decides nothing)" in page
    assert cells(page, "half-k-parameters") == {"any": "by construction"}  # whatever is measured
    assert cells(page, "dip-new")["embedded"] == "cannot judge"


def test_every_public_name_has_an_entry_in_the_api() -> None:
    entries = re.findall(
        r"auto(?:function|class):: (\S+)", (ROOT / "book/api.md").read_text("utf-8")
    )
    assert {name.rsplit(".", 1)[-1] for name in entries} >= set(dip_lib.__all__)
