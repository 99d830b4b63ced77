"""Networks for other programs: ONNX and torch.export with the encoder inside, and the two checkpoint formats."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental import _config as shape_config

from dinoir_plugin.core import network_file
from dinoir_plugin.core.atomic_files import write_atomic
from dinoir_plugin.core.console import note
from dinoir_plugin.core.errors import nearest
from dinoir_plugin.core.fitting import fit
from dinoir_plugin.core.outputs import as_outputs
from dinoir_plugin.core.wording import size_text, told_apart
from dinoir_plugin.guidance.guided_arch import backbone_of, encoders_of
from dinoir_plugin.inference.padding import any_size, size_rule
from dinoir_plugin.inference.sampler import Feedforward, sampler_for
from dinoir_plugin.restore.building import build, build_network

GRAPHS = ('.onnx', '.pt2')
CHECKPOINTS = ('.pth', '.safetensors')
LEAST_SIDE, MOST_SIDE = 32, 16384
TRACED = (96, 120)
CHECKED = ((64, 96), (101, 67), (150, 203))
TOLERANCE = 1e-4  # of the largest value, 1 at least: other programs add up in another order


class AnySize(nn.Module):
    """Put a network behind padding that an exported graph can hold for all sizes.

    The padding is the network's own (mirrored, or zeros where it says so), written with indices, because a graph has
    no branches.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        rule = size_rule(network)
        self.multiple, self.zeros = rule.multiple, rule.pad_mode == 'zeros'

    def forward(self, lq: Tensor) -> Tensor:
        """Restore (1, 3, H, W), RGB in [0, 1]; sides from LEAST_SIDE."""
        height, width = lq.shape[-2:]
        image = lq
        for axis, side in ((2, height), (3, width)):
            places = torch.arange((side + self.multiple - 1) // self.multiple * self.multiple, device=lq.device)
            inside = places < side
            image = image.index_select(axis, torch.where(inside, places, 2 * (side - 1) - places).clamp(min=0))
            if self.zeros:
                image = image * inside.to(image.dtype).unflatten(0, (-1, 1) if axis == 2 else (1, -1))
        restored = as_outputs(self.network(image)).image
        return restored.index_select(2, torch.arange(height)).index_select(3, torch.arange(width))


def export(
    checkpoint: str | Path,
    out: str | Path,
    encoder_weights: str | None = None,
    options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> str:
    """Write a network in the format that the ending of ``out`` names.

    ``.onnx`` and ``.pt2`` take and give (1, 3, H, W), RGB in [0, 1], with sides from 32 pixels, or from the network's
    ``size_minimum`` where that is more, and are run on three sizes before they are written. ``.pth`` and
    ``.safetensors`` are checkpoints for :meth:`~dinoir_plugin.restore.restorer.Restorer.from_checkpoint`.

    Args:
        checkpoint: The trained network.
        out: Where to.
        encoder_weights: See :func:`~dinoir_plugin.restore.building.build`.
        options: See :func:`~dinoir_plugin.restore.building.build`.
        overwrite: Whether ``out`` may be there.

    Returns:
        A sentence about what was written.

    Raises:
        FileError: A file cannot be read or written.
        OptionsError: The network cannot be built.
        ValueError: Another ending, a file that is there, a missing package, or a network that cannot be exported.
    """
    out = Path(out).expanduser()
    if out.suffix not in GRAPHS + CHECKPOINTS:
        raise ValueError(f"{out}: cannot write '{out.suffix}'; {nearest(out.suffix, GRAPHS + CHECKPOINTS)}")
    if out.exists() and not overwrite:
        raise ValueError(f'{out} is there already: --overwrite replaces it')
    if out.suffix in CHECKPOINTS:
        file = network_file.read(checkpoint)
        if encoder_weights is not None and options is None:
            raise ValueError('--encoder-weights: the weights of the encoder are in no checkpoint; leave it out')
        if options is not None:
            network: Any = build_network(checkpoint, file, encoder_weights, options)
            fits = {name: fit(state, network) for name, state in file.states.items()}
            problems = [found.problem(outside=file.description is None) for found in fits.values()]
            if any(problems):
                raise ValueError(f'{checkpoint} does not fit these options: the file {max(problems)}')
            prints = {name: encoder.fingerprint for name, encoder in encoders_of(network).items()}
            about = network_file.Description(dict(options), prints)
            file = network_file.NetworkFile({name: found.state for name, found in fits.items()}, about)
        network_file.write(out, file)
        return f'{out}: {out.stat().st_size / 1e6:.1f} MB'
    built = build(checkpoint, encoder_weights=encoder_weights, options=options)
    sampler = sampler_for(built.network, built.file.description.sampler if built.file.description else None)
    if not isinstance(sampler, Feedforward):
        kind = type(sampler).__name__
        raise ValueError(f'{out}: the network restores in steps ({kind}), of which a graph holds only one')
    data, run = _graph(built.network, out.suffix)
    note(f'comparing it with the network on {len(CHECKED)} sizes')
    with _explained(built.network):
        difference = _largest_difference(built.network, run)
    if not difference <= TOLERANCE:  # NaN is no good either
        off, most = told_apart(difference, TOLERANCE, lambda number, digits: f'{number:.{digits}e}')
        raise ValueError(f'{out} was not written: its results differ from the network by {off}, more than {most}')
    write_atomic(out, data)
    sizes = ', '.join(size_text(size) for size in _checked(built.network))
    return f'{out}: {len(data) / 1e6:.1f} MB; differs from the network by at most {difference:.1e} (at {sizes})'


def _graph(network: nn.Module, suffix: str) -> tuple[bytes, Callable[[Tensor], Tensor]]:
    """Make the bytes of the file, and what a program that reads them computes."""
    note('tracing the network, which takes about a minute, a large one several')
    least = _least_side(network)
    height, width = (torch.export.Dim(name, min=least, max=MOST_SIDE) for name in ('height', 'width'))
    with _explained(network), _of_any_extent():
        program = torch.export.export(
            AnySize(network).eval(), (torch.rand(1, 3, *TRACED),), dynamic_shapes=({2: height, 3: width},),
            strict=False, prefer_deferred_runtime_asserts_over_guards=True,
        )  # fmt: skip
    if suffix == '.pt2':
        stream = io.BytesIO()
        torch.export.save(program, stream)
        return stream.getvalue(), torch.export.load(io.BytesIO(stream.getvalue())).module()
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(f"ONNX needs more packages ({error}): pip install 'dinoir_plugin[export]'") from error
    note('writing it as ONNX, which takes as long again')
    with _explained(network):
        written = torch.onnx.export(
            program, dynamo=True, external_data=False, input_names=['lq'], output_names=['restored'], verbose=False
        )
        data: bytes = written.model_proto.SerializeToString()  # type: ignore[union-attr]
    session = onnxruntime.InferenceSession(data)
    return data, lambda image: torch.from_numpy(session.run(None, {'lq': image.numpy()})[0])


def _of_any_extent() -> contextlib.AbstractContextManager[Any]:
    """Have the exporter leave open whether a map inside is one pixel high."""
    config: Any = shape_config
    patched: contextlib.AbstractContextManager[Any] = config.patch(backed_size_oblivious=True)
    return patched


@contextlib.contextmanager
def _explained(network: nn.Module) -> Iterator[None]:
    try:
        yield
    # the exporters raise whatever the network's own code meets, in long texts
    except Exception as error:
        backbone = backbone_of(network)
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
        raise ValueError(f'{type(backbone).__name__} cannot be exported for all sizes: {reason}') from error


def _least_side(network: nn.Module) -> int:
    """Give the shortest side that a graph takes; a network whose graph holds from more pixels on says so itself."""
    return max(LEAST_SIDE, size_rule(network).minimum, getattr(backbone_of(network), 'graph_minimum', 1))


def _checked(network: nn.Module) -> list[list[int]]:
    """Give the heights and widths at which the written graph is compared with the network."""
    least = _least_side(network)
    return [[max(side, least) for side in size] for size in CHECKED]


@torch.no_grad()
def _largest_difference(network: nn.Module, run: Callable[[Tensor], Tensor]) -> float:
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(1, 3, *size, generator=generator) for size in _checked(network)]
    pairs = [(run(image), any_size(network, image)) for image in images]
    return max(float((made - own).abs().max() / own.abs().max().clamp_min(1)) for made, own in pairs)
