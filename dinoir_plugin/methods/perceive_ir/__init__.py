"""Perceive-IR (arXiv 2408.15994): quality prompts judge, semantic vectors and a degradation code guide a network."""

# BasicSR first: its import sets off the hook that imports this folder's modules, and that has to be over before
# the body of any of them runs on its own account.
import basicsr  # noqa: F401

from dinoir_plugin.methods.perceive_ir.blocks import EnhancedTransformerBlock
from dinoir_plugin.methods.perceive_ir.clip_aware import clip_aware_loss
from dinoir_plugin.methods.perceive_ir.code_contrast import code_contrast_loss
from dinoir_plugin.methods.perceive_ir.degradation_code import CompactFeatureExtraction
from dinoir_plugin.methods.perceive_ir.difficulty import difficulty_adaptive_loss
from dinoir_plugin.methods.perceive_ir.network_arch import PerceiveIR, RestormerMedium
from dinoir_plugin.methods.perceive_ir.perceive_ir_arch import PerceiveIRArch
from dinoir_plugin.methods.perceive_ir.prompt_guidance import PromptGuidanceModule
from dinoir_plugin.methods.perceive_ir.prompts import QualityPrompts
from dinoir_plugin.methods.perceive_ir.semantics import semantic_vectors

__all__ = [
    'CompactFeatureExtraction',
    'EnhancedTransformerBlock',
    'PerceiveIR',
    'PerceiveIRArch',
    'PromptGuidanceModule',
    'QualityPrompts',
    'RestormerMedium',
    'clip_aware_loss',
    'code_contrast_loss',
    'difficulty_adaptive_loss',
    'semantic_vectors',
]
