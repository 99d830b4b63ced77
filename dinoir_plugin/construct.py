"""Calling a class with what stands under one key of an options file, with errors that name the key."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from dinoir_plugin.errors import OptionsError, nearest


def check_arguments(build: Callable[..., Any], path: str, arguments: Mapping[str, Any], **given: Any) -> None:
    """Hold the keys under ``path`` against the signature of ``build``; arguments as :func:`construct`.

    Raises:
        OptionsError: A key that ``build`` does not take, or one that it needs and that is missing.
    """
    prefix = f'{path}.' if path else ''
    parameters = inspect.signature(build).parameters.values()
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    named = {
        parameter.name: parameter
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY) and parameter.name not in given
    }
    for name in arguments:
        if name not in named and not takes_any:
            raise OptionsError(f'{prefix}{name}', 'unknown option', nearest(str(name), named))
    for name, parameter in named.items():
        if parameter.default is parameter.empty and name not in arguments:
            raise OptionsError(f'{prefix}{name}', 'this key is required, but missing')


def construct(build: Callable[..., Any], path: str, arguments: Mapping[str, Any], **given: Any) -> Any:
    """Call ``build`` with options as arguments.

    Args:
        build: A class or function.
        path: The options' path, for errors.
        arguments: What stands under that path.
        **given: Arguments that are not the user's to give.

    Returns:
        What ``build`` returns.

    Raises:
        OptionsError: A key that ``build`` does not take or needs and lacks, or values that it refuses.
    """
    check_arguments(build, path, arguments, **given)
    try:
        return build(**arguments, **given)
    except OptionsError as error:
        raise error.under(path) from error
    # whatever a foreign constructor raises, it was the values under this path that it could not use
    except Exception as error:
        raise OptionsError(path, f'cannot be built from these values ({type(error).__name__}: {error})') from error
