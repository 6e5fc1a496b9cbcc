"""The practitioner's class: a folder in, a class-free prompt file out, any names predicted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
import open_clip
import pytest
import torch
from glyph_pictures import write_pictures
from photo_archives import picture
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from dip_lib import PromptedClassifier, load_backbone
from dip_lib.data import load_dataset
from dip_lib.data.folders import picture_folder
from dip_lib.data.walk import find_pictures

NAMES = load_dataset("shapes").class_names
OWN, UNSEEN = NAMES[:4], NAMES[4:7]
SETTINGS: dict[str, Any] = {"epochs": 10, "views": 0, "batch": 16, "shots": 6}
NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks" / "05_your_own_images.ipynb"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures") / "own", "shapes", OWN)


@pytest.fixture(scope="module")
def fitted(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> PromptedClassifier:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIP_HOME", str(tmp_path_factory.mktemp("home")))
        return PromptedClassifier("glyph-vit", **SETTINGS).fit(folder)


@pytest.fixture
def file(fitted: PromptedClassifier, tmp_path: Path) -> Path:
    fitted.save(tmp_path / "prompt.safetensors")
    return tmp_path / "prompt.safetensors"


def loss(classifier: PromptedClassifier, folder: Path) -> float:
    """Mean cross-entropy of the training pictures among the trained names."""
    own = picture_folder(folder)
    paths = [own.root / path for path, _ in own.files["train"]]
    found = classifier.predict(paths, own.class_names, top=len(own.class_names))
    truth = [own.class_names[label] for _, label in own.files["train"]]
    shares = [dict(best)[name] for best, name in zip(found, truth, strict=True)]
    return float(-torch.tensor(shares).log().mean())


# ---- what a fit does ----------------------------------------------------------------------------


def test_a_fit_improves_on_the_words_alone(fitted: PromptedClassifier, folder: Path) -> None:
    words = PromptedClassifier("glyph-vit", **SETTINGS | {"epochs": 0}).fit(folder)
    assert torch.equal(words.prompt, words.clip.context("a photo of a"))
    assert fitted.class_names == OWN
    assert loss(fitted, folder) < 0.7 * loss(words, folder)


def test_no_epochs_are_zero_shot_clip(folder: Path) -> None:
    words = PromptedClassifier("glyph-resnet", **SETTINGS | {"epochs": 0}).fit(folder)
    clip, (path, *_) = words.clip, find_pictures(folder).files
    text = clip.encode_text([f"a photo of a {name}." for name in OWN])
    with Image.open(path) as image:
        encoded = clip.encode_image(clip.preprocess(image)[None])
    expected = (clip.logit_scale * encoded @ text.T).softmax(-1)[0]
    ((*best,),) = words.predict(path)
    assert [name for name, _ in best] == [OWN[i] for i in expected.argsort(descending=True)]
    assert [p for _, p in best] == pytest.approx(expected.sort(descending=True)[0].tolist(), 1e-4)


def test_the_same_seed_gives_the_same_prompt(fitted: PromptedClassifier, folder: Path) -> None:
    again = PromptedClassifier(fitted.clip, **SETTINGS).fit(str(folder))
    other = PromptedClassifier(fitted.clip, **SETTINGS, seed=2).fit(folder)
    assert torch.equal(again.prompt, fitted.prompt)
    assert not torch.equal(other.prompt, fitted.prompt)


def test_a_dataset_is_fitted_as_a_folder_is(fitted: PromptedClassifier, folder: Path) -> None:
    again = PromptedClassifier(fitted.clip, **SETTINGS).fit(picture_folder(folder))
    assert torch.equal(again.prompt, fitted.prompt)


def test_a_rank_bounds_the_update_and_coop_has_none(
    fitted: PromptedClassifier, folder: Path, tmp_path: Path
) -> None:
    coop = PromptedClassifier(fitted.clip, method="coop", **SETTINGS).fit(folder)
    p0 = fitted.clip.context("a photo of a")
    ranks = [int(torch.linalg.matrix_rank(c.prompt - p0, rtol=1e-3)) for c in (fitted, coop)]
    assert ranks == [1, 4]
    coop.save(tmp_path / "coop.safetensors")
    loaded = PromptedClassifier.load(tmp_path / "coop.safetensors")
    assert torch.equal(loaded.prompt, coop.prompt)


# ---- predictions --------------------------------------------------------------------------------


def test_any_names_may_be_asked_for(fitted: PromptedClassifier, folder: Path) -> None:
    for names in (UNSEEN, OWN + UNSEEN):
        every = fitted.predict(folder, names, top=len(names))
        assert len(every) == len(find_pictures(folder).files)
        for best in every:
            shares = [share for _, share in best]
            assert {name for name, _ in best} == set(names)
            assert shares == sorted(shares, reverse=True)
            assert sum(shares) == pytest.approx(1, abs=1e-5)
        assert fitted.predict(folder, names, top=2) == [best[:2] for best in every]
    assert fitted.predict(folder) == fitted.predict(folder, OWN)


def test_a_file_a_folder_and_a_list_are_pictures(fitted: PromptedClassifier, folder: Path) -> None:
    (folder / OWN[0].replace(" ", "_") / ".hidden").write_text("no picture")
    paths = find_pictures(folder).files
    assert paths == find_pictures([folder / name.replace(" ", "_") for name in OWN]).files
    whole = [dict(best) for best in fitted.predict(folder)]
    assert [dict(best) for best in fitted.predict(str(paths[3]))] == [near(whole[3])]
    few = [dict(best) for best in fitted.predict([paths[3], str(paths[0])])]
    assert few == [near(whole[3]), near(whole[0])]
    assert fitted.predict([]) == []


def near(shares: dict[str, float]) -> Any:
    """Equal but for rounding: a batch of another size sums in another order."""
    return pytest.approx(shares, rel=1e-4)


# ---- the file -----------------------------------------------------------------------------------


def test_a_saved_prompt_predicts_the_same(
    fitted: PromptedClassifier, file: Path, folder: Path
) -> None:
    loaded = PromptedClassifier.load(file)
    assert torch.equal(loaded.prompt, fitted.prompt)
    assert loaded.predict(folder, OWN + UNSEEN) == fitted.predict(folder, OWN + UNSEEN)
    loaded.save(file.with_name("again"))
    assert torch.equal(PromptedClassifier.load(file.with_name("again")).prompt, fitted.prompt)


def test_the_file_is_small_and_knows_no_class(fitted: PromptedClassifier, file: Path) -> None:
    data = file.read_bytes()
    assert len(data) <= 4096
    assert not any(name.encode() in data for name in OWN)
    with safe_open(file, "pt") as opened:
        about = opened.metadata()
        assert set(opened.keys()) == {"A", "B"}
    assert about["words"] == "a photo of a"
    assert (about["backbone"], about["pretrained"]) == ("glyph-vit", "")
    assert len(about["p0_sha256"]) == 64


def test_plain_open_clip_reads_the_file(fitted: PromptedClassifier, file: Path) -> None:
    assert_plain_agrees(fitted, file, open_clip.SimpleTokenizer(context_length=32), NAMES)


def test_plain_open_clip_reads_the_file_of_a_large_tower(tmp_path: Path) -> None:
    for label, name in enumerate(("red fox", "wolf")):
        for i in range(4):
            picture(tmp_path / "own" / name / f"{i}.jpg", seed=10 * label + i)
    torch.manual_seed(0)
    clip, file = load_backbone("ViT-B-32"), tmp_path / "prompt.safetensors"
    settings: dict[str, Any] = {"epochs": 3, "views": 0, "shots": 2, "lr": 1.0}
    large = PromptedClassifier(clip, **settings).fit(tmp_path / "own")
    assert (large.prompt - clip.context("a photo of a")).norm() > 0.1
    large.save(file)
    assert file.stat().st_size <= 4096
    names = ("red fox", "great white shark", "samoyed")
    assert_plain_agrees(large, file, open_clip.get_tokenizer("ViT-B-32"), names)


def assert_plain_agrees(
    ours: PromptedClassifier, file: Path, tokenizer: Any, names: Sequence[str]
) -> None:
    """The lines that the page shows give our class embeddings, in a tower without this library."""
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    (cell,) = (cell for cell in cells if cell.id == "plain")
    scope: dict[str, Any] = {}
    exec(cell.source, scope)
    expected = ours.clip.class_embeddings(ours.prompt, names)
    table = ours.clip.model.token_embedding.weight
    before = table.clone()
    try:
        found = scope["text_features"](ours.clip.model, tokenizer, file, list(names))
    finally:
        table.data.copy_(before)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-5


# ---- what is refused ----------------------------------------------------------------------------


def test_nothing_works_before_a_fit(tmp_path: Path, folder: Path) -> None:
    fresh = PromptedClassifier("glyph-vit")
    with pytest.raises(ValueError, match="fit"):
        fresh.predict(folder, OWN)
    with pytest.raises(ValueError, match="fit"):
        fresh.save(tmp_path / "prompt")
    assert not list(tmp_path.glob("prompt*"))


def test_bad_names_and_pictures_are_refused(
    fitted: PromptedClassifier, file: Path, tmp_path: Path, folder: Path
) -> None:
    with pytest.raises(ValueError, match="class_names"):
        PromptedClassifier.load(file).predict(folder)
    with pytest.raises(ValueError, match="dog"):
        fitted.predict(folder, ["dog", "black square"])
    with pytest.raises(ValueError, match="duplicate"):
        fitted.predict(folder, ["black square", "Black_square"])
    (tmp_path / "page.jpg").write_text("<html>")
    with pytest.raises(ValueError, match=r"page\.jpg"):
        fitted.predict(tmp_path / "page.jpg")
    with pytest.raises(ValueError, match=r"nowhere\.jpg"):
        fitted.predict(tmp_path / "nowhere.jpg")


def test_an_unreadable_picture_is_left_out_when_asked(
    fitted: PromptedClassifier, tmp_path: Path, folder: Path
) -> None:
    sound = find_pictures(folder).files[:3]
    page, empty = tmp_path / "page.jpg", tmp_path / "empty.jpg"
    page.write_text("<html>")
    empty.touch()
    with pytest.warns(UserWarning, match="web page") as said:
        found = fitted.predict([page, *sound, empty], skip_unreadable=True)
    assert len(said) == 1 and "empty.jpg" in str(said[0].message)
    assert found == [[], *fitted.predict(sound), []]
    with pytest.warns(UserWarning, match="page"):
        assert fitted.predict([page], skip_unreadable=True) == [[]]
    page.write_bytes(sound[0].read_bytes())
    with pytest.warns(UserWarning, match="empty"):
        found = fitted.predict([page, empty], skip_unreadable=True)
    assert [len(best) for best in found] == [len(OWN), 0]


def test_folders_without_pictures_are_an_error(fitted: PromptedClassifier, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(ValueError, match="no pictures"):
        fitted.predict(tmp_path)
    with pytest.raises(ValueError, match=r"notes\.txt"):
        fitted.predict(tmp_path / "notes.txt")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": "dipp"}, "dipp"),
        ({"rank": 5}, "rank = 5"),
        ({"dropout": 1.0}, "dropout = 1.0"),
        ({"shots": 0}, "shots = 0"),
        ({"lr": 1e30}, "finite"),
    ],
)
def test_a_failed_fit_says_why_and_keeps_the_prompt(
    fitted: PromptedClassifier, folder: Path, settings: dict[str, Any], said: str
) -> None:
    again = PromptedClassifier(fitted.clip, **SETTINGS).fit(folder)
    for name, value in settings.items():
        setattr(again, name, value)
    with pytest.raises(ValueError, match=said):
        again.fit(folder)
    assert torch.equal(again.prompt, fitted.prompt)


def test_one_class_is_refused(fitted: PromptedClassifier, tmp_path: Path) -> None:
    write_pictures(tmp_path / "one", "shapes", OWN[:1])
    with pytest.raises(ValueError, match=OWN[0]):
        PromptedClassifier(fitted.clip).fit(tmp_path / "one")


def test_random_weights_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="openai"):
        PromptedClassifier("RN50")


def test_another_backbone_is_refused_and_both_are_named(
    fitted: PromptedClassifier, file: Path
) -> None:
    for other in ("glyph-resnet", load_backbone("glyph-resnet")):
        with pytest.raises(ValueError, match="glyph-resnet"):
            PromptedClassifier.load(file, other)
    # the same name with other weights: the embeddings of the words differ
    twin = load_backbone("glyph-vit")
    twin.model.token_embedding.weight += 1e-3
    with pytest.raises(ValueError, match="backbone"):
        PromptedClassifier.load(file, twin)


def test_a_damaged_file_is_refused(file: Path, tmp_path: Path) -> None:
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ValueError, match="damaged"):
        PromptedClassifier.load(file)
    save_file({"A": torch.zeros(4, 1), "B": torch.zeros(1, 128)}, tmp_path / "bare")
    with pytest.raises(ValueError, match="damaged"):
        PromptedClassifier.load(tmp_path / "bare")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        PromptedClassifier.load(tmp_path / "nowhere")
