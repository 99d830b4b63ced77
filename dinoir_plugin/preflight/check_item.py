"""What the checks of a run are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class CheckItem(NamedTuple):
    """Hold one part of a run that can be checked by itself.

    Attributes:
        path: The options that it is about.
        check: Raises an OptionsError where something is wrong; returns a few words on what it looked at. Those of
            `network_items` take the network.
    """

    path: str
    check: Callable[..., str]
