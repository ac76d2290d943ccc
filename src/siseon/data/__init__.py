"""Data sets: what one is (dataset), opening any (open_data), the built-in ones, checking and converting."""
