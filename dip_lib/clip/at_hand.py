"""Whether an open_clip tag's weights are at hand: in a cache of this machine, or a host away.

Without a network the hub's own client asks again for most of a minute, with a warning each time;
here one question is asked, for a few seconds.
"""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

SECONDS = 5
"""A host that does not answer within these counts as out of reach."""
NAMES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""What open_clip calls weights in a repository of the hub."""


def out_of_reach(config: Mapping[str, Any]) -> str:
    """Why weights cannot be had; "" if they are in the cache, or their host answers.

    Args:
        config: of the weights, as open_clip has it: "hf_hub" (a repository of the hub, and a file
            in it), or else "url".
    """
    if place := config.get("hf_hub", ""):
        # takes a sixth of a second, which only this should cost
        from huggingface_hub import constants, is_offline_mode, try_to_load_from_cache

        repository, name = os.path.split(place)
        names = (f"{os.path.splitext(name)[0]}.safetensors", name) if name else NAMES
        if any(isinstance(try_to_load_from_cache(repository, each), str) for each in names):
            return ""
        return "HF_HUB_OFFLINE is set" if is_offline_mode() else unreachable(constants.ENDPOINT)
    address = config.get("url", "")
    kept = os.path.join(os.path.expanduser("~/.cache/clip"), os.path.basename(address))
    return "" if not address or os.path.isfile(kept) else unreachable(address)


def unreachable(address: str) -> str:
    """Why a host cannot be reached; "" if it answers, whatever it answers."""
    try:
        with urllib.request.urlopen(
            urllib.request.Request(address, method="HEAD"), timeout=SECONDS
        ):
            return ""
    except urllib.error.HTTPError:
        return ""
    except OSError as error:
        return f"{address} cannot be reached: {getattr(error, 'reason', error)}"
