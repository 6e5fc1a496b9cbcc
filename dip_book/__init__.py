"""What the book's pages are made with: statistics, tables, figures, claims, and a page at work.

It reads what :mod:`dip_lib` measures. The library never imports it.
"""
