"""Profile "paper" has the settings of the methods' authors, and the methods can hold them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from few_glyphs import Bench, few, learned, run, start_of, train_all
from test_methods import oracle, same, train_oracle

from dip_book.pages.peer_settings import PEERS, ours, rows_of, settings, table
from dip_lib.methods import METHODS
from dip_lib.methods.dept import FASTER
from dip_lib.methods.prompts import TEMPLATES
from dip_lib.methods.zero_shot import Ensemble
from dip_study.hosts import methods_of
from dip_study.profiles import load_profile

PAPER = load_profile("paper")
ROWS = list(rows_of(PAPER))


@pytest.fixture(scope="module")
def bench() -> Bench:
    return few()


# ---- the table ----------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r['method']} {r.get('setting')}")
def test_ours_is_theirs_or_the_row_says_why_not(row: dict[str, Any]) -> None:
    own = ours(PAPER, row)
    assert (own == row["theirs"]) != bool(row.get("differs")), (own, row)
    assert re.fullmatch(r"[\w.-]+/[\w.-]+: [\w./+-]+", row["file"])


@pytest.mark.parametrize("method", PEERS["templates"])
@pytest.mark.parametrize("dataset", PAPER.datasets)
def test_teachers_and_starts_are_the_peers_on_every_dataset(method: str, dataset: str) -> None:
    template, own = PEERS["templates"][method][dataset], settings(PAPER, method, dataset)
    assert own["template"] == template
    words = template.replace(" {}.", "") if method == "prograd" else "a photo of a"
    assert own["context"] == words
    assert own["epochs"] == 100  # on ImageNet, too


def test_every_method_of_the_page_is_in_the_table_and_the_table_follows_the_profile() -> None:
    shown = {METHODS[row["method"]].name for row in ROWS if row["method"] != "all"}
    alternatives = {"do", "pp"}  # ours: nobody has published their constants
    assert shown >= {*methods_of(PAPER, "text"), *methods_of(PAPER, "image")} - alternatives
    found = table(PAPER)
    assert len(found) == len(ROWS)
    assert found.loc[("DePT", "lr"), "ours"] == found.loc[("DePT", "lr"), "theirs"] == "0.0035"
    changed = {**PAPER.settings, "dept": {**PAPER.settings["dept"], "lr": 0.5}}
    other = table(replace(PAPER, settings=changed))
    assert other.loc[("DePT", "lr"), "ours"] == "0.5"


def test_what_is_said_of_all_methods_holds_for_all() -> None:
    slow = {**PAPER.settings, "maple": {**PAPER.settings["maple"], "warmup_lr": 0.0}}
    row = next(row for row in ROWS if row.get("setting") == "first epoch")
    with pytest.raises(ValueError, match="maple"):
        ours(replace(PAPER, settings=slow), row)


# ---- the first epoch ----------------------------------------------------------------------------


def test_an_absolute_warm_up_is_the_same_rate_for_all_that_trains(bench: Bench) -> None:
    one_step: dict[str, Any] = {"epochs": 1, "batch": 18, "lr": 0.5}
    alike = bench.prepare(run("dept", warmup_lr=0.01, **one_step))
    staged = bench.prepare(run("dept", warmup=0.02, **one_step))
    moved = []
    for runs in (alike, staged):
        begun = [t.clone() for t in (*learned(runs).prompts, *learned(runs).others)]
        train_all(runs)
        pairs = zip((*learned(runs).prompts, *learned(runs).others), begun, strict=True)
        moved.append([after - before for after, before in pairs])
    (prompt, *head), (prompt_too, *head_too) = moved
    torch.testing.assert_close(prompt, prompt_too)
    for slow, fast in zip(head, head_too, strict=True):
        assert float(slow.norm()) > 0
        torch.testing.assert_close(FASTER * slow, fast, rtol=1e-3, atol=1e-6)


def test_after_the_first_epoch_rates_are_those_without_it(bench: Bench) -> None:
    def losses(**settings: float) -> list[float]:
        runs = bench.prepare(run("coop", epochs=3, **settings))
        return torch.cat(train_all(runs)).tolist()

    assert losses(lr=0.02, warmup_lr=0.01) == losses(lr=0.02, warmup=0.5)
    assert losses(lr=0.02, warmup_lr=0.001) != losses(lr=0.02, warmup=0.5)


def test_a_negative_warm_up_is_refused() -> None:
    with pytest.raises(ValueError, match="-0.1"):
        run("coop", warmup_lr=-0.1)


# ---- starts and teachers ------------------------------------------------------------------------


def test_prograd_starts_with_zero_vectors_and_then_the_words(bench: Bench) -> None:
    runs = bench.prepare(run("prograd", context="an image of a", vectors=7))
    (prompt,) = start_of(runs).prompts
    assert prompt.shape == (7, 128)
    assert not prompt[:3].any()
    assert torch.equal(prompt[3:], bench.clip.context("an image of a"))
    module = oracle(bench, runs)
    losses = train_oracle(module, runs)
    assert torch.cat(train_all(runs)).tolist() == pytest.approx(losses, rel=1e-4)
    same(runs, module)


def test_prograd_counts_words_and_takes_tokens_as_its_authors_code(bench: Bench) -> None:
    clip = replace(bench.clip, known_tokens=None)
    words = "a type of pet, a photo of a"
    assert len(clip.tokens(words)) == 9
    frozen = replace(bench.prepare(run("coop")).frozen, clip=clip)
    (prompt,) = METHODS["prograd"].of({"context": words, "vectors": 16}).start(frozen, 1).prompts
    assert torch.equal(prompt[8:], clip.context("a type of pet, a photo of"))
    assert not prompt[:8].any()


def test_prograds_words_must_fit_its_vectors() -> None:
    with pytest.raises(ValueError, match="vectors = 3"):
        run("prograd", context="a photo of a", vectors=3)
    with pytest.raises(ValueError, match="words or a number"):
        run("prograd", context="")
    with pytest.raises(ValueError, match="words or a number"):
        run("coop", context="a photo of a", vectors=3)


@pytest.mark.parametrize("method", ["kgcoop", "prograd"])
def test_a_teacher_may_have_a_template_of_its_own(bench: Bench, method: str) -> None:
    other = "an image of a small {}."
    runs, usual = (bench.prepare(run(method, template=text)) for text in (other, ""))
    module, start = oracle(bench, usual), start_of(runs)
    assert torch.equal(start.prompts[0], start_of(usual).prompts[0])
    taught = type(module)(bench.clip, runs.data.names, {"ctx": start.prompts[0]}, [other])
    losses = train_oracle(taught, runs)
    assert torch.cat(train_all(runs)).tolist() == pytest.approx(losses, rel=1e-4)
    same(runs, taught)
    train_all(usual)
    assert not torch.equal(learned(usual).prompts[0], learned(runs).prompts[0])
    with pytest.raises(ValueError, match="no place"):
        run(method, template="no place")


def test_promptsrcs_raw_teacher_is_its_authors(bench: Bench) -> None:
    runs = bench.prepare(run("promptsrc", raw_teacher=True))
    module = oracle(bench, runs)
    clip, names = bench.clip, [name.replace("_", " ") for name in runs.data.names]
    texts = [[t.replace("{}", name) for name in names] for t in clip.templates]
    each = [clip.model.encode_text(clip.tokenizer(lines)) for lines in texts]
    teacher = F.normalize(torch.stack(each).mean(0), dim=-1)
    torch.testing.assert_close(runs.frozen.raw_ensemble_text, teacher, rtol=0, atol=1e-6)
    assert float((runs.frozen.ensemble_text - teacher).norm(dim=1).max()) > 1e-4
    module.teacher = teacher
    losses = train_oracle(module, runs)
    assert torch.cat(train_all(runs)).tolist() == pytest.approx(losses, rel=1e-4)
    same(runs, module)


def test_seven_templates_without_the_datasets_own(bench: Bench) -> None:
    clip, own = replace(bench.clip, templates=()), "a photo of a {}."
    assert Ensemble(own_template=False).templates(clip, own) == TEMPLATES["photos"]
    assert len(TEMPLATES["photos"]) == 7
    assert Ensemble().templates(clip, own) == [own, *TEMPLATES["photos"]]
