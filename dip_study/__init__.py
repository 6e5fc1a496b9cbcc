"""The paper's experiments: profiles, which runs a figure needs, what they cost, measuring them.

It drives :mod:`dip_lib`, which never imports it; ``dip`` is its command.
"""
