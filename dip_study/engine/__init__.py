"""Where groups of runs are measured: this process, this machine's processes, or Dask's workers.

What a group is and how it is measured (``group``), who measures which (``dispatch``), and the
places (``processes``, ``cluster``) are apart: all places run the same code on the same groups.
"""
