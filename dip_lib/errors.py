"""Typed errors, so that callers need not parse messages.

Each derives from the built-in error that fits. Their ``args`` are plain values, so that they can be
pickled from a worker to its parent; ``str`` makes the message.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

LISTED = 24
"""Up to so many valid names are all listed; of more, the nearest are."""


class UnknownNameError(ValueError):
    """A name that is none of the valid ones.

    Attributes:
        kind: what the value names ("profile", "dataset", ...).
        value: the name as given.
        choices: every valid name, sorted.
    """

    def __init__(self, kind: str, value: str, choices: Iterable[str]) -> None:
        self.kind, self.value, self.choices = kind, value, sorted(choices)
        super().__init__(kind, value, self.choices)

    def __str__(self) -> str:
        hint = f" Did you mean {' or '.join(map(repr, self.near))}?" if self.near else ""
        if len(self.choices) <= LISTED:
            return f"unknown {self.kind} {self.value!r}.{hint} Valid: {', '.join(self.choices)}."
        return (
            f"unknown {self.kind} {self.value!r}, none of the {len(self.choices)} there are.{hint}"
        )

    @property
    def near(self) -> list[str]:
        """Three valid names: those that end in ".value", else those that are spelt most alike,
        whatever their case."""
        if inside := [name for name in self.choices if name.endswith(f".{self.value}")]:
            return inside[:3]
        by_spelling = {name.casefold(): name for name in self.choices}
        wanted = str(self.value).casefold()
        return [by_spelling[n] for n in get_close_matches(wanted, by_spelling, n=3, cutoff=0.5)]


class BadValueError(ValueError):
    """A value that cannot be: what it was given for (``name``), the ``value`` as Python writes it,
    and what it ``needs`` to be."""

    def __init__(self, name: str, value: str, needs: str) -> None:
        self.name, self.value, self.needs = name, value, needs
        super().__init__(name, value, needs)

    def __str__(self) -> str:
        return f"{self.name} = {self.value} must be {self.needs}"


class NoWeightsError(ValueError):
    """Weights that are not at hand: of which ``backbone``, by which ``tag`` ("": none was named),
    and the ``reason``."""

    def __init__(self, backbone: str, tag: str, reason: str) -> None:
        self.backbone, self.tag, self.reason = backbone, tag, reason
        super().__init__(backbone, tag, reason)

    @property
    def fault(self) -> str:
        """What is wrong, without a remedy, which differs with the door."""
        if not self.tag:
            return f"{self.backbone} needs weights ({self.reason})"
        return (
            f"the weights {self.tag} of {self.backbone} are neither in the cache nor could they be "
            f"downloaded ({self.reason})"
        )

    def __str__(self) -> str:
        if not self.tag:
            return f"{self.fault}: give pretrained='openai', another tag, or a file"
        return (
            f"{self.fault}. Go online once, set HF_HOME to a cache that holds them, or give a "
            f"file: load_backbone({self.backbone!r}, pretrained='/path/to/weights')"
        )


class UnknownWordsError(ValueError):
    """Words that a text encoder was not trained on: the ``backbone``, the ``words``, the ``text``
    they stand in, and the nearest words that it knows (``near``)."""

    def __init__(self, backbone: str, words: Sequence[str], text: str, near: Sequence[str]) -> None:
        self.backbone, self.words, self.text, self.near = backbone, words, text, near
        super().__init__(backbone, words, text, near)

    def __str__(self) -> str:
        instead = f" (it knows {', '.join(map(repr, self.near))})" if self.near else ""
        return (
            f"{self.backbone} was not trained on {', '.join(map(repr, self.words))} (in "
            f"{self.text!r}). Use words of its training captions{instead}, or a backbone with a "
            "full vocabulary, such as ViT-B-16"
        )


class DamagedFileError(ValueError):
    """A file whose content is not what it should be: its ``path``, and the ``reason``."""

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(path, reason)

    def __str__(self) -> str:
        return f"{self.path} is damaged or not the file it should be: {self.reason}"


class UnreadablePictureError(ValueError):
    """A picture file that cannot be read: the message has its path, the reason and the remedy."""


class PackError(ValueError):
    """A feature pack that cannot be used: its ``path``, the ``reason``, and the ``remedy``."""

    def __init__(self, path: str, reason: str, remedy: str) -> None:
        self.path, self.reason, self.remedy = path, reason, remedy
        super().__init__(path, reason, remedy)

    def __str__(self) -> str:
        return f"the feature pack {self.path} cannot be used: {self.reason}. {self.remedy}."


class NotPackedError(ValueError):
    """Features that no pack holds: what is ``missing``, what the packs hold, and ``how`` to pack
    what is missing."""

    def __init__(self, missing: str, holds: str, how: str) -> None:
        self.missing, self.holds, self.how = missing, holds, how
        super().__init__(missing, holds, how)

    def __str__(self) -> str:
        return f"no feature pack holds {self.missing}; {self.holds}. {self.how}."


class ShareError(ValueError):
    """A shared reproduction that is not made or not taken in: the ``path`` of the file that is the
    reason, the ``reason``, and the ``remedy``."""

    def __init__(self, path: str, reason: str, remedy: str) -> None:
        self.path, self.reason, self.remedy = path, reason, remedy
        super().__init__(path, reason, remedy)

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}. {self.remedy}."


class InsecureAddressError(ValueError):
    """An address (``url``) that is not https, of a file without a known checksum."""

    def __init__(self, url: str) -> None:
        self.url = url
        super().__init__(url)

    def __str__(self) -> str:
        return (
            f"{self.url} is not https, and no checksum of the file is known: whoever is on the way "
            "could send another one. Give an https address, or fetch the file yourself"
        )


class OutOfDiskError(OSError):
    """What cannot fit: the ``folder``, what it ``needs`` and what is ``free``, in words."""

    def __init__(self, folder: str, needs: str, free: str) -> None:
        self.folder, self.needs, self.free = folder, needs, free
        super().__init__(folder, needs, free)

    def __str__(self) -> str:
        return f"{self.folder} needs {self.needs} of disk, {self.free} are free"


class MissingDownloadError(LookupError):
    """Files that a person has to fetch: their ``paths``, and ``how``."""

    def __init__(self, paths: Sequence[str], how: str) -> None:
        self.paths, self.how = paths, how
        super().__init__(paths, how)

    def __str__(self) -> str:
        return f"{', '.join(self.paths)}: missing. {self.how}"


class NotMeasuredError(LookupError):
    """Runs that are asked for and not stored: how ``many``, of how many (``total``), and ``how``
    to measure them."""

    def __init__(self, many: int, total: int, how: str) -> None:
        self.many, self.total, self.how = many, total, how
        super().__init__(many, total, how)

    def __str__(self) -> str:
        return f"{self.many} of {self.total} runs are not stored. {self.how}"


def one_of(kind: str, value: str, choices: Iterable[str]) -> str:
    """Return ``value`` if it is one of ``choices``.

    Args:
        kind: what the value names, for the message ("profile", "dataset", ...).
        value: the name to check.
        choices: every valid name.

    Raises:
        UnknownNameError: names the value and the nearest valid names, or all where they are few.
    """
    names = sorted(choices)
    if value not in names:
        raise UnknownNameError(kind, value, names)
    return value


def out_of_memory(error: Exception) -> bool:
    """Whether torch raised ``error`` because memory ran out, on a GPU or on the CPU."""
    import torch  # not above: names are refused where torch is not installed, too

    # the CPU's allocator and oneDNN raise plain RuntimeErrors; oneDNN does not give the reason
    messages = ("can't allocate memory", "could not create a primitive")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        words in str(error) for words in messages
    )
