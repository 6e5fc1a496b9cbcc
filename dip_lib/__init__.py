"""Dense Information Prompt: the low-rank prompt, the Information Density metric, and CLIPs to use
them on. The names below are stable; everything else is the book's workshop."""

from dip_lib.classifier import PromptedClassifier
from dip_lib.clip import load_backbone
from dip_lib.data import base_new, few_shot, harmonic_mean, load_dataset
from dip_lib.prompt import LowRankPrompt, densify, information_density, singular_values

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
    "load_dataset",
    "singular_values",
]
