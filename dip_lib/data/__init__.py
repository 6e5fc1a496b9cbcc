"""Datasets: what they are, reading folders and photo datasets, splits, draws and protocols."""

from dip_lib.data.dataset import Dataset, DatasetSource, load_dataset
from dip_lib.data.splits import base_new, few_shot, harmonic_mean

__all__ = ["Dataset", "DatasetSource", "base_new", "few_shot", "harmonic_mean", "load_dataset"]
