"""Names of parameters in EfficientNet-PyTorch, in which some published weights are kept, to those in timm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

OUTER = {'_conv_stem': 'conv_stem', '_bn0': 'bn1', '_conv_head': 'conv_head', '_bn1': 'bn2', '_fc': 'classifier'}
INNER = {
    '_expand_conv': 'conv_pw',
    '_bn0': 'bn1',
    '_depthwise_conv': 'conv_dw',
    '_bn1': 'bn2',
    '_project_conv': 'conv_pwl',
    '_bn2': 'bn3',
}
# of blocks that do not expand
PLAIN = {'_depthwise_conv': 'conv_dw', '_bn1': 'bn1', '_project_conv': 'conv_pw', '_bn2': 'bn2'}


def is_efficientnet_pytorch(state: Mapping[str, Tensor]) -> bool:
    """Tell whether a state dict has that package's names."""
    return '_conv_stem.weight' in state


def timms_names(state: Mapping[str, Tensor], model: Any) -> dict[str, Tensor]:
    """Give a state dict timm's names; a name without counterpart stays as it is.

    Args:
        state: With the names of EfficientNet-PyTorch, which numbers its blocks through.
        model: timm's EfficientNet, which numbers them stage by stage.
    """
    places = [f'blocks.{stage}.{index}' for stage, blocks in enumerate(model.blocks) for index in range(len(blocks))]
    expanding = {key.split('.')[1] for key in state if '._expand_conv.' in key}
    renamed = {}
    for key, value in state.items():
        top, _, rest = key.partition('.')
        if top == '_blocks':
            number, part, rest = rest.split('.', 2)
            names = INNER if number in expanding else PLAIN
            place = places[int(number)] if int(number) < len(places) else f'{top}.{number}'
            key = f'{place}.{names.get(part, part)}.{rest}'
        else:
            key = f'{OUTER.get(top, top)}.{rest}'
        renamed[key] = value
    return renamed
