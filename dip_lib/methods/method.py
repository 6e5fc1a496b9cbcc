"""What a method is: its settings, its names, and the hooks that training and evaluation call.

A method is a frozen dataclass in a file of its own. Its fields are its settings, with its paper's
values as defaults; its class variables say how it is called and where it works. :class:`Method` is
the base of all; methods that learn prompts for the text encoder derive from
:class:`dip_lib.methods.prompt_method.PromptMethod`, visual ones from
:class:`dip_lib.methods.vpt.VPT`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Self

from dip_lib.errors import one_of
from dip_lib.fields import fields_of, make_floats
from dip_lib.methods.identity import code_identity

SIDES = ("none", "text", "image", "visual")


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method with its settings.

    Attributes:
        name: in records, profiles and on the command line ("kgcoop").
        label: as the field writes it ("KgCoOp").
        low_rank_label: the same with a low-rank update; "": the label and " + DIP".
        side: "none" learns no prompt; "text" learns prompts from stored image features; "image"
            runs an encoder for every image of a step; "visual" learns prompts in an image encoder
            and a linear head.
        per_run: settings in which runs of one batch may differ.
        settings_of: name of the method whose settings a profile gives this one, too; the profile's
            own for this one go before them.
        has_seed: whether a run draws images at random; zero-shot methods do not.
        sites: sites that dropout of a low-rank update P0 + A B may have; () without such updates.
        alternative_to_dip: whether its loss makes prompts dense, so that pages compare it with DIP
            and do not add DIP to it.
        transfers: whether trained prompts can be evaluated on another dataset.
        earlier: setting -> what runs did that were stored before there was such a setting, where
            that is not its default.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    low_rank_label: ClassVar[str] = ""
    side: ClassVar[str] = "none"
    per_run: ClassVar[tuple[str, ...]] = ()
    settings_of: ClassVar[str] = ""
    has_seed: ClassVar[bool] = True
    sites: ClassVar[tuple[str, ...]] = ()
    alternative_to_dip: ClassVar[bool] = False
    transfers: ClassVar[bool] = False
    earlier: ClassVar[Mapping[str, Any]] = {}

    def __new__(cls, *_: Any, **settings: Any) -> Self:
        if said := cls._unknown(settings):
            raise TypeError(said)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        make_floats(self)
        self.check()

    def check(self) -> None:
        """Raise ValueError for settings that do not go together."""

    @property
    def own_classes_only(self) -> bool:
        """Whether what it learns predicts the trained classes alone."""
        return False

    @classmethod
    def settings(cls) -> tuple[str, ...]:
        """Names of the settings."""
        return tuple(field.name for field in fields_of(cls))

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """The method with these settings; the others keep their defaults.

        Raises:
            ValueError: a setting that the method does not have; names those that it has.
        """
        if said := cls._unknown(settings):
            raise ValueError(said)
        return cls(**settings)

    @classmethod
    def _unknown(cls, settings: Mapping[str, Any]) -> str:
        """Which of the settings the method does not have, and which it has; "" if all are its."""
        if not (unknown := settings.keys() - set(cls.settings())):
            return ""
        names, own = ", ".join(map(repr, sorted(unknown))), ", ".join(cls.settings())
        return f"{cls.label} has no setting {names}; its own: {own or 'none'}"

    def module_settings(self, seed: int) -> dict[str, Any]:
        """What the module of a visual method takes beside tower, prompts and head, by name."""
        return {}

    def source(self) -> Self:
        """The method whose trained run this one starts from; itself where it trains its own."""
        return self

    @classmethod
    @cache
    def identity(cls) -> str:
        """12 digits that change when the method's code does: see :mod:`.identity`."""
        return code_identity(cls)


def method_of(methods: Mapping[str, type[Method]], name: str, **settings: Any) -> Method:
    """The method called ``name`` with these settings.

    Raises:
        ValueError: an unknown name (with the nearest), or a setting that the method does not have.
    """
    return methods[one_of("method", name, methods)].of(settings)
