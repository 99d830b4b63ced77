"""All-in-one image restoration as an extension of BasicSR.

Importing the package costs next to nothing, since every start of the interpreter does it: it arms the hook that
registers the plugin with BasicSR once BasicSR is imported, or registers at once where BasicSR is imported already.
"""

from dinoir_plugin.core.version import __version__
from dinoir_plugin.plugin import autoload

# The public names and the modules that define them, loaded when first asked for.
_PUBLIC = {
    'DEGRADATION_REGISTRY': 'dinoir_plugin.data.degradation_base',
    'DINOIRArch': 'dinoir_plugin.methods.dinoir',
    'DPCLoss': 'dinoir_plugin.methods.dinoir',
    'Degradation': 'dinoir_plugin.data.degradation_base',
    'MixedDegradationDataset': 'dinoir_plugin.data.mixed_degradation_dataset',
    'RestorationModel': 'dinoir_plugin.models.restoration_model',
    'Restorer': 'dinoir_plugin.restore.restorer',
}
__all__ = [
    'DEGRADATION_REGISTRY', 'DINOIRArch', 'DPCLoss', 'Degradation', 'MixedDegradationDataset', 'RestorationModel',
    'Restorer', '__version__',
]  # fmt: skip

autoload.arm()


def __getattr__(name: str) -> object:
    """Load a public name when it is first asked for."""
    if name not in _PUBLIC:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    import importlib

    return getattr(importlib.import_module(_PUBLIC[name]), name)
