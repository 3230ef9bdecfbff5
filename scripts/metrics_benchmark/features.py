"""Synthetic features: several models' views of the same structures, alike but not equal."""

from __future__ import annotations

from pathlib import Path

import numpy as np

LATENT, HIDDEN, CLUSTERS = 12, 48, 40


def model_features(n: int, d: int, model: int, seed: int = 0) -> np.ndarray:
    """Features (n, d) float64 of model number `model`: a random tanh layer on a latent that all models share.

    The latent (n, 12) is clustered, the channels' scales fall off as a power law, and each model adds noise of its
    own, so that no metric is at its trivial 0 or 1.
    """
    shared = np.random.default_rng([seed, n])
    centres = 1.5 * shared.normal(size=(CLUSTERS, LATENT))
    latent = centres[shared.integers(CLUSTERS, size=n)] + shared.normal(size=(n, LATENT))
    weights = np.random.default_rng([seed, 1, model])
    hidden = np.tanh(latent @ weights.normal(size=(LATENT, HIDDEN)) / np.sqrt(LATENT))
    mixing = weights.normal(size=(HIDDEN, d)) * np.arange(1, d + 1) ** -0.5
    noise = np.random.default_rng([seed, 2, model, n]).normal(size=(n, d)) * np.arange(1, d + 1) ** -0.5
    features: np.ndarray = hidden @ mixing + (0.5 + 0.1 * (model % 5)) * noise
    return features


def feature_file(folder: Path, n: int, d: int, model: int) -> Path:
    """The .npy file of one model's features, made if it is not there."""
    path = folder / f"n{n}-d{d}-model{model}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npy")
        np.save(partial, model_features(n, d, model))
        partial.replace(path)
    return path
