"""Methods: one file each, and the one list of them.

To add a method, write a file with a class derived from :class:`PromptMethod` (or another), and
name it here. It then appears wherever methods do; a run of it with a low-rank update holds its
prompts as DIPs.
"""

from dip_lib.methods.cocoop import CoCoOp
from dip_lib.methods.condensation import Condensation
from dip_lib.methods.control import Control
from dip_lib.methods.coop import CoOp
from dip_lib.methods.cvpt import CVPT
from dip_lib.methods.dense import DirectOptimisation, PositionalPenalty
from dip_lib.methods.dept import DePT
from dip_lib.methods.kgcoop import KgCoOp
from dip_lib.methods.maple import MaPLe
from dip_lib.methods.method import Method, method_of
from dip_lib.methods.probe import LinearProbe
from dip_lib.methods.prograd import ProGrad
from dip_lib.methods.prompt_method import PromptMethod
from dip_lib.methods.promptsrc import PromptSRC
from dip_lib.methods.spt import SPT
from dip_lib.methods.subspace import Subspace
from dip_lib.methods.surgery import Surgery
from dip_lib.methods.tower_update import TowerUpdate
from dip_lib.methods.vpt import VPT
from dip_lib.methods.zero_shot import Ensemble, ZeroShot

METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        ZeroShot,
        Ensemble,
        LinearProbe,
        CoOp,
        DirectOptimisation,
        PositionalPenalty,
        KgCoOp,
        ProGrad,
        DePT,
        CoCoOp,
        MaPLe,
        PromptSRC,
        VPT,
        SPT,
        CVPT,
        Condensation,
        Control,
        Surgery,
        Subspace,
        TowerUpdate,
    )
}
"""Name -> method, in the order in which pages list them."""

__all__ = ["METHODS", "CoOp", "Method", "PromptMethod", "method_of"]
