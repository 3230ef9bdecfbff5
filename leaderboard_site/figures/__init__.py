"""The papers' findings on this board's numbers, each figure with its data.

A figure is a Vega-Lite chart made from rows of the tables. The build renders it as SVG, which needs no
script; a reader's browser makes the same chart interactive.
"""
