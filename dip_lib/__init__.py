"""Dense Information Prompt: the low-rank prompt, the Information Density metric, and CLIPs to use
them on. The names below are stable; everything else is the book's workshop."""

from dip_lib.classifier import PromptedClassifier
from dip_lib.datasets import base_new, few_shot, harmonic_mean
from dip_lib.density import information_density, singular_values
from dip_lib.loading import load_backbone
from dip_lib.prompt import LowRankPrompt, densify

__version__ = "0.1.0"

__all__ = [
    "LowRankPrompt",
    "PromptedClassifier",
    "base_new",
    "densify",
    "few_shot",
    "harmonic_mean",
    "information_density",
    "load_backbone",
    "singular_values",
]
