"""Image features of a dataset that stands on feature packs: which pack answers for a backbone."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from dip_lib.clip.backbone import Backbone
from dip_lib.data.packed import PackedDataset


def packed_features(
    backbone: Backbone,
    dataset: PackedDataset,
    split: str,
    views: Sequence[int | None],
    rows: Sequence[int],
) -> Tensor:
    """Unit features (V, N, e) from a pack of the backbone's image encoder, on its device.

    A backbone in bf16 or fp16 is answered by a pack that was made with it in that precision, else
    by the one made in fp32: packed features are rounded anyhow, and a run on text prompts then
    measures what the precision does to the text encoder. From pictures it measures both encoders.
    The key of a run tells the two apart: the fingerprint of its dataset is a pack's.

    Raises:
        NotPackedError, PackError: see :meth:`dip_lib.data.packed.PackedDataset.features`.
    """
    names, encoders = (backbone.encodes_as, backbone.unrounded), dataset.encoders
    known = next((name for name in names if name in encoders), names[0])
    return dataset.features(known, split, views, rows, backbone.name).to(backbone.device)
