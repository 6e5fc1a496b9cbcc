"""The method: Information Density, the low-rank prompt, and its file."""

from dip_lib.prompt.density import information_density, singular_values
from dip_lib.prompt.low_rank import LowRankPrompt, low_rank_prompt
from dip_lib.prompt.plug_in import Densified, densify
from dip_lib.prompt.prompt_file import load_prompt, save_prompt

__all__ = [
    "Densified",
    "LowRankPrompt",
    "densify",
    "information_density",
    "load_prompt",
    "low_rank_prompt",
    "save_prompt",
    "singular_values",
]
