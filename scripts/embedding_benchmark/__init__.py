"""Measures the batched embedding of every family beside a loop over single structures."""
