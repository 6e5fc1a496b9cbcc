"""The texts of pre-training: names in templates, names in contexts that mean something, words.

Names come from ImageNet and from every dataset of the world, the sealed ones included (their names,
never a photograph). Contexts are needed: a text encoder that has read names alone ignores what
stands before them, and prompts, which are contexts, then change nothing. Ordinary words are there
so that a user's own class names are mostly known. All texts are the same for every text encoder.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import open_clip
import timm
from teacher import model_folder

from dip_lib.methods.prompts import TEMPLATES
from photo_world import datasets
from photo_world.models import tokenizer

GENERIC = (
    "{}",
    "a photo of a {}.",
    "a photo of a {}.",
    "a photo of the {}.",
    "a bad photo of a {}.",
    "a close-up photo of a {}.",
    "a picture of a {}.",
    "a cropped photo of the {}.",
    "itap of a {}.",
    "a photo of many {}.",
    "a good photo of the {}.",
    "a photo of one {}.",
)
"""Templates of a photograph's name; a template given twice is drawn twice as often."""

OWN = {
    "photo-caltech101": ("a photo of the {}.", "a {}."),
    "photo-eurosat": ("a satellite photo of {}.", "an aerial photo of {}."),
    "photo-flowers102": ("a photo of a {} flower.", "a photo of a {}."),
    "photo-dtd10": ("a photo of a {} texture.", "{} pattern."),
    "photo-resisc14": ("an aerial photo of {}.", "{} seen from above."),
    "photo-cub100": ("a photo of a {} bird.", "a photo of a {}."),
    "photo-grocery81": ("a {} in a supermarket.", "a photo of a {}."),
}
"""Templates of a dataset's names, besides the one it declares."""

CONTEXTS = (
    *("a satellite photo of {}.", "an aerial photo of {}.", "{} seen from above."),
    *("a drawing of a {}.", "a sketch of a {}.", "a painting of a {}.", "a toy {}."),
    *("a {} in the snow.", "a {} in the water.", "a {} on the grass.", "a {} on a table."),
    *("a {} in a forest.", "a {} in the city street.", "a {} on the beach.", "a {} at night."),
    *("a red {}.", "a blue {}.", "a yellow {}.", "a white {}.", "a black {}.", "a green {}."),
    *("a small {}.", "a large {}.", "an old {}.", "a man with a {}.", "a woman with a {}."),
    *("a child with a {}.", "people near a {}.", "a dog and a {}.", "a {} indoors."),
    *("a {} outdoors.", "the texture of {}.", "a photo of {}, a type of flower."),
    *("a photo of a {}, a type of bird.", "a photo of {}, a type of food."),
    *("a photo of {}, a type of animal.", "a photo of a {}, a vehicle."),
    *("a macro photo of a {}.", "a {} on a white background.", "a {} in a supermarket."),
    *("a {} in the sky.", "a {} on a mountain.", "many {} together.", "a map of {}."),
    *("a photo of the inside of a {}.", "an industrial {}.", "a {} and a building."),
    *("a painting on a {}.", "a photo of a {}, a type of clothing."),
)
"""Contexts that change what a photograph would show."""

KNOWN = tuple(
    dict.fromkeys(
        [each.replace("{c}", "{}") for group in TEMPLATES.values() for each in group]
        + [template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES]
    )
)
"""Templates of the literature, so that every method's own are in the vocabulary."""

VARIED = 7500
"""Names in random contexts, about half of them of ImageNet, half of the datasets."""
FREQUENT, PLURALS = 800, 9000
"""The most frequent words of English, as MiniLM's vocabulary orders them, and how far plurals of
nouns are looked for among these."""
STATES = (
    *("ripe", "unripe", "raw", "cooked", "rotten", "fresh", "frozen", "dry", "wet", "clean"),
    *("dirty", "rusty", "cracked", "broken", "intact", "damaged", "defect", "defective", "dent"),
    *("scratch", "scratched", "bent", "torn", "worn", "stained", "burnt", "healthy", "diseased"),
    *("infected", "normal", "abnormal", "benign", "malignant", "tumor", "tumour", "lesion"),
    *("pneumonia", "fracture", "open", "closed", "empty", "full", "good", "bad", "happy", "sad"),
    *("angry", "surprised", "neutral", "crowded", "sunny", "cloudy", "rainy", "foggy", "snowy"),
    *("striped", "spotted", "smooth", "rough", "shiny", "blurry", "bright", "dark", "wild"),
    *("smartphone", "scooter", "selfie", "screenshot", "logo", "website", "drone", "tattoo"),
    *("pass", "fail", "true", "false", "positive", "negative", "left", "right", "front", "back"),
)
"""Words that people sort their own pictures by, and things newer than WordNet."""
COMPOUNDS = 3000
"""Names of several words, of tokens that other texts have."""


@dataclass(frozen=True)
class Texts:
    """All texts, and which are which.

    Attributes:
        names: dataset -> its class names, underscores as spaces.
        own: dataset -> templates of its names, the declared one first.
        sentences: names in their own templates and in varied contexts, and every name bare.
        words: ordinary words and compounds, bare and in a template.
    """

    names: dict[str, tuple[str, ...]]
    own: dict[str, tuple[str, ...]]
    sentences: tuple[str, ...]
    words: tuple[str, ...]


def class_names(data: Path) -> dict[str, tuple[str, ...]]:
    """The class names of every dataset of the world, from its split file alone."""
    return {
        name: tuple(each.replace("_", " ") for each in datasets.field_split(name, data)[0])
        for name in datasets.DECLARED
    }


def _lemmas() -> list[str]:
    """The first two names of every synset of ImageNet's WordNet nouns, as timm lists them; those
    with capitals, names of people and places, are left out."""
    listed = Path(timm.__file__).parent / "data/_info/imagenet_synset_to_lemma.txt"
    rows = [line.split("\t")[1] for line in listed.read_text("utf-8").splitlines() if "\t" in line]
    words = [word.strip() for row in rows for word in row.split(",")[:2]]
    return [word for word in dict.fromkeys(words) if word == word.lower()]


def _frequent(most: int) -> list[str]:
    """The ``most`` frequent words of at least three letters."""
    vocabulary = (model_folder() / "vocab.txt").read_text("utf-8").splitlines()
    words = [each for each in vocabulary if each.isalpha() and each.isascii() and len(each) > 2]
    return words[:most]


def _varied(names: dict[str, tuple[str, ...]], draw: random.Random) -> list[str]:
    """Names in random contexts; a third of these are templates of the literature."""
    own = [name for each in names.values() for name in each]
    texts = []
    for _ in range(VARIED):
        name = draw.choice(own if draw.random() < 0.5 else open_clip.IMAGENET_CLASSNAMES)
        context = draw.choice(KNOWN if draw.random() < 1 / 3 else CONTEXTS)
        texts.append(context.format(name))
    return texts


def _words(known: set[int], draw: random.Random) -> list[str]:
    """Words of one token, and compounds of the tokens that these and ``known`` have."""
    encode, lemmas, frequent = tokenizer().encode, _lemmas(), set(_frequent(PLURALS))
    plurals = [f"{word}s" for word in lemmas if f"{word}s" in frequent]
    listed = dict.fromkeys([*lemmas, *plurals, *_frequent(FREQUENT)])
    single = [*STATES, *(word for word in listed if len(encode(word)) == 1)]
    known = known | {token for word in single for token in encode(word)}
    several = [word for word in lemmas if len(encode(word)) > 1 and known.issuperset(encode(word))]
    words = single + draw.sample(several, min(COMPOUNDS, len(several)))
    return words + [draw.choice(GENERIC[1:]).format(word) for word in words]


def collect(data: Path) -> Texts:
    """All texts of pre-training; names come from the split files, the field's below ``data``."""
    draw, names = random.Random(0), class_names(data)
    own = {
        name: tuple(dict.fromkeys((datasets.declared(name).template, *OWN.get(name, ()))))
        for name in names
    }
    sentences = [
        template.format(name)
        for dataset, each in names.items()
        for name in each
        for template in ("{}", *own[dataset], "a photo of a {}.")
    ]
    sentences += [*open_clip.IMAGENET_CLASSNAMES, *_varied(names, draw)]
    sentences += [template.format("photo") for template in KNOWN]
    words = _words(set(vocabulary([*sentences, *GENERIC])), draw)
    return Texts(names, own, tuple(dict.fromkeys(sentences)), tuple(dict.fromkeys(words)))


def vocabulary(texts: list[str]) -> list[int]:
    """Ascending ids of the tokens of ``texts``, of a closing full stop, and of start and end."""
    encode = tokenizer().encode
    ids = {token for text in texts for token in encode(f"{text}.") + encode(text)}
    return sorted(ids | {tokenizer().sot_token_id, tokenizer().eot_token_id})
