"""Latent Matter: a leaderboard of what atomistic foundation models have learned."""

__version__ = "0.1.0"
