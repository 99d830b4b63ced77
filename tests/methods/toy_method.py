"""A guidance method of another kind than any that is shipped: tokens and a vector, no map, and a sampler of its own."""

from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY
from torch import nn
from torch.nn import functional as F

from dinoir_plugin.core.construct import build_registered
from dinoir_plugin.encoders.frozen import frozen_encoder
from dinoir_plugin.guidance.condition import Condition
from dinoir_plugin.guidance.guided_arch import GuidedArch
from dinoir_plugin.guidance.injector import Injector
from dinoir_plugin.guidance.method import GuidanceMethod
from dinoir_plugin.inference.sampler import Sampler, register_sampler
from dinoir_plugin.models.losses import StepLoss

LAYER = 1


class CrossAttention(Injector):
    """Pixels attend to the tokens; the vector scales and shifts what comes of it."""

    def __init__(self, channels, width):
        super().__init__()
        self.query, self.value = nn.Conv2d(channels, width, 1), nn.Linear(width, channels)
        self.modulation = nn.Linear(width, 2 * channels)

    def forward(self, feature, condition):
        pixels = self.query(feature).flatten(2).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(pixels, condition.tokens, condition.tokens)
        scale, shift = self.modulation(condition.vector)[..., None, None].chunk(2, dim=1)
        return feature * (1 + scale) + shift + self.value(mixed).transpose(1, 2).unflatten(2, feature.shape[-2:])


class Toy(GuidanceMethod):
    def __init__(self, encoder, width):
        super().__init__()
        self.encoder, self.width = encoder, width
        self.to_tokens = nn.Linear(encoder.widths[LAYER], width)
        self.strength = None

    def encoders(self):
        return {'eyes': self.encoder}

    def wants(self):
        return {self.encoder: (LAYER,)}

    def encode(self, image, read=None):
        return (self.encoder if read is None else lambda _, layers: read(self.encoder, layers))(image, (LAYER,))[LAYER]

    def forward(self, encodings):
        tokens = self.to_tokens(encodings.flatten(2).transpose(1, 2))
        self.strength = tokens.detach().abs().mean()
        return Condition(tokens=tokens, vector=tokens.mean(dim=1))

    def injector(self, channels):
        return CrossAttention(channels, self.width)

    def scalars(self):
        return {} if self.strength is None else {'toy/strength': self.strength}


@ARCH_REGISTRY.register()
class ToyArch(GuidedArch):
    def __init__(self, backbone, eyes, guide_at, width=8):
        built = build_registered(ARCH_REGISTRY, backbone, 'backbone')
        super().__init__(built, Toy(frozen_encoder(**eyes), width), guide_at)


@LOSS_REGISTRY.register()
class ToyLoss(StepLoss):
    """Distance of what the eyes see of output and target."""

    needs = frozenset({'lq_path'})

    def __init__(self, encoder, loss_weight=1.0):
        super().__init__()
        self.encoder, self.loss_weight = encoder, loss_weight

    def wants(self):
        return {self.encoder: (LAYER,)}

    def of_step(self, outputs, batch):
        target = batch.features.read(self.encoder, 'gt', (LAYER,))[LAYER]
        return self.loss_weight * F.l1_loss(self.encoder(batch.pad(outputs.image), (LAYER,))[LAYER], target)


@register_sampler
class Twice(Sampler):
    """Restores what it has restored."""

    def __init__(self, steps=2):
        self.steps = steps

    def restore(self, network, lq):
        for _ in range(self.steps):
            lq = network(lq)
        return lq


def encode_count(encoder):
    """Counts the passes of an encoder's network while it is open."""
    calls = []
    handle = encoder._net.register_forward_hook(lambda module, inputs, output: calls.append(inputs[0].shape[0]))
    return calls, handle


