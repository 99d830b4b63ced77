"""The losses of DA-CLIP's first stage: content and degradation of a degraded image."""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor

from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.methods.daclip.contrastive import contrastive
from dinoir_plugin.models.batch import Batch
from dinoir_plugin.models.losses import StepLoss

CONTENT, DEGRADATION = 'content', 'degradation'
# keys of what an embedding is held against, among Outputs.aux
CAPTION, CLEAN, WORD = 'caption', 'clean', 'word'
SCALE = 'scale'
Targets = Literal['duplicates', 'diagonal']


class Partner(NamedTuple):
    """Hold what embeddings are held against.

    Attributes:
        features: (B, D), not normalised.
        kinds: Numbers that are equal where texts are, (B,); None where nothing is known of equals.
    """

    features: Tensor
    kinds: Tensor | None = None


class PairLoss(StepLoss):
    """Hold an embedding of the degraded image against what belongs to it.

    Attributes:
        embedding: Its key among ``Outputs.aux``.
        partner: The key of the :class:`Partner`.
    """

    embedding: ClassVar[str]
    partner: ClassVar[str]

    def __init__(self, loss_weight: float = 1.0, targets: Targets = 'duplicates') -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.targets = targets

    def of_step(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Compute the loss of a training step, a scalar; all ranks call this together.

        Raises:
            ValueError: The outputs are those of another model.
        """
        if self.embedding not in outputs.aux or self.partner not in outputs.aux:
            raise ValueError(f'expected embeddings from the model, got none: {type(self).__name__} is for model_type '
                             'DACLIPStage1Model')  # fmt: skip
        partner: Partner = outputs.aux[self.partner]
        kinds = partner.kinds if self.targets == 'duplicates' else None
        found = contrastive(outputs.aux[self.embedding], partner.features, outputs.aux[SCALE], kinds)
        return self.loss_weight * found


@LOSS_REGISTRY.register()
class DACLIPCaptionLoss(PairLoss):
    """Draw the content of a degraded image to the caption of the clean one, and away from the batch's other captions.

    Args:
        loss_weight: Factor of the loss.
        targets: ``duplicates``: equal captions are no wrong answers to each other; ``diagonal``: they are, as with the
            authors.
    """

    embedding, partner, needs = CONTENT, CAPTION, frozenset({CAPTION})


@LOSS_REGISTRY.register()
class DACLIPCleanImageLoss(PairLoss):
    """Draw the content of a degraded image to what the frozen CLIP sees in the clean one.

    Ours, for data without captions: a clean image's embedding lies where those of its captions do.

    Args:
        loss_weight: Factor of the loss.
    """

    embedding, partner = CONTENT, CLEAN

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)


@LOSS_REGISTRY.register()
class DACLIPDegradationLoss(PairLoss):
    """Draw the degradation of an image to its word, the name of its task, and away from the batch's other words.

    Args:
        loss_weight: Factor of the loss.
        targets: ``duplicates``: equal words, of which a batch is full, are no wrong answers to each other;
            ``diagonal``: they are, as with the authors.
    """

    embedding, partner, needs = DEGRADATION, WORD, frozenset({'task'})
