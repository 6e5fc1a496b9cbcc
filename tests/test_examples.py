"""The examples run as they stand, and what they print and write is what they say.

They run in this process, each as the program that it is: importing torch anew takes seconds.
"""

from __future__ import annotations

import io
import re
import runpy
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch
from glyph_pictures import write_pictures
from safetensors.torch import load_file

from dip_lib import PromptedClassifier, information_density, load_backbone
from dip_lib.data import load_dataset

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NUMBER = r"\d+(?:\.\d+)?"


def run(name: str, folder: Path, *options: str) -> str:
    """What the example prints when it is run in ``folder``."""
    program = str(EXAMPLES / f"{name}.py")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as said:
        patch.chdir(folder)
        patch.setattr(sys, "argv", [program, *options])
        patch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
        runpy.run_path(program, run_name="__main__")
    return said.getvalue()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, torch.Tensor]]:
    """What DIP and CoOp print, and the prompts that they save."""
    found = {}
    for name, options in {"DIP": [], "CoOp": ["--full"]}.items():
        folder = tmp_path_factory.mktemp(name)
        said = run("train_a_prompt", folder, "--epochs", "8", *options)
        found[name] = said, load_file(folder / "prompt.safetensors")["prompt"]
    return found


@pytest.mark.parametrize(("name", "trainable", "rank"), [("DIP", 132, 1), ("CoOp", 512, 4)])
def test_a_prompt_trains_in_a_visible_loop(
    trained: dict[str, tuple[str, torch.Tensor]], name: str, trainable: int, rank: int
) -> None:
    said, prompt = trained[name]
    first, *rows = said.splitlines()
    assert re.findall(r"\d+", first)[-1] == str(trainable)
    table = [[float(value) for value in row.split()] for row in rows[1:]]
    epochs, losses, densities, base, new = zip(*table, strict=True)
    assert list(epochs) == list(range(1, 9))
    assert losses[-1] < 0.9 * losses[0]
    assert all(0 < value < 100 for value in (*base, *new))
    start = load_backbone("glyph-vit").context("a photo of a")
    assert torch.linalg.matrix_rank(prompt - start, rtol=1e-3) == rank
    assert densities[-1] == pytest.approx(float(information_density(prompt)), abs=1e-3)


def test_a_low_rank_makes_a_dense_prompt(trained: dict[str, tuple[str, torch.Tensor]]) -> None:
    dip, coop = (float(information_density(prompt)) for _, prompt in trained.values())
    assert dip > coop


def test_a_module_that_is_not_ours_becomes_a_dip_and_itself_again(tmp_path: Path) -> None:
    said = run("densify_a_module", tmp_path, "--steps", "31")
    assert re.match(r"512 .* 132$", said, re.MULTILINE)
    losses = [float(loss) for loss in re.findall(rf"loss ({NUMBER})", said)]
    assert len(losses) == 4
    assert losses[-1] < 0.9 * losses[0]
    assert said.count("True") == 2  # the merged prompt is the evaluated one; the keys are as before
    state = torch.load(tmp_path / "learner.pt")
    assert set(state) == {"ctx", "token_prefix", "token_suffix"}
    start = load_backbone("glyph-vit").context("a photo of a")
    assert torch.linalg.matrix_rank(state["ctx"] - start, rtol=1e-3) == 1


def test_without_a_folder_pictures_are_drawn_and_other_names_predicted(tmp_path: Path) -> None:
    said = run("own_pictures", tmp_path)
    shares = {name: float(share) for name, share in re.findall(rf"(.*): ({NUMBER}) % of new", said)}
    assert shares.keys() == {"the bare words", "the prompt"}
    assert shares["the prompt"] > 100 / 8  # of eight new classes
    loaded = PromptedClassifier.load(tmp_path / "prompt.safetensors")
    assert [*tmp_path.glob("*")] == [tmp_path / "prompt.safetensors", tmp_path / "home"]
    start = loaded.clip.context("a photo of a")
    assert torch.linalg.matrix_rank(loaded.prompt - start, rtol=1e-3) == 1


def test_folders_of_ones_own_are_read_and_stay_as_they_are(tmp_path: Path) -> None:
    names = load_dataset("shapes").class_names
    folders = {"own": names[:3], "new": names[40:43]}
    for folder, classes in folders.items():
        write_pictures(tmp_path / folder, "shapes", classes, 6)
    before = sorted(tmp_path.rglob("*.png"))
    said = run(
        "own_pictures",
        tmp_path,
        "own",
        "new",
        "--backbone",
        "glyph-vit",
        "--out",
        "mine.safetensors",
    )
    assert f"trained on {', '.join(names[:3])}\n" in said
    guesses = re.findall(r"^(.*): (.*) \(([\d.]+)\)$", said, re.MULTILINE)
    assert guesses and all(guess in names[40:43] for _, guess, _ in guesses)
    assert sorted(tmp_path.rglob("*.png")) == before
    assert (tmp_path / "mine.safetensors").is_file()
