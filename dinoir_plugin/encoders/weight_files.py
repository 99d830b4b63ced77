"""Files of weights that others have published at an address, in torch's cache or where the user keeps them."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.encoders.weights import first_line

UNREADABLE = (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError)


def weight_file(url: str, option: str, path: str | None = None, check_hash: bool = True) -> Path:
    """Find a file of weights, of which torch makes sure that it holds nothing but tensors.

    The packages that use it read it by pickle, which runs what the file says.

    Args:
        url: Where it is downloaded from, into torch's cache, unless it lies there.
        option: Which option an error is about.
        path: The file itself, where the user has one.
        check_hash: Whether the address ends in the start of the content's SHA-256.

    Raises:
        OptionsError: There is no such file and it cannot be downloaded, or it cannot be read.
    """
    file = Path(torch.hub.get_dir(), 'checkpoints', url.rpartition('/')[2]) if path is None else Path(path).expanduser()
    try:
        if path is None:
            torch.hub.load_state_dict_from_url(url, map_location='cpu', check_hash=check_hash, weights_only=True)
        else:
            torch.load(file, map_location='cpu', weights_only=True)
    except UNREADABLE as error:
        state = 'cannot be read' if file.is_file() else 'is not there'
        if path is None and state == 'is not there':
            state += ' and cannot be downloaded'
        reason = '' if path and not file.is_file() else f' ({first_line(error)})'
        remedy = f'Fetch {url} on a machine with network access and put it there'
        raise OptionsError(option, f"expected weights in '{file}', which {state}{reason}", remedy) from error
    return file
