"""Methods: one short file each. A method says what a run trains; the trainer does the rest.

To add one, write a file with a function ``start(p0, spec) -> Start`` and name it in ``LEARNT``.
"""

from dip_lib.methods import coop, dip
from dip_lib.methods.start import Start

LEARNT = {"coop": coop.start, "dip": dip.start}
METHODS = ("zero-shot", *LEARNT)

__all__ = ["LEARNT", "METHODS", "Start"]
