"""The model's name in DINO-IR's options files."""

from __future__ import annotations

from basicsr.utils.registry import MODEL_REGISTRY

from dinoir_plugin.models.restoration_model import RestorationModel


@MODEL_REGISTRY.register()
class DINOIRModel(RestorationModel):
    """Train and test as :class:`RestorationModel`; options files of DINO-IR have this name."""
