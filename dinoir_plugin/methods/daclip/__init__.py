"""DA-CLIP (arXiv 2310.01018): a controlled CLIP tells a diffusion model content and degradation of an image."""

# BasicSR first: its import sets off the hook that imports this folder's modules, and that has to be over before
# the body of any of them runs on its own account.
import basicsr  # noqa: F401

from dinoir_plugin.methods.daclip.conditional_nafnet import ConditionalNAFNet
from dinoir_plugin.methods.daclip.conditional_unet import ConditionalUNet
from dinoir_plugin.methods.daclip.controller import DACLIP
from dinoir_plugin.methods.daclip.daclip_arch import DACLIPArch
from dinoir_plugin.methods.daclip.irsde import IRSDE
from dinoir_plugin.methods.daclip.prompt_nafnet_arch import PromptNAFNet
from dinoir_plugin.methods.daclip.words import WORDS, word_tokens

__all__ = [
    'DACLIP', 'IRSDE', 'WORDS', 'ConditionalNAFNet', 'ConditionalUNet', 'DACLIPArch', 'PromptNAFNet', 'word_tokens',
]  # fmt: skip
