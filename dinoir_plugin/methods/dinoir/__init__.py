"""DINO-IR (arXiv 2312.01677): a frozen DINOv2 guides a restoration backbone."""

# BasicSR first: its import sets off the hook that imports this folder's modules, and that has to be over before
# the body of any of them runs on its own account.
import basicsr  # noqa: F401

from dinoir_plugin.methods.dinoir.dinoir_arch import DINOIRArch
from dinoir_plugin.methods.dinoir.dpc_loss import DPCLoss
from dinoir_plugin.methods.dinoir.dr_fusion import DRFusion
from dinoir_plugin.methods.dinoir.psf import PixelSemanticFusion

__all__ = ['DINOIRArch', 'DPCLoss', 'DRFusion', 'PixelSemanticFusion']
