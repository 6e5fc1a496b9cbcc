"""A small causal language model of Glyph World, and how it may be shown a picture.

``texts`` are the sentences it was pre-trained on; ``model`` is the model; ``questions`` pair images
with questions; ``sights`` are the ways to show an image to the frozen model; ``fitting`` trains one
of them; ``answering`` evaluates it.
"""
