"""DINO-IR as an extension of BasicSR.

Importing the package costs next to nothing, since every start of the interpreter does it: it arms the hook that
registers the plugin with BasicSR once BasicSR is imported, or registers at once where BasicSR is imported already.
"""

from dinoir_plugin import _autoload

__all__ = ['Restorer', '__version__']
__version__ = '0.1.0'

_autoload.arm()


def __getattr__(name: str) -> object:
    """Load what is not needed at every start of the interpreter when it is first asked for."""
    if name == 'Restorer':
        from dinoir_plugin.restore.restorer import Restorer

        return Restorer
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
