"""A tiny network of IR-SDE with a tiny DA-CLIP, and the options of a run that trains it."""

import copy

CLIP = {'embed_dim': 16, 'image_size': 32, 'patch_size': 16, 'vision_width': 16, 'vision_layers': 1, 'head_width': 8,
        'context_length': 8, 'vocab_size': 50, 'text_width': 16, 'text_heads': 2, 'text_layers': 1}  # fmt: skip
UNET = {'type': 'ConditionalUNet', 'nf': 32, 'ch_mult': [1, 1], 'context_dim': 16, 'use_image_context': True}
NAFNET = {'type': 'ConditionalNAFNet', 'width': 8, 'enc_blk_nums': [1], 'dec_blk_nums': [1]}
NETWORK = {
    'type': 'IRSDEArch', 'backbone': UNET, 'daclip': {'weights': 'random', 'model_args': CLIP},
    'sde': {'max_sigma': 30, 'T': 8},
}  # fmt: skip
SINGLE = {'type': 'IRSDEArch', 'backbone': NAFNET, 'sde': {'T': 8}}


def arguments(network):
    """Give a network's options without its type."""
    return copy.deepcopy({key: value for key, value in network.items() if key != 'type'})


def options(folder, network=NETWORK, **train):
    """Give the options of a run, as BasicSR parses them."""
    names = ('models', 'training_states', 'visualization', 'experiments_root')
    return {
        'name': 'tiny', 'model_type': 'SDEModel', 'num_gpu': 0, 'dist': False, 'is_train': True, 'rank': 0,
        'world_size': 1, 'manual_seed': 0, 'network_g': copy.deepcopy(network), 'logger': {},
        'datasets': {'train': {'name': 'x', 'tasks': {'noisy': {}}, 'gt_size': 32}},
        'path': {name: str(folder) for name in names},
        'train': {
            'total_iter': 4, 'ema_decay': 0.9, 'optim_g': {'type': 'AdamW', 'lr': 1.0e-3},
            'scheduler': {'type': 'MultiStepLR', 'milestones': [100]}, 'sde_opt': {'type': 'SDELoss'}, **train,
        },
    }  # fmt: skip
