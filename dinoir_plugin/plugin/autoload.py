"""The start-up hook: when BasicSR is imported, mend it for this machine, then register the plugin.

BasicSR scans only its own folders and has no way to be told of a plugin, so the plugin has to notice BasicSR. A
finder at the front of ``sys.meta_path`` waits for the top-level ``basicsr``; the wheel's one-line ``.pth`` file puts
it there at every start of the interpreter. That is why this file imports nothing but ``sys``, not even
``__future__``, which costs as much as the file itself.
"""

import sys

TYPE_CHECKING = False  # `typing` itself would be the most expensive import of a bare interpreter's start
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    Problem = tuple[str, Exception]

HOST = 'basicsr'
SWITCH = 'DINOIR_PLUGIN_AUTOLOAD'


class _Finder:
    """Find BasicSR through the other finders and have its loader call us before and after."""

    def find_spec(
        self, fullname: str, path: 'Sequence[str] | None' = None, target: 'ModuleType | None' = None
    ) -> 'ModuleSpec | None':
        if fullname != HOST:
            return None
        for finder in sys.meta_path:
            find_spec = getattr(finder, 'find_spec', None)
            if isinstance(finder, _Finder) or find_spec is None:
                continue
            spec: ModuleSpec | None = find_spec(fullname, path, target)
            if spec is not None:
                # A namespace package has no loader: a folder that happens to be called basicsr, nothing to act on.
                # A loader that is a class (built-in modules') is shared with everybody else.
                if spec.loader is not None and not isinstance(spec.loader, type):
                    _patch(spec.loader)
                return spec
        return None


def _patch(loader: 'Loader') -> None:
    """Have this one loader object announce the import.

    The object stays the loader it was (not a stand-in), so that inspect, runpy and importlib.resources, which ask
    for its type and its other methods, notice nothing.
    """
    execute = loader.exec_module
    if getattr(execute, '__module__', None) == __name__:
        return

    def exec_module(module: 'ModuleType') -> None:
        # Once is enough, and a reload gets its own loader.
        vars(loader).pop('exec_module', None)
        problems = _before()
        execute(module)
        report(problems + _after())

    try:
        loader.exec_module = exec_module  # type: ignore[method-assign]
    except AttributeError:
        return  # a loader with __slots__: the plugin then waits for an explicit `import dinoir_plugin`


def _before() -> 'list[Problem]':
    try:
        from dinoir_plugin import compat

        return compat.before_import()
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the plugin must not stop somebody's BasicSR
        return [('dinoir_plugin.compat', error)]


def _after() -> 'list[Problem]':
    try:
        import basicsr.utils.registry  # noqa: F401 - forks from before BasicSR had one get one warning, not ten

        from dinoir_plugin import compat
        from dinoir_plugin.plugin.register import register

        return compat.after_import() + register()
    except Exception as error:  # noqa: BLE001 - as above
        return [('dinoir_plugin', error)]


def report(problems: 'list[Problem]') -> None:
    """Warn once about everything that failed, one entry a cause."""
    if not problems:
        return
    import warnings

    whats: dict[str, list[str]] = {}
    for what, error in problems:
        whats.setdefault(f'{type(error).__name__}: {error}', []).append(what)
    causes = '; '.join(f'{", ".join(names)}: {cause}' for cause, names in whats.items())
    warnings.warn(
        f'dinoir_plugin is not fully set up in this BasicSR ({causes}). BasicSR itself is imported. '
        f'Where the plugin is not wanted, the environment variable {SWITCH}=0 turns its start-up hook off.',
        RuntimeWarning,
        stacklevel=2,
    )


def arm() -> None:
    """Wait for BasicSR; where it is imported already, act at once. A second call does nothing more.

    The environment variable is the start-up line's business: who imports the plugin by name wants it.
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
        host = sys.modules.get(HOST)
        # During BasicSR's own import its parts are not there yet, and the hook (or its absence) is already decided.
        if host is not None and not getattr(host.__spec__, '_initializing', False):
            report(_after())
