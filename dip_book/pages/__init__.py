"""The analysis of each page of the book, a module a page: from a frame of runs to what it shows."""
