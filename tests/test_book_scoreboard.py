"""The scoreboard in a built book: a column, a line and a verdict for each world."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from tiny_book import ROOT, book, build, cells, index_page, row

from dip_book.claims import load_claims

sys.path.append(str(ROOT / "book" / "_ext"))  # as Sphinx does
from companion.claim_rows import reasons
from companion.measured import look_up

WORLDS = {"embedded": "Glyph World", "photos": "Photo World", "paper": "Real CLIP"}


def only(world: str) -> list[str]:
    """The claims that a world judges, those that state one fact once."""
    claims = load_claims(ROOT / "book" / "claims.toml")
    return [claim.id for claim in claims if world in claim.worlds and not claim.part_of]


def test_a_number_of_one_world_is_that_worlds_or_not_measured(tmp_path: Path) -> None:
    def of(world: str) -> dict[str, object]:
        return {"value": 1, "text": world, "world": world}

    both = {"gain": of("embedded"), "photos/gain": of("photos"), "loss": of("photos")}
    (tmp_path / "03.json").write_text(json.dumps(both))
    assert look_up(tmp_path, "03/gain")["text"] == "embedded"
    assert look_up(tmp_path, "03/embedded/gain")["text"] == "embedded"
    assert look_up(tmp_path, "03/photos/gain")["text"] == "photos"
    assert look_up(tmp_path, "03/paper/gain")["text"] == "not measured"
    assert look_up(tmp_path, "03/photos/loss")["text"] == "photos"  # a page of that world alone
    assert look_up(tmp_path, "03/embedded/loss")["text"] == "not measured"
    for wrong in ("03/gains", "03/photos/gains", "03/photo/gain", "03/embedded/photos/gain"):
        with pytest.raises(ValueError, match="gain"):
            look_up(tmp_path, wrong)


def test_an_open_claim_says_why_and_a_decided_one_nothing() -> None:
    why = "smallest effect this study can detect: 2"
    judged = {
        "embedded": {"verdict": "inconclusive", "detail": why},
        "photos": {"verdict": "cannot judge", "detail": "rests on 4 datasets"},
        "paper": {"verdict": "reproduced", "detail": ""},
    }
    rows = [{"id": "gain", "judged": judged}]
    first, second = reasons(rows, "gain")
    assert first == f"Inconclusive in Glyph World: {why}."
    assert second == "Cannot judge in Photo World: rests on 4 datasets."
    with pytest.raises(ValueError, match="gain"):
        reasons(rows, "gian")


def test_every_world_has_its_column_its_line_and_its_verdict(tmp_path: Path) -> None:
    index = """# Title
New {verdict}`dip-new` {verdict}`dip-new photos` {verdict}`dip-new paper`, H {verdict}`dip-h`,
count {verdict}`half-k-parameters any`, {measured}`03_base_to_new/photos/dip_minus_coop_new`,
{measured}`02_information_density/markup`.

```{score}
```

```{claims}
```
"""
    status, errors = build(book(tmp_path, index), "site")
    assert status == 0, errors
    page = index_page(tmp_path)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page and "<script>alert" not in page
    origin = "measured by others, and taken in: 2 of 9 runs from share 3f2a91c0 (&lt;img src=x&gt;)"
    assert origin in row(page, "dip-new") and "<img src=x>" not in page
    assert re.findall(r'<th scope="col">([^<]+)</th>', page) == ["Claim", *WORLDS.values()]
    new = {"embedded": "reproduced", "photos": "not reproduced", "paper": "not measured"}
    assert cells(page, "dip-new") == new
    assert "the worlds disagree" in row(page, "dip-new") and page.count('class="disagree"') == 1
    assert "half-width 1.10, n&nbsp;=&nbsp;7" in row(page, "dip-new")
    assert page.count("half-width") == 2  # of the eleven datasets none is given
    # a world that cannot be asked has a dash in its column
    assert cells(page, "rotation-new") == {"embedded": "not measured"}
    assert row(page, "rotation-new").count("&mdash;") == 2
    assert cells(page, "half-k-parameters") == {"any": "by construction"}
    assert page.count("a count: the same in every world") == len(only("any"))
    headings = re.findall(r'<tr class="kind"><th[^>]*>(\w+)', page)
    assert headings == ["Primary", "Exploratory", "By"]
    primary, exploratory, counts = page.split('<tr class="kind">')[1:]
    assert 'id="claim-dip-new"' in primary and 'id="claim-few-shot"' in exploratory
    assert 'id="claim-half-k-parameters"' in counts
    # claims that state one fact are one row, which links find
    assert '<tr id="claim-id2-new"' not in page and 'id="claim-id2-new"' in row(page, "id1-new")
    said = re.findall(r'<a class="verdict-link".*?</a>', page, re.DOTALL)
    words = [" ".join(re.sub(r"<[^>]+>", " ", each).split()) for each in said]
    assert words == [
        "✓ reproduced",
        "Photo World ✗ not reproduced",
        "Real CLIP ○ not measured",
        "Photo World ✓ reproduced",  # the first that judged it is not the first that could
        "Every world = by construction",
    ]
    (lines,) = re.findall(r'<ul class="score">(.*?)</ul>', page, re.DOTALL)
    counted = [" ".join(re.sub(r"<[^>]+>", "", line).split()) for line in lines.split("</li>")]
    photos = len(only("photos"))
    assert counted[1] == (
        f"Photo World, {photos} claims, 4 of them primary: "
        f"1 reproduced, 1 not reproduced, {photos - 2} not measured."
    )
    assert counted[3].startswith(f"Counts, which are no evidence, {len(only('any'))} claims: ")
    assert counted[4] == "Claims on which the worlds disagree: 1."
