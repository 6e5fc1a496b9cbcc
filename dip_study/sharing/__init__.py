"""A reproduction in one folder: made, checked, and taken in on another machine."""
