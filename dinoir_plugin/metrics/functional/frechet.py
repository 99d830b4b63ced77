"""The Fréchet distance of two sets of features, which FID is of those of Inception (Heusel et al., NeurIPS 2017)."""

from __future__ import annotations

from typing import Any

import numpy as np

FloatArray = np.ndarray[Any, np.dtype[np.floating[Any]]]


def frechet_distance(one: FloatArray, other: FloatArray) -> float:
    """Take the distance of two normal distributions fitted to samples.

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)). With S1 = A'A and S2 = B'B, the trace of the root is the sum of the
    singular values of AB': no root of a singular matrix is taken, and few samples make a small problem.

    Args:
        one: (N, C), at least two samples.
        other: (M, C), likewise.
    """
    mean = one.mean(axis=0, dtype=np.float64) - other.mean(axis=0, dtype=np.float64)
    a, b = _spread(one), _spread(other)
    overlap = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return max(0.0, float(mean @ mean + (a * a).sum() + (b * b).sum() - 2 * overlap))


def _spread(samples: FloatArray) -> FloatArray:
    """Give a matrix of at most (C, C) whose product with itself is the covariance of the samples, (N, C)."""
    centred = samples.astype(np.float64) - samples.mean(axis=0, dtype=np.float64)
    scaled = centred / np.sqrt(len(samples) - 1)
    return np.asarray(np.linalg.qr(scaled, mode='r')) if len(samples) > samples.shape[1] else scaled
