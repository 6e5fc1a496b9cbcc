"""What the landing page says in words is what the committed verdicts and numbers say."""

from __future__ import annotations

import json
import re
from pathlib import Path

from dip_book.scoreboard import scoreboard

ROOT = Path(__file__).parents[1]
INDEX = " ".join((ROOT / "book" / "index.md").read_text("utf-8").split())
NUMBERS = ROOT / "results" / "numbers"


def test_it_leads_with_what_was_learnt_and_that_holds() -> None:
    judged = {row["id"]: row["judged"] for row in scoreboard(ROOT / "book/claims.toml", NUMBERS)}
    glyphs = {
        name: each["embedded"]["verdict"] for name, each in judged.items() if "embedded" in each
    }
    gap = json.loads((NUMBERS / "03_base_to_new.json").read_text("utf-8"))
    assert "DIP forgets less than classic prompt tuning, and learns less" in INDEX
    assert glyphs["dip-new"] == "reproduced" and gap["dip_minus_coop_base"]["high"] < 0
    assert "whether both together are better is open" in INDEX
    assert glyphs["dip-h"] == "inconclusive"
    assert "also where each chooses among six settings" in INDEX
    assert {judged["dip-h-fair"][world]["verdict"] for world in ("embedded", "photos")} <= {
        "inconclusive",
        "equivalent",
    }
    drawn = json.loads((NUMBERS / "20_causes.json").read_text("utf-8"))
    assert "accuracy on unseen classes does not follow" in INDEX
    for world in ("", "photos/"):
        assert drawn[f"{world}new_per_drawn_density"]["low"] < 0
    across = json.loads((NUMBERS / "19_predictors.json").read_text("utf-8"))
    assert "how little the embeddings of words that belong to no class have moved" in INDEX
    for world in ("", "photos/"):
        drift, density = across[f"{world}rho_drift_words"], across[f"{world}rho_id1"]
        assert drift["high"] < -max(abs(density["low"]), abs(density["high"]), 0.5)
    assert "density and accuracy on unseen classes fall together" in INDEX
    rho = json.loads((NUMBERS / "02_information_density.json").read_text("utf-8"))
    assert rho["median_rho_id1"]["value"] > 0.9 and gap["coop_minus_zero_new"]["high"] < 0
    assert "training time alone ranks them as well" in INDEX
    assert glyphs["id-beyond-time"] == "equivalent"


def test_six_claims_have_their_verdicts_in_it_the_primary_ones_first() -> None:
    (shown,) = re.findall(r":::\{container\} held (.*?) :::", INDEX)
    lines = shown.split(" - ")
    claims = [re.findall(r"\{verdict\}`(\S+)", line)[0] for line in lines]
    rows = {row["id"]: row for row in scoreboard(ROOT / "book/claims.toml", NUMBERS)}
    assert len(claims) == len(set(claims)) == 6
    primary = [name for name, row in rows.items() if row["primary"]]
    assert claims[: len(primary)] == primary


def test_the_path_from_visual_prompts_says_what_their_page_measured() -> None:
    (path,) = re.findall(r"\*\*From visual prompts\*\*(.*?)To measure again", INDEX)
    pages = re.findall(r"\(([\w./]+\.(?:md|ipynb))\)", path)
    assert pages[0].endswith("14_visual_prompts.ipynb") and len(set(pages)) >= 5
    assert "so that taking most of them away shows little" in path
    numbers = json.loads((NUMBERS / "14_visual_prompts.json").read_text("utf-8"))
    assert numbers["most_minus_none"]["high"] < 0 and numbers["share"]["value"] == 30


def test_nothing_says_that_all_of_the_paper_was_measured() -> None:
    for name in ("book/index.md", "book/artefacts.md", "README.md"):
        text = " ".join((ROOT / name).read_text("utf-8").split())
        assert not re.search(r"every figure and (?:every )?table", text, re.IGNORECASE), name


def test_every_method_that_is_named_as_a_source_is_cited() -> None:
    cited = (ROOT / "book" / "references.bib").read_text("utf-8")
    for word in ("CoOp", "ProGrad", "DePT", "KgCoOp", "MaPLe"):
        key = re.search(rf"@\w+\{{\w*{word.lower()},", cited)
        assert key, word
