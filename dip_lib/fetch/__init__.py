"""Getting the photo datasets onto this disk: downloads and archives, apart from the core."""
