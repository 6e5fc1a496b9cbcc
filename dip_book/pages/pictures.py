"""Page 13: Information Density of matrices that one can look at."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from matplotlib.cbook import get_sample_data
from PIL import Image
from torch import Tensor

from dip_book.tables import Array
from dip_lib import information_density, singular_values

Pictures = Mapping[str, Array]
PHOTOGRAPH, SHUFFLED = "photograph", "the same pixels, shuffled"


def pictures() -> dict[str, Array]:
    """Four grey pictures of one size, values in 0..1: stripes, a photograph, the same shuffled,
    noise. The photograph is the sample that matplotlib ships."""
    file = str(get_sample_data("grace_hopper.jpg", asfileobj=False))
    photograph = np.asarray(Image.open(file).convert("L"), dtype=float) / 255
    height, width = photograph.shape
    random = np.random.default_rng(0)
    return {
        "stripes": 0.5 + 0.5 * np.sin(np.arange(width) / 9)[None, :] * np.ones((height, 1)),
        PHOTOGRAPH: photograph,
        SHUFFLED: random.permutation(photograph.ravel()).reshape(photograph.shape),
        "noise": random.normal(0.5, 0.2, photograph.shape).clip(0, 1),
    }


def centred(picture: Array) -> Tensor:
    """The picture without its mean grey, which is one strong direction of any picture."""
    return torch.from_numpy(picture - picture.mean())


def spectra(matrices: Pictures) -> dict[str, Array]:
    """The singular values of each picture without its mean, largest first."""
    return {name: singular_values(centred(picture)).numpy() for name, picture in matrices.items()}


def density_table(matrices: Pictures, ks: tuple[int, ...]) -> pd.DataFrame:
    """ID_k of each picture without its mean: a row a picture, a column each k."""
    rows = {
        name: {f"ID{k}": float(information_density(centred(picture), k)) for k in ks}
        for name, picture in matrices.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def finding(matrices: Pictures) -> str:
    """The page's finding: the density of a photograph, and of its pixels shuffled."""
    density = density_table(matrices, (10,))["ID10"]
    return (
        f"**Finding.** The ten strongest of {min(matrices[PHOTOGRAPH].shape)} directions hold "
        f"**{100 * density[PHOTOGRAPH]:.0f} %** of a photograph's singular values and "
        f"**{100 * density[SHUFFLED]:.0f} %** when its pixels are shuffled: density measures "
        "structure, and structure can be lost while every value stays."
    )


def spectra_table(values: Mapping[str, Array], k: int) -> pd.DataFrame:
    """The k largest singular values: a row a value, a column a picture."""
    index = pd.RangeIndex(1, k + 1, name="singular value")
    return pd.DataFrame({name: each[:k] for name, each in values.items()}, index=index)


def numbers(matrices: Pictures) -> dict[str, float]:
    """The page's numbers: ID_10 of the photograph, and of its pixels shuffled."""
    density = density_table(matrices, (10,))["ID10"]
    names = {"photograph_id10": PHOTOGRAPH, "shuffled_id10": SHUFFLED}
    return {key: float(density[name]) for key, name in names.items()}
