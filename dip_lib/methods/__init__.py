"""Methods: one short file each. A method says what a run trains; the trainer does the rest.

To add one, write a file with a :class:`Method` and name it in ``LEARNT``. A run of any of them that
has a rank trains its prompts as DIPs (:mod:`.dip`).
"""

from dip_lib.methods.cocoop import COCOOP
from dip_lib.methods.coop import COOP
from dip_lib.methods.dense import DO, PP
from dip_lib.methods.dept import DEPT
from dip_lib.methods.kgcoop import KGCOOP
from dip_lib.methods.maple import MAPLE
from dip_lib.methods.method import Batch, Learnt, Method, Setting, Start, setting
from dip_lib.methods.prograd import PROGRAD
from dip_lib.methods.promptsrc import PROMPTSRC

LEARNT = {
    "coop": COOP,
    "dip": COOP,
    "do": DO,
    "pp": PP,
    "kgcoop": KGCOOP,
    "prograd": PROGRAD,
    "dept": DEPT,
    "cocoop": COCOOP,
    "maple": MAPLE,
    "promptsrc": PROMPTSRC,
}
UNTRAINED = ("zero-shot", "ensemble", "probe")
"""Methods that learn no prompt: measured one by one."""
METHODS = (*UNTRAINED, *LEARNT)

__all__ = [
    "LEARNT",
    "METHODS",
    "UNTRAINED",
    "Batch",
    "Learnt",
    "Method",
    "Setting",
    "Start",
    "setting",
]
