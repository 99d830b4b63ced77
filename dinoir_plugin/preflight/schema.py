"""The options of a run as they are written, held against what its model declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from basicsr.utils.registry import MODEL_REGISTRY

from dinoir_plugin.core.construct import registered_class
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.options import problems
from dinoir_plugin.models.options import RunOptions
from dinoir_plugin.models.restoration_model import RestorationModel


def drives(opt: Mapping[str, Any]) -> bool:
    """Tell whether our model, or one derived from it, drives a run; what others read is not known here."""
    kind = registered_class(MODEL_REGISTRY, opt.get('model_type'))
    return kind is not None and issubclass(kind, RestorationModel)


def check_schema(opt: Mapping[str, Any], is_train: bool) -> None:
    """Check the keys and kinds of an options file as it is written, before BasicSR reads it.

    Args:
        opt: The parsed YAML.
        is_train: Whether it is for train.py or for test.py.

    Raises:
        OptionsError: For the first option that is unknown, missing or of the wrong kind.
    """
    for problem in schema_problems(opt, is_train):
        raise problem


def schema_problems(opt: Mapping[str, Any], is_train: bool) -> Iterator[OptionsError]:
    """Give all that :func:`check_schema` would refuse, one after the other."""
    kind = registered_class(MODEL_REGISTRY, opt.get('model_type'))
    return problems(getattr(kind, 'declares', RunOptions), opt, '', 'train' if is_train else 'test')
