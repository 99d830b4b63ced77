"""From what stands under one key of an options file to an object, with errors that name the key."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from dinoir_plugin.core.arguments import argument_problems, argument_values
from dinoir_plugin.core.errors import OptionsError, close_to, missing_option, nearest, reject_unknown

# BasicSR registers some of its classes with a suffix and finds them without it
SUFFIX = '_basicsr'
OWN_MODULES = 'Where it is your own: DINOIR_PLUGIN_IMPORT=my_module imports the module that registers it'
OWN = 'dinoir_plugin.'  # annotations of others cannot be trusted


def registered(registry: Any, options: Mapping[str, Any], path: str) -> Any:
    """Find the class that ``options['type']`` names in one of BasicSR's registries.

    Raises:
        OptionsError: Nothing goes by that name (path ``<path>.type``).
    """
    return look_up(registry, options.get('type'), f'{path}.type')


def look_up(registry: Any, kind: Any, path: str) -> Any:
    """Find the class called ``kind`` in one of BasicSR's registries.

    Raises:
        OptionsError: Nothing goes by that name (path ``path``).
    """
    name = kind if isinstance(kind, str) and kind in registry else f'{kind}{SUFFIX}'
    if name not in registry:
        known = {name.removesuffix(SUFFIX) for name in registry.keys()}
        remedy = close_to(str(kind), known) or f'{nearest(str(kind), known)}. {OWN_MODULES}'
        raise OptionsError(path, f"nothing is registered as '{kind}'", remedy)
    return registry.get(name)


def find(registry: Any, kind: Any) -> Any:
    """Find the class or function called ``kind``; None where there is none, which others complain about."""
    try:
        return look_up(registry, kind, 'type')
    except OptionsError:
        return None


def registered_class(registry: Any, kind: Any) -> type | None:
    """Find the class called ``kind``, as :func:`find` does."""
    found = find(registry, kind)
    return found if isinstance(found, type) else None


def check_arguments(
    build: Callable[..., Any], path: str, arguments: Mapping[str, Any], *, swallows: bool = True, **given: Any
) -> None:
    """Hold the keys under ``path`` against the signature of ``build``.

    Args:
        build: A class or function.
        path: The options' path, for errors.
        arguments: What stands under that path.
        swallows: Whether ``**kwargs`` in the signature mean that any key is welcome.
        **given: Arguments that are not the user's to give.

    Raises:
        OptionsError: A key that ``build`` does not take, one that it needs and that is missing, or, where ``build`` is
            the plugin's, a value that its annotation does not allow.
    """
    parameters = inspect.signature(build).parameters.values()
    named = {
        parameter.name: parameter
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY) and parameter.name not in given
    }
    if not (swallows and any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)):
        reject_unknown(arguments, named, path)
    for name, parameter in named.items():
        if parameter.default is parameter.empty and name not in arguments:
            raise missing_option(f'{path}.{name}')
    if build.__module__.startswith(OWN):
        for problem in argument_problems(build, path, {key: arguments[key] for key in arguments if key in named}):
            raise problem


def values_for(build: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Give options as the values that ``build`` takes for its arguments (6 for 6.0, text for a name)."""
    return argument_values(build, arguments, own=build.__module__.startswith(OWN))


def construct(build: Callable[..., Any], path: str, arguments: Mapping[str, Any], **given: Any) -> Any:
    """Call ``build`` with options as arguments; parameters as :func:`check_arguments`.

    Returns:
        What ``build`` returns.

    Raises:
        OptionsError: A key that ``build`` does not take or needs and lacks, or values that it refuses.
    """
    check_arguments(build, path, arguments, **given)
    try:
        return build(**values_for(build, arguments), **given)
    except OptionsError as error:
        raise error.under(path) from error
    # whatever a foreign constructor raises, it was the values under this path that it could not use
    except Exception as error:
        raise OptionsError(path, f'cannot be built from these values ({type(error).__name__}: {error})') from error


def build_registered(registry: Any, options: Mapping[str, Any], path: str) -> Any:
    """Build what ``options['type']`` names in one of BasicSR's registries, from the other options.

    Raises:
        OptionsError: As :func:`registered` and :func:`construct`.
    """
    kind = registered(registry, options, path)
    return construct(kind, path, {key: value for key, value in options.items() if key != 'type'})
