"""The vision encoder under the name by which the files of visual methods import it.

The code of a method's file is part of its runs' keys, imports included: the name stays there, so
that committed runs keep their keys.
"""

from dip_lib.clip.vision_encoder import Block
from dip_lib.clip.vision_encoder import VisionEncoder as Tower

__all__ = ["Block", "Tower"]
