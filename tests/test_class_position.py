"""Class names behind, amid and before contexts, shared or of each class: exact, and trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import peer_methods as peers
import pytest
import torch
import torch.nn.functional as F
from few_glyphs import DIP, Bench, few, learned, run, train_all
from glyph_pictures import write_pictures
from open_clip.model import CLIP
from test_methods import same, train_oracle
from torch import Tensor

from dip_lib import PromptedClassifier, load_backbone
from dip_lib.clip.backbone import Backbone
from dip_lib.clip.encoder import Encoder
from dip_lib.clip.layout import POSITIONS, layout
from dip_lib.data import load_dataset
from dip_lib.errors import UnknownNameError
from dip_lib.prompt.density import information_density
from dip_lib.training.trainer import train

GLYPHS = ("small alpha", "small beta", "capital alpha", "digit one", "black star", "arrow")
PHOTOS = ("cat", "tabby cat", "St. Bernard", "7-up, can", "2012 Audi S5 Coupe", "hot_dog", "A.C.")
TINY = {"image_size": 32, "width": 64, "layers": 1, "patch_size": 32, "head_width": 32}
each_position = pytest.mark.parametrize("position", POSITIONS)
each_kind = pytest.mark.parametrize("per_class", [False, True])


def full_length(clip: Backbone, names: Sequence[str], context: Tensor, position: str) -> Tensor:
    """Text features (C, e), not normalised, as CoOp's PromptLearner and text encoder make them."""
    model, n, half = clip.model, context.shape[-2], context.shape[-2] // 2
    word = "a" if clip.known_tokens else "x"
    plain = [name.replace("_", " ") for name in names]
    ids = clip.tokenizer([f"{' '.join([word] * n)} {name}." for name in plain])
    embedded = model.token_embedding(ids)
    rows = []
    for c, name in enumerate(plain):
        own = context if context.dim() == 2 else context[c]
        length = len(clip.tokenizer.encode(name))
        start, behind = embedded[c, :1], embedded[c, 1 + n :]
        name_rows, rest = behind[:length], behind[length:]
        middle = {
            "end": [own, name_rows],
            "middle": [own[:half], name_rows, own[half:]],
            "front": [name_rows, own],
        }[position]
        rows.append(torch.cat([start, *middle, rest]))
    x = model.transformer(torch.stack(rows) + model.positional_embedding, model.attn_mask)
    return model.ln_final(x)[torch.arange(len(x)), ids.argmax(1)] @ model.text_projection


@pytest.fixture(scope="module")
def glyph() -> Backbone:
    return load_backbone("glyph-vit")


@pytest.fixture(scope="module")
def vit_b_16() -> Backbone:
    """CLIP's own text tower, three of its twelve blocks, with random weights."""
    config: dict[str, Any] = open_clip.get_model_config("ViT-B-16")
    torch.manual_seed(1)
    text = config["text_cfg"] | {"layers": 3}
    model = CLIP(config["embed_dim"], TINY, text, quick_gelu=True).eval().requires_grad_(False)
    tokenizer = open_clip.get_tokenizer("ViT-B-16")
    shown = open_clip.image_transform
    return Backbone("ViT-B-16", model, tokenizer, shown, (0,) * 3, (1,) * 3, None, "")


def contexts(clip: Backbone, *shape: int) -> Tensor:
    width = clip.model.positional_embedding.shape[1]
    return 0.05 * torch.randn(*shape, width, generator=torch.Generator().manual_seed(0))


# ---- the tower ----------------------------------------------------------------------------------


@each_position
@each_kind
@pytest.mark.parametrize(("tower", "names"), [("glyph", GLYPHS), ("vit_b_16", PHOTOS)])
@pytest.mark.parametrize("n", [1, 4, 5])
def test_class_embeddings_and_gradients_equal_the_full_length_forward(
    tower: str,
    names: tuple[str, ...],
    n: int,
    position: str,
    per_class: bool,
    request: pytest.FixtureRequest,
) -> None:
    clip: Backbone = request.getfixturevalue(tower)
    context = contexts(clip, *[len(names)] * per_class, n).requires_grad_()
    ours = clip.class_embeddings(context, names, (), per_class, position)
    theirs = F.normalize(full_length(clip, names, context, position), dim=-1)
    assert (ours - theirs).abs().max() < 1e-5
    weight = torch.randn(theirs.shape)
    mine, wanted = (torch.autograd.grad((x * weight).sum(), context)[0] for x in (ours, theirs))
    assert (mine - wanted).abs().max() < 1e-5 * wanted.abs().max()


@each_position
def test_many_contexts_and_few_classes_at_a_time_change_nothing(
    glyph: Backbone, position: str
) -> None:
    deep, every = contexts(glyph, 3, 4), contexts(glyph, 3, 4) + 0.01
    whole = glyph.class_embeddings(every, GLYPHS, [deep], False, position)
    for r in range(3):
        alone = glyph.class_embeddings(every[r], GLYPHS, [deep[r]], False, position)
        assert (whole[r] - alone).abs().max() < 1e-5
    encoder = glyph.encoder(GLYPHS, 4, False, position)
    starved = Encoder(**{k: v for k, v in vars(encoder).items() if k != "_splits"} | {"memory": 1})
    assert (starved(every, [deep]) - whole).abs().max() < 1e-5


def test_the_end_is_the_default_and_needs_no_more_rows() -> None:
    suffixes = [[5, 6, 9], [5, 7, 9], [8, 9]]
    end, front, middle = (layout(suffixes, 4, 1, before=b, names=[2, 2, 1]) for b in (4, 0, 2))
    assert torch.equal(end.tokens, layout(suffixes, 4, 1).tokens)
    assert end.vectors.tolist() == [0, 1, 2, 3]
    # behind the names every class has rows of its own, which the same vectors fill
    assert front.vectors.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert middle.vectors.tolist() == [0, 1, 2, 2, 2, 3, 3, 3]
    assert front.shared == 1 and middle.shared == 3


def test_an_unknown_position_is_refused_with_the_nearest(glyph: Backbone) -> None:
    with pytest.raises(UnknownNameError, match="'middle'"):
        glyph.class_embeddings(contexts(glyph, 4), GLYPHS, class_position="midle")
    with pytest.raises(UnknownNameError, match="'front'"):
        run("kgcoop", class_position="front ")


# ---- methods ------------------------------------------------------------------------------------


class Positioned(peers.CoOp):
    """CoOp's module with the class name elsewhere, and perhaps a context for each class."""

    position = "end"

    def texts(self, names: Sequence[str]) -> Tensor:
        return full_length(self.clip, names, self.ctx, self.position)


@pytest.fixture(scope="module")
def bench() -> Bench:
    return few()


def oracle(bench: Bench, runs: Any, position: str) -> Positioned:
    start = runs.method.start(runs.frozen, runs.runs[0].seed)
    module = Positioned(bench.clip, runs.data.names, {"ctx": start.prompts[0]})
    module.position = position
    return module


@each_position
@each_kind
@pytest.mark.parametrize("words", [True, False])
def test_coop_trains_as_its_peer_in_every_position(
    bench: Bench, position: str, per_class: bool, words: bool
) -> None:
    start = {} if words else {"context": "", "vectors": 5}
    place = {"class_position": position, "class_specific": per_class}
    runs = bench.prepare(run("coop", protocol="all-classes", **place, **start))
    module = oracle(bench, runs, position)
    assert module.ctx.dim() == 2 + per_class
    losses = train_oracle(module, runs)
    assert torch.cat(train_all(runs)).tolist() == pytest.approx(losses, rel=1e-4)
    same(runs, module)


def test_dip_for_each_class_is_a_low_rank_update_of_each(bench: Bench) -> None:
    place = {"class_specific": True, "class_position": "middle", "protocol": "all-classes"}
    plain, dense = (run("coop", low_rank=low_rank, **place) for low_rank in (None, DIP))
    runs = bench.prepare(plain, dense)
    classes, n, d = len(runs.data.names), 4, 128
    assert runs.trainable == (classes * n * d, classes * (n + d))
    begun = learned(runs).prompts[0].clone()
    assert torch.equal(begun[0], begun[1])
    train_all(runs)
    moved = learned(runs).prompts[0] - begun
    assert (torch.linalg.matrix_rank(moved[1].double(), rtol=1e-4) == 1).all()
    assert float(moved.flatten(2).norm(dim=2).min()) > 1e-4  # every class trains
    alone = bench.prepare(dense)
    train_all(alone)
    together, single = learned(runs).prompts[0][1], learned(alone).prompts[0][0]
    torch.testing.assert_close(together, single, rtol=0, atol=1e-4)


@pytest.mark.parametrize("method", ["kgcoop", "prograd", "dept"])
def test_the_methods_that_share_coops_learner_have_both_settings(bench: Bench, method: str) -> None:
    place = {"class_specific": True, "class_position": "front", "protocol": "all-classes"}
    runs = bench.prepare(run(method, low_rank=DIP, **place))
    begun = learned(runs).prompts[0].clone()
    assert all(loss.isfinite().all() for loss in train_all(runs))
    assert float((learned(runs).prompts[0] - begun).norm()) > 1e-3


def test_a_record_of_class_specific_prompts_averages_over_classes(bench: Bench) -> None:
    each = run("coop", class_specific=True, protocol="all-classes")
    (result,) = train([each], bench.clip, bench.dataset, bench.features)
    end, prompt = result.record["checkpoints"][-1], result.tensors["prompt"]
    assert prompt.dim() == 3
    assert end["id"][0] == pytest.approx(float(information_density(prompt, 1).mean()), rel=1e-5)
    assert len(end["singular"]) == 4
    assert end["new"] is None
    assert 0 < end["shrunk"]["rank 1"]["base"] <= 100


@pytest.mark.parametrize("place", [{"protocol": "base-to-new"}, {"target": "latin"}])
def test_prompts_of_classes_are_not_asked_about_others(place: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="class_specific"):
        run("coop", class_specific=True, **{"protocol": "all-classes"} | place)


def test_other_methods_have_no_such_setting_and_defaults_are_no_part_of_a_key() -> None:
    for method in ("cocoop", "maple", "promptsrc", "do"):
        with pytest.raises((TypeError, ValueError), match="class_position"):
            run(method, class_position="front")
    plain = run("coop")
    assert plain.key() == run("coop", class_position="end", class_specific=False).key()
    assert plain.key() == replace(plain, schedule=replace(plain.schedule, warmup_lr=0)).key()
    assert plain.key() != run("coop", class_position="front").key()
    stored = plain.to_dict()
    del stored["method"]["class_position"], stored["method"]["class_specific"]
    assert type(plain).from_dict(stored) == plain  # a record from before there were such settings


# ---- one's own pictures -------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["dip", "coop"])
def test_a_prompt_file_keeps_the_place_of_the_name_and_whose_vectors_they_are(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIP_HOME", str(tmp_path / "home"))
    names = load_dataset("shapes").class_names
    folder = write_pictures(tmp_path / "own", "shapes", names[:3])
    small: dict[str, Any] = {"epochs": 2, "views": 0, "shots": 3, "batch": 9, "method": method}
    file = tmp_path / "prompt.safetensors"

    shared = PromptedClassifier("glyph-vit", class_position="front", **small).fit(folder)
    shared.save(file)
    loaded = PromptedClassifier.load(file)
    assert loaded.class_position == "front"
    assert loaded.predict(folder, names[:5]) == shared.predict(folder, names[:5])
    at_the_end = PromptedClassifier.load(file)
    at_the_end.class_position = "end"
    assert at_the_end.predict(folder, names[:5]) != shared.predict(folder, names[:5])

    own = PromptedClassifier("glyph-vit", class_specific=True, **small).fit(folder)
    own.save(file)
    loaded = PromptedClassifier.load(file)
    assert loaded.prompt.shape == (3, 4, 128)
    assert loaded.predict(folder) == own.predict(folder)
    # each class by its own vectors, in whatever order they are asked for
    two = loaded.predict(folder, own.class_names[::-2], top=1)
    assert two == own.predict(folder, own.class_names[::2], top=1)
    with pytest.raises(UnknownNameError, match=names[4]):
        loaded.predict(folder, [names[4]])
