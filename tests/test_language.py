"""The language model of Glyph World: what it may read, what it keeps, and how images are shown."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dip_lib.errors import DamagedFileError, UnknownNameError, UnknownWordsError
from dip_lib.methods.memvp import Projection
from glyph_world.language import model as language
from glyph_world.language import texts
from glyph_world.language.answering import (
    accuracies,
    exact,
    generated,
    longest_answer,
    ranked,
)
from glyph_world.language.fitting import Fit, answer_loss, text_states, train
from glyph_world.language.model import FeedForward, LanguageModel, Past, load_language_model
from glyph_world.language.questions import QUESTIONS, Examples, Questions, visual_questions
from glyph_world.language.sights import (
    SIGHTS,
    Memory,
    Nothing,
    Prefix,
    Shown,
    Sizes,
    make_sight,
    trainable,
)
from glyph_world.scenes import COUNTS

CLOSE = {"rtol": 0, "atol": 2e-5}
PATCHES, WIDTH = 5, 8
SIZES = Sizes(rows=6, hidden=4)
each_way = pytest.mark.parametrize("name", SIGHTS)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return load_language_model()


def asked(count: int = 8, answers: Sequence[str] = COUNTS) -> Questions:
    """Questions whose images show the answer plainly: each has its own direction."""
    labels = torch.arange(count) % len(answers)
    source = torch.Generator().manual_seed(0)
    shapes = torch.randn(len(answers), PATCHES, WIDTH, generator=source)
    question = QUESTIONS["how-many"]
    return Questions("how-many", question, tuple(answers), labels, shapes[labels])


def read(model: LanguageModel, sight: nn.Module, part: Questions) -> Tensor:
    """What the model makes of the texts of all questions."""
    examples = Examples.of([part])
    return text_states(model, sight(examples.images), examples.texts)


# ---- texts ---------------------------------------------------------------------------------------


def test_a_text_is_its_words_between_two_marks() -> None:
    row = texts.question_tokens("How many letters are here?") + texts.answer_tokens("three")
    assert texts.words_of(row) == "how many letters are here ? three"
    assert texts.vocabulary()[row[0]] == texts.START and texts.vocabulary()[row[-1]] == texts.END
    with pytest.raises(UnknownWordsError, match="elephants"):
        texts.tokens("how many elephants are here?")


def test_texts_are_drawn_from_seed_and_step_and_fit_into_the_model() -> None:
    first = texts.batch(64, 0, 3)
    assert torch.equal(first, texts.batch(64, 0, 3))
    assert not torch.equal(first[:, :4], texts.batch(64, 0, 4)[:, :4])
    assert first.shape[1] <= texts.LONGEST
    longest = max((name for f in texts.FAMILIES for name in texts.names_of(f)), key=len)
    whole = texts.question_tokens(QUESTIONS["natural-greek"]) + texts.answer_tokens(longest)
    assert len(whole) <= texts.LONGEST


# ---- the model -----------------------------------------------------------------------------------


def test_a_later_word_changes_no_earlier_logit(model: LanguageModel) -> None:
    rows = texts.batch(4, 1, 0)
    changed = rows.clone()
    changed[:, 6:] = changed[:, 6:].flip(0) + 1
    before, after = (model.logits(model(model.embed(each))[0]) for each in (rows, changed))
    torch.testing.assert_close(before[:, :6], after[:, :6], **CLOSE)
    assert not torch.allclose(before[:, 6:], after[:, 6:])


def test_words_read_one_by_one_are_read_as_together(model: LanguageModel) -> None:
    rows = texts.batch(3, 1, 0)
    whole, _ = model(model.embed(rows))
    state, past = model(model.embed(rows[:, :4]))
    parts = [state]
    for place in range(4, rows.shape[1]):
        state, past = model(model.embed(rows[:, place : place + 1], place), past)
        parts.append(state)
    torch.testing.assert_close(torch.cat(parts, 1), whole, **CLOSE)


def test_it_knows_how_answers_are_said_and_not_which_is_right(model: LanguageModel) -> None:
    card = json.loads(language.CARD.read_text("utf-8"))
    assert card["bytes"] == language.FILE.stat().st_size < 2**20
    assert card["sha256"][:12] in (language.WEIGHTS / "MODEL_CARD.md").read_text("utf-8")
    likely = ranked(model, QUESTIONS["how-many"], COUNTS)[0].exp()
    assert likely.sum() > 0.9 and likely.max() < 0.3
    assert float(likely.sum()) == pytest.approx(card["knows"]["counts"]["among"], abs=0.01)


def test_damaged_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / language.FILE.name
    shutil.copy(language.FILE, file)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    monkeypatch.setattr(language, "FILE", file)
    with pytest.raises(DamagedFileError, match=r"glyph-lm\.safetensors"):
        load_language_model()


# ---- ways to show an image -----------------------------------------------------------------------


def test_a_memory_of_zeros_is_the_frozen_model(model: LanguageModel) -> None:
    part = asked()
    nothing = read(model, Nothing(), part)
    projection = Projection(WIDTH, 4, language.WIDTH, scale=0.0)
    memory = Memory(model, projection, rows=6, scale=0.1, seed=1).eval()
    torch.testing.assert_close(read(model, memory, part), nothing, rtol=0, atol=0)
    assert not torch.allclose(
        read(model, make_sight("memory", model, WIDTH, SIZES, 1), part), nothing
    )


def test_a_prefix_without_rows_is_the_frozen_model(model: LanguageModel) -> None:
    part = asked()
    empty = Questions(part.task, part.question, part.answers, part.labels, part.images[:, :0])
    prefix = Prefix(Projection(WIDTH, 4, language.WIDTH), rows=0, seed=1)
    torch.testing.assert_close(
        read(model, prefix, empty), read(model, Nothing(), part), rtol=0, atol=0
    )


def test_one_memory_serves_all_blocks_and_starts_without_values(model: LanguageModel) -> None:
    memory = make_sight("memory", model, WIDTH, SIZES, 1)
    assert isinstance(memory, Memory)
    assert len({id(layer.keys) for layer in memory.layers}) == 1
    assert len({id(layer.values) for layer in memory.layers}) == 1
    assert not memory.layers[0].values.any()


def test_memory_and_prefix_train_as_many_numbers_as_nearly_as_can_be(model: LanguageModel) -> None:
    memory, prefix = (
        trainable(make_sight(name, model, 128, Sizes(), 1)) for name in ("memory", "prefix")
    )
    assert abs(memory - prefix) <= (128 + 1 + language.WIDTH) / 2  # half a unit of the middle


@each_way
def test_only_what_shows_the_image_trains(name: str, model: LanguageModel) -> None:
    before = {key: value.clone() for key, value in model.state_dict().items()}
    sight = make_sight(name, model, WIDTH, SIZES, 1)
    own = {key: p.detach().clone() for key, p in sight.named_parameters() if p.requires_grad}
    frozen = {id(each) for each in model.parameters()}
    assert not frozen & {id(p) for p in sight.parameters() if p.requires_grad}
    train(model, sight, Examples.of([asked()]), Fit(1e-2, epochs=1, warmup=0, batch=4), 1)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])
    assert all(each.grad is None for each in model.parameters())
    assert all(not torch.equal(p, own[key]) for key, p in sight.named_parameters() if key in own)


@each_way
def test_a_seed_gives_the_same_result_and_leaves_chance_alone(
    name: str, model: LanguageModel
) -> None:
    results, state = [], torch.random.get_rng_state()
    for seed in (1, 1, 2):
        sight = make_sight(name, model, WIDTH, SIZES, seed)
        losses = train(model, sight, Examples.of([asked()]), Fit(1e-2, epochs=2, batch=3), seed)
        results.append((losses, read(model, sight, asked()).detach()))
    assert results[0][0] == results[1][0] != results[2][0]
    assert torch.equal(results[0][1], results[1][1])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_an_unknown_way_is_refused(model: LanguageModel) -> None:
    with pytest.raises(UnknownNameError, match="memori"):
        make_sight("memori", model, WIDTH, SIZES, 1)


def test_the_rate_rises_then_falls_to_nothing() -> None:
    fit = Fit(0.5, epochs=10, warmup=2)
    assert [fit.rate_at(epoch) for epoch in (0, 1, 2, 6, 10)] == pytest.approx(
        [0, 0.25, 0.5, 0.25, 0]
    )


def test_the_loss_reads_the_answer_alone(model: LanguageModel) -> None:
    examples = Examples.of([asked(3, ("one", "two", "three"))])
    expected = -ranked(model, QUESTIONS["how-many"], ("one", "two", "three"))[0].mean() / 2
    found = answer_loss(model, Nothing(), examples)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)  # a word and the end mark each


# ---- answers -------------------------------------------------------------------------------------


@each_way
def test_ranking_adds_up_the_words_of_each_answer(name: str, model: LanguageModel) -> None:
    answers = ("small alpha with tonos", "capital beta", "three")
    part, sight = asked(2, answers), make_sight(name, model, WIDTH, SIZES, 1).eval()
    found = ranked(model, part.question, answers, part.images, sight)
    for image in range(2):
        for place, answer in enumerate(answers):
            row = torch.tensor([texts.question_tokens(part.question) + texts.answer_tokens(answer)])
            shown = sight(part.images[image : image + 1])
            logits = model.logits(text_states(model, shown, row[:, :-1])).log_softmax(-1)[0]
            begin = len(texts.question_tokens(part.question))
            each = logits[begin - 1 :].gather(-1, row[0, begin:, None])
            torch.testing.assert_close(found[image, place], each.sum(), rtol=0, atol=1e-4)


class Copying(LanguageModel):
    """Says the answer whose number the image holds; a row is (number of the answer, position)."""

    def __init__(self, question: str, answers: Sequence[str]) -> None:
        super().__init__()
        self.rows = texts.padded([texts.answer_tokens(answer) for answer in answers])
        self.begin = len(texts.question_tokens(question))

    def embed(self, tokens: Tensor, begin: int = 0) -> Tensor:
        places = torch.arange(begin, begin + tokens.shape[1])[None, :, None]
        return places.expand(len(tokens), -1, -1).float()

    def forward(
        self, x: Tensor, past: Past = (), feed_forwards: Sequence[FeedForward] | None = None
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        assert feed_forwards
        return torch.cat([feed_forwards[0](x), x], -1), []

    def logits(self, states: Tensor) -> Tensor:
        which, place = states.long().unbind(-1)
        place = (place + 1 - self.begin).clamp(0, self.rows.shape[1] - 1)
        return 100.0 * F.one_hot(self.rows[which, place], len(texts.vocabulary()))


class Label(nn.Module):
    """Shows an image (B, 1, 1), which is the number of its answer."""

    def forward(self, images: Tensor) -> Shown:
        def label(x: Tensor) -> Tensor:
            return images.repeat_interleave(len(x) // len(images), 0).expand(-1, x.shape[1], -1)

        return Shown(None, [label])


def test_a_model_that_copies_is_always_right() -> None:
    answers, question = ("capital beta", "small alpha with tonos", "three"), QUESTIONS["how-many"]
    labels = torch.tensor([0, 1, 2, 1])
    part = Questions("how-many", question, answers, labels, labels[:, None, None].float())
    copying = Copying(question, answers)
    assert accuracies(copying, Label(), part) == {"exact": 100.0, "ranked": 100.0}
    others = torch.tensor([0, 2, 1, 0])  # one of four is its own
    wrong = Questions("how-many", question, answers, others, part.images)
    assert accuracies(copying, Label(), wrong) == {"exact": 25.0, "ranked": 25.0}


def test_an_answer_is_right_up_to_its_end_and_no_further() -> None:
    answers = ("small alpha with tonos", "three")
    right = texts.padded([texts.answer_tokens(each) for each in answers])
    labels = torch.tensor([0, 1])
    assert exact(right, answers, labels).all()
    assert longest_answer(answers) == right.shape[1]
    behind = right.clone()
    behind[1, 2:] = right[0, 2:]  # what is said behind the end mark does not count
    assert exact(behind, answers, labels).all()
    short = right.clone()
    short[0, 2] = short[1, 1]  # "small alpha" is not the answer
    assert exact(short, answers, labels).tolist() == [False, True]


def test_training_teaches_to_read_the_image(model: LanguageModel) -> None:
    part = asked(16)
    for name, floor in (
        ("prefix", False),
        ("memory, larger scales", False),
        ("question alone", True),
    ):
        sight = make_sight(name, model, WIDTH, SIZES, 1)
        losses = train(model, sight, Examples.of([part]), Fit(1e-2, epochs=30, batch=8), 1)
        found = accuracies(model, sight, part)["ranked"]
        assert (found <= 12.5) if floor else (found > 60), (name, losses[-1])


# ---- images --------------------------------------------------------------------------------------


def test_images_are_the_tasks_and_their_tokens_normalised() -> None:
    few = visual_questions("how-many", "val", 3)
    assert few.question == QUESTIONS["how-many"] and few.answers == COUNTS
    assert few.images.shape == (3, 36, 128) and few.labels.tolist() == [0, 1, 2]
    torch.testing.assert_close(few.images.mean(-1), torch.zeros(3, 36), rtol=0, atol=1e-5)
    assert torch.equal(visual_questions("how-many", "val", 2).images, few.images[:2])
    with pytest.raises(UnknownNameError, match="which-font"):
        visual_questions("which-font", "val")
    assert all(texts.tokens(answer) for answer in few.answers)


def test_words_are_generated_as_ranking_would_choose_them(model: LanguageModel) -> None:
    part = asked(2)
    sight = make_sight("prefix", model, WIDTH, SIZES, 1)
    words = generated(model, sight, part.question, part.images, 2)
    begin = texts.question_tokens(part.question)
    for image in range(2):
        row = torch.tensor([begin + words[image].tolist()])
        shown = sight(part.images[image : image + 1])
        logits = model.logits(text_states(model, shown, row[:, :-1]))[0, len(begin) - 1 :]
        assert torch.equal(logits.argmax(-1), words[image])
