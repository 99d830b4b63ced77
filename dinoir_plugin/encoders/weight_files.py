"""Files of weights that others have published: in the cache of torch or of the Hugging Face hub, or downloaded."""

from __future__ import annotations

import contextlib
import pickle
import socket
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from dinoir_plugin.core.errors import OptionsError

Got = TypeVar('Got')
OPTION = 'weights'
HUB = 'https://huggingface.co'
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


def hub_file(repository: str, files: Sequence[str], what: str) -> Path:
    """Find a file of weights of the Hugging Face hub: in its cache, or by download.

    Args:
        repository: On the hub.
        files: Names in it, of which the first that is there will do.
        what: Is in the file, for errors.

    Raises:
        OptionsError: It is not in the cache and cannot be downloaded (path ``weights``).
    """
    cached = cached_file(repository, files)
    if cached is not None:
        return cached
    return downloaded(what, f'{files[0]} of {HUB}/{repository}', lambda: _fetched(repository, files))


def _fetched(repository: str, files: Sequence[str]) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import EntryNotFoundError

    for file in files[:-1]:
        with contextlib.suppress(EntryNotFoundError):
            return Path(hf_hub_download(repository, file))
    return Path(hf_hub_download(repository, files[-1]))


def cached_file(repository: str, files: Sequence[str]) -> Path | None:
    """Find the first of some files of a repository that was fetched before; None where none was."""
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(repository, file) for file in files)
    return next((Path(path) for path in found if isinstance(path, str)), None)


def downloaded(what: str, address: str, download: Callable[[], Got]) -> Got:
    """Give what ``download`` fetches; without network fail at once.

    Args:
        what: Is fetched, for errors.
        address: Where a person gets it.
        download: Fetches it.

    Raises:
        OptionsError: It cannot be fetched (path ``weights``).
    """
    try:
        require_network()
        return download()
    # the hub's client raises its own and its transport's errors, none of which share a base narrower than this
    except Exception as error:
        problem = f"'auto' could not download {what} ({first_line(error)})"
        raise OptionsError(OPTION, problem, by_hand(address)) from error


def by_hand(address: str) -> str:
    """Say in a sentence how a person without network gets weights from an address."""
    return (
        f'Fetch {address} on a machine with network access, copy the file here and set weights to its path '
        '(or to `random` for a smoke run)'
    )


def require_network() -> None:
    """Fail at once where the hub's name cannot be resolved: its client would try again for about a minute."""
    from huggingface_hub.constants import ENDPOINT

    proxied = any(urllib.request.getproxies().get(scheme) for scheme in ('https', 'all'))
    host = urllib.parse.urlsplit(ENDPOINT).hostname
    if host and not proxied:
        socket.getaddrinfo(host, 443)


def first_line(error: Exception) -> str:
    """Say what went wrong with a file of weights, in one line."""
    if isinstance(error, pickle.UnpicklingError):
        return 'not a file of tensors written by torch.save'  # torch's own text is about its change of defaults
    text = str(error).strip()
    return text.splitlines()[0][:160] if text else type(error).__name__
