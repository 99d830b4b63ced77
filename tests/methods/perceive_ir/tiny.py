"""Options of a tiny Perceive-IR."""

CLIP_ARGS = {
    'embed_dim': 16, 'image_size': 32, 'patch_size': 16, 'vision_width': 16, 'vision_layers': 1, 'head_width': 16,
    'text_width': 32, 'text_heads': 2, 'text_layers': 1,
}  # fmt: skip
CLIP = {'weights': 'random', 'model_args': CLIP_ARGS}
MEDIUM = {'dim': 4, 'blocks': [1, 0, 0, 0], 'heads': [1, 1, 1, 1], 'refinement_blocks': 0}
# for an encoder of that width
NETWORK = {'dim': 8, 'blocks': [1, 1, 1, 1], 'heads': [1, 2, 4, 8], 'refinement_blocks': 0, 'semantic_dim': 48}
