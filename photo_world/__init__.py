"""Photo World: real photographs, an image encoder that others pre-trained, text encoders of ours.

``trunk`` reads the image encoder's weights from the package that ships them; ``models`` puts them
into open_clip's ``CLIP`` with the committed projection and a committed text encoder; ``plugin`` is
what ``dip_lib`` finds. The programs that trained the text encoders lie in
``pretraining/photo_world/``.
"""
