"""Hold the semantics of an image in a condition, as vectors of the whole image or as maps of its parts."""

from __future__ import annotations

from torch import Tensor

from dinoir_plugin.guidance.condition import Condition, Upsampling


def semantic_condition(semantics: Tensor, code: Tensor | None) -> Condition:
    """Hold semantics as tokens, or as maps, and a code as vector.

    Args:
        semantics: Of each depth, from shallow to deep: vectors, (B, depths, D), or maps over the whole image,
            (B, depths, D, h, w).
        code: Z, (B, degradation_dim); None where the network makes it.

    Raises:
        ValueError: Semantics of another number of axes.
    """
    if semantics.dim() == 3:
        return Condition(tokens=semantics, vector=code)
    if semantics.dim() != 5:
        expected = 'expected semantics (B, depths, D) or (B, depths, D, h, w)'
        raise ValueError(f'{expected}, got {tuple(semantics.shape)}')
    maps = {_name(depth): coarse for depth, coarse in enumerate(semantics.unbind(dim=1))}
    return Condition(maps=maps, vector=code)


def has_semantics(condition: Condition) -> bool:
    """Tell whether a condition holds semantics."""
    return condition.tokens is not None or _name(0) in condition.maps


def semantics_at(condition: Condition, depth: int, feature: Tensor) -> Tensor | Upsampling:
    """Give the semantics of a depth for a feature, (B, C, H, W): a vector, (B, D), or a map and how to upsample it.

    Raises:
        ValueError: The condition has neither.
    """
    if _name(depth) in condition.maps:
        return condition.upsampling(_name(depth), *feature.shape[-2:])
    if condition.tokens is None:
        raise ValueError('expected a condition with semantics as tokens (B, depths, D) or as maps, got neither')
    return condition.tokens[:, depth]


def _name(depth: int) -> str:
    return f'semantics{depth + 1}'
