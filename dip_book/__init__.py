"""What the book's pages are made with: statistics, tables, figures, claims, and the object that
each notebook uses.

It reads what :mod:`dip_lib` measures. The library never imports it.
"""
