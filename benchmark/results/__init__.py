"""Typed records, and the tables derived from them."""
