"""What the papers' scale costs: extrapolated from what was measured."""
