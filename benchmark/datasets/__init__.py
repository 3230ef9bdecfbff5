"""Data sets: a card, one canonical structure store, and labels kept apart from it."""
