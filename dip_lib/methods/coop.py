"""CoOp (Zhou et al., IJCV 2022): the words before the class name become trainable vectors.

Text is ``[SOS] P [class name] . [EOT]``; P (n, d) minimises the cross-entropy of cosine
similarities, and nothing else is trained: what :class:`TextPromptMethod` does by itself. With a
low-rank update it is DIP, first called RLP (arXiv 2312.10813): P = P0 + dropout(A B).
Source: ``trainers/coop.py`` of KaiyangZhou/CoOp. There encoders and prompt are fp16 and every epoch
crops each picture anew; here the prompt is fp32, and so are the encoders unless a profile says
otherwise, and the epochs go round a fixed number of crops of each picture (``views``).
"""

from __future__ import annotations

from dataclasses import dataclass

from dip_lib.methods.text_prompt import TextPromptMethod


@dataclass(frozen=True, kw_only=True)
class CoOp(TextPromptMethod):
    """CoOp; with a low-rank update, DIP.

    Args:
        context, vectors, class_position, class_specific: as :class:`TextPromptMethod`'s.
    """

    name = "coop"
    label = "CoOp"
    low_rank_label = "DIP"
    evaluates_shrunk = True
