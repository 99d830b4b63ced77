"""A batch of the loader on its device, and what a training step knows of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from dinoir_plugin.core.transfer import to_device
from dinoir_plugin.encoders.frozen import FrozenEncoder
from dinoir_plugin.guidance.method import ReadFeatures

Wants = Mapping[FrozenEncoder, Sequence[int]]
# keys of an item that a batch has a place for
OWN = ('lq', 'gt', 'task', 'lq_path')


class FeatureCache:
    """Encode each image of a training step once, whoever asks.

    Images that are wanted of the same encoder go through it in one pass, without gradients.

    Args:
        images: Name (``lq``, ``gt``) to (B, 3, H, W), RGB in [0, 1].
        wants: Name of an image to what is wanted of it, by everyone who will ask.
    """

    def __init__(self, images: Mapping[str, Tensor], wants: Iterable[tuple[str, Wants]] = ()) -> None:
        self._images = images
        self._wanted: dict[FrozenEncoder, dict[str, None]] = {}
        self._layers: dict[FrozenEncoder, dict[int, None]] = {}
        self._found: dict[tuple[FrozenEncoder, str], dict[int, Tensor]] = {}
        for name, wanted in wants:
            for encoder, layers in wanted.items():
                self._wanted.setdefault(encoder, {})[name] = None
                self._layers.setdefault(encoder, {}).update(dict.fromkeys(layers))

    def read(self, encoder: FrozenEncoder, name: str, layers: Sequence[int]) -> Mapping[int, Tensor]:
        """Give an image's features, layer to (B, C, h, w), for at least the layers named."""
        found = self._found.setdefault((encoder, name), {})
        if any(layer not in found for layer in layers):
            self._encode(encoder, name, layers)
        return found

    def reader(self, name: str) -> ReadFeatures:
        """Give :meth:`read` for one image, as a guidance method takes it."""
        return lambda encoder, layers: self.read(encoder, name, layers)

    def _encode(self, encoder: FrozenEncoder, name: str, layers: Sequence[int]) -> None:
        shape = self._images[name].shape
        names = [name, *(other for other in self._wanted.get(encoder, ()) if other != name)]
        names = [each for each in self._images if each in names and self._images[each].shape == shape]
        wanted = {**self._layers.get(encoder, {}), **dict.fromkeys(layers)}
        with torch.no_grad():
            features = encoder(torch.cat([self._images[each] for each in names]), tuple(wanted))
        for layer, feature in features.items():
            for each, part in zip(names, feature.chunk(len(names))):
                self._found.setdefault((encoder, each), {})[layer] = part


@dataclass
class Batch:
    """Hold a batch.

    Attributes:
        lq: Degraded, (B, 3, H, W), RGB in [0, 1].
        gt: Target, the same range; None in tests without one.
        tasks: Task of each sample, where the loader gives them.
        files: File of each sample, where the loader gives them.
        others: What else the data set provides, tensors on the device.
        task_numbers: Place of each sample's task among the training set's, (B,), on the device; None where the loader
            gives no tasks.
        pad: Pads an image as the network is going to, for losses that compare features.
        features: Of ``lq`` and ``gt``, padded.
    """

    lq: Tensor
    gt: Tensor | None = None
    tasks: Sequence[str] = ()
    files: Sequence[str] = ()
    others: dict[str, Any] = field(default_factory=dict)
    task_numbers: Tensor | None = None
    pad: Callable[[Tensor], Tensor] = lambda image: image
    features: FeatureCache = field(default_factory=lambda: FeatureCache({}))

    @property
    def target(self) -> Tensor:
        """Give ``gt``, which training batches have.

        Raises:
            ValueError: There is none.
        """
        if self.gt is None:
            raise ValueError('expected a batch with a target (gt), got one without')
        return self.gt

    def tensors(self) -> dict[str, Tensor]:
        """Give what is on the device: by the attribute's name, or by its key among ``others``."""
        own = {'lq': self.lq, 'gt': self.gt, 'task_numbers': self.task_numbers}
        found = {**self.others, **own}
        return {name: value for name, value in found.items() if isinstance(value, Tensor)}

    def with_tensors(self, tensors: Mapping[str, Tensor]) -> Batch:
        """Make a batch with other tensors, named as :meth:`tensors` names them."""
        others = {key: tensors.get(key, value) for key, value in self.others.items()}
        return replace(
            self, lq=tensors['lq'], gt=tensors.get('gt'), task_numbers=tensors.get('task_numbers'), others=others
        )

    def items(self, names: Iterable[str]) -> dict[str, Any]:
        """Give those of ``others``, and the tasks (``task``), that are named and there."""
        there = {**self.others, 'task': self.tasks}
        return {name: there[name] for name in names if name in there}

    @classmethod
    def of(cls, data: Mapping[str, Any], device: torch.device, numbers: Mapping[str, int] | None = None) -> Batch:
        """Take what a loader gives to a device.

        Args:
            data: Of the loader.
            device: Where to.
            numbers: Place of each task among the training set's.
        """
        moved = {
            key: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
            for key, value in data.items()
        }
        others = {key: value for key, value in moved.items() if key not in OWN}
        tasks = data.get('task', ())
        places = None
        if numbers and len(tasks) == len(moved['lq']) and all(name in numbers for name in tasks):
            places = to_device(torch.tensor([numbers[name] for name in tasks]), device)
        return cls(moved['lq'], moved.get('gt'), tasks, data.get('lq_path', ()), others, places)

    def part(self, places: Sequence[int]) -> Batch:
        """Give some of the samples, by their places in the batch."""
        count = len(self.lq)
        wanted = to_device(torch.tensor(places), self.lq.device)

        def chosen(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value.index_select(0, wanted) if value.ndim and len(value) == count else value
            return [value[place] for place in places] if isinstance(value, (list, tuple)) else value

        others = {key: chosen(value) for key, value in self.others.items()}
        gt = None if self.gt is None else chosen(self.gt)
        tasks, files = (chosen(names) if names else () for names in (self.tasks, self.files))
        numbers = None if self.task_numbers is None else chosen(self.task_numbers)
        return Batch(chosen(self.lq), gt, tasks, files, others, numbers)

    def encoded_for(self, pad: Callable[[Tensor], Tensor], wants: Iterable[tuple[str, Wants]]) -> Batch:
        """Prepare for a training step: how the network pads, and what will be asked of encoders."""
        self.pad = pad
        images = {'lq': pad(self.lq)} if self.gt is None else {'lq': pad(self.lq), 'gt': pad(self.gt)}
        self.features = FeatureCache(images, wants)
        return self
