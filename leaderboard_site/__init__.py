"""A static site made from exported tables, and from nothing else.

What this package must never do: import `benchmark`, trust a cell of a table (metadata comes from
strangers), ask another host for anything, or need JavaScript to be read.
"""
