"""Prompts inside the image tower: VPT, its relatives, and Prompt Condensation.

By composition over the blocks of any frozen vision transformer of open_clip or timm. Each method is
one short file; :mod:`.train` trains a run of them.
"""

VISUAL = ("vpt", "spt", "cvpt")
"""Methods whose runs :func:`dip_lib.visual.train.train_visual` trains."""
