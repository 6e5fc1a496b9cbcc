"""Photo World: photographs of the field's own datasets, and a small CLIP that reads them offline.

``datasets`` declares the photographs and their splits; ``models`` and ``trunk`` are the CLIPs: an
image encoder that others trained on ImageNet, a text encoder that ``pretraining/photo_world``
trained; ``packs`` holds the image features, so that text-side runs need no photograph.
"""
