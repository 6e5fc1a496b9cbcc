"""Frozen CLIPs: loading, exact class embeddings, image features, prompts inside image encoders."""

from dip_lib.clip.backbone import Backbone
from dip_lib.clip.loading import BackboneSource, load_backbone

__all__ = ["Backbone", "BackboneSource", "load_backbone"]
