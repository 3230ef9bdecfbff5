"""The CKNNA authors' formulation, written from the definitions: dense kernels, dense masks, nothing shared.

It stands in for code that is not on a package registry. As theirs it holds several n x n matrices, multiplies two
of them in every HSIC (n^3 work) and adds 1e-6 to the denominator of CKNNA.
Huh et al., The Platonic Representation Hypothesis, arXiv:2405.07987; unbiased HSIC: Song et al. (2012).
"""

from __future__ import annotations

import torch
from torch import Tensor

REGULARISATION = 1e-6


def cknna(a: Tensor, b: Tensor, k: int) -> tuple[float, float]:
    """CKNNA of features (n, d_a) and (n, d_b), which are centred and brought to unit rows first.

    With 1e-6 added to the denominator, and without.
    """
    kernel_a, kernel_b = _cosines(a), _cosines(b)
    cross, first, second = (  # three HSICs, each with masks of its own
        _masked_hsic(one, other, k) for one, other in ((kernel_a, kernel_b), (kernel_a, kernel_a), (kernel_b, kernel_b))
    )
    denominator = (first * second) ** 0.5
    return cross / (denominator + REGULARISATION), cross / denominator


def mutual_knn(a: Tensor, b: Tensor, k: int) -> float:
    """Mean overlap of the k nearest neighbours by cosine."""
    return float((_neighbour_mask(_cosines(a), k) * _neighbour_mask(_cosines(b), k)).sum()) / (len(a) * k)


def cka(a: Tensor, b: Tensor) -> float:
    """Linear CKA of the unbiased HSIC, through n x n kernels."""
    a, b = a - a.mean(dim=0), b - b.mean(dim=0)
    kernel_a, kernel_b = a @ a.T, b @ b.T
    return _hsic(kernel_a, kernel_b) / (_hsic(kernel_a, kernel_a) * _hsic(kernel_b, kernel_b)) ** 0.5


def _cosines(features: Tensor) -> Tensor:
    centred = features - features.mean(dim=0)
    unit: Tensor = centred / centred.norm(dim=1, keepdim=True)
    return torch.mm(unit, unit.T)


def _neighbour_mask(kernel: Tensor, k: int) -> Tensor:
    others = kernel.clone().fill_diagonal_(-torch.inf)
    return torch.zeros_like(kernel).scatter_(1, others.topk(k, dim=1).indices, 1.0)


def _masked_hsic(kernel: Tensor, other: Tensor, k: int) -> float:
    mask = _neighbour_mask(kernel, k) * _neighbour_mask(other, k)
    return _hsic(mask * kernel, mask * other)


def _hsic(kernel: Tensor, other: Tensor) -> float:
    n = len(kernel)
    kernel, other = kernel.clone().fill_diagonal_(0.0), other.clone().fill_diagonal_(0.0)
    trace = (kernel * other.T).sum()
    total = kernel.sum() * other.sum() / ((n - 1) * (n - 2))
    through = 2.0 * (kernel @ other).sum() / (n - 2)
    return float(trace + total - through) / (n * (n - 3))
