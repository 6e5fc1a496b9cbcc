"""CoOp (Zhou et al., IJCV 2022): the words before the class name become trainable vectors.

Text is ``[SOS] P [class name] . [EOT]``; P (n, d) minimises the cross-entropy of cosine
similarities, and nothing else is trained: what :class:`PromptMethod` does by itself. With a
low-rank update it is DIP, first called RLP (arXiv 2312.10813): P = P0 + dropout(A B).
Source: ``trainers/coop.py`` of KaiyangZhou/CoOp.
"""

from __future__ import annotations

from dataclasses import dataclass

from dip_lib.methods.prompt_method import PromptMethod


@dataclass(frozen=True, kw_only=True)
class CoOp(PromptMethod):
    """CoOp; with a low-rank update, DIP."""

    name = "coop"
    label = "CoOp"
    low_rank_label = "DIP"
    evaluates_shrunk = True
