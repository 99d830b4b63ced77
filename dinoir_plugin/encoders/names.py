"""Names of encoders: timm's, and those by which torch.hub has Meta's DINOv2."""

from __future__ import annotations

_SIZES = {'s': 'small', 'b': 'base', 'l': 'large', 'g': 'giant'}
HUB = {
    f'dinov2_vit{letter}14{end}': f'vit_{size}_patch14_{kind}'
    for letter, size in _SIZES.items()
    for end, kind in (('', 'dinov2'), ('_reg', 'reg4_dinov2'))
}


def timm_name(name: str) -> str:
    """Give timm's name of a model that may be called as torch.hub calls it, such as ``dinov2_vits14``."""
    return HUB.get(name, name)
