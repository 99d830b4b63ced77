"""The options of data sets, tasks and loaders."""


from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from dinoir_plugin.core.constraints import Above, AtLeast, Filled, FolderName, Words
from dinoir_plugin.core.errors import OptionsError, missing_option
from dinoir_plugin.core.options import expected, fields_of, option, read

Side = Annotated[int, AtLeast(1)]
BatchSize = Annotated[int, AtLeast(1)]
Workers = Annotated[int, AtLeast(0)]
Folder = Annotated[str, Words('a folder')]


@dataclass(frozen=True, kw_only=True)
class LoaderOptions:
    """Declare what BasicSR's loaders and prefetchers read of a data set's options."""

    batch_size_per_gpu: BatchSize | None = option('Samples in a batch, for each rank; a training set needs it.')
    num_worker_per_gpu: Workers | None = option(
        'Processes that load images, for each rank (0: the trainer itself); a training set needs it.'
    )
    dataset_enlarge_ratio: Annotated[float, Above(0)] = option('How often an epoch shows every image.', 1)
    prefetch_mode: Annotated[Literal['cpu', 'cuda'], Words('cpu, cuda or nothing')] | None = option(
        "What BasicSR's prefetchers prepare batches on."
    )
    num_prefetch_queue: Annotated[int, AtLeast(1)] | None = option('Batches in the queue of prefetch_mode: cpu.', 1)
    pin_memory: bool | None = option('Whether batches lie in pinned memory; prefetch_mode: cuda needs it.')
    persistent_workers: bool | None = option('Whether the processes that load images outlive an epoch.')


@dataclass(frozen=True, kw_only=True)
class StageOptions:
    """Declare one stage of a training run."""

    iters: Annotated[int, AtLeast(1)] = option('Length in iterations.', required=True)
    batch_size_per_gpu: BatchSize | None = option("Samples in a batch; the data set's where it is left out.")
    gt_size: Side | None = option("Side of the patches in pixels; the data set's where it is left out.")


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """Declare one task: either pairs (``dataroot_lq``), or clean images and a ``degradation``."""

    dataroot_gt: Folder | None = option('Clean images: a folder, or an LMDB.')
    dataroot_lq: Folder | None = option('Degraded images: a folder, or an LMDB.')
    dataroot_medium: Folder | None = option(
        'Half-restored images, named as those of dataroot_lq: a folder, or an LMDB; for losses that compare qualities.'
    )
    degradation: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = option(
        'What is done to clean images: type and parameters, or a list of such blocks, applied in order.'
    )
    meta_info_file: str | None = option('File whose lines name the images to take, or pairs: clean, degraded.')
    pairing: Literal['name', 'reside'] | None = option(
        'How pairs are found: by name (default), or as in RESIDE, where several degraded images have one clean image.'
    )
    filename_tmpl: str | None = option('Name of the degraded image, with {} for that of the clean one; default {}.')
    dataroot_depth: Folder | None = option('Depth maps, for haze.')
    depth_kind: Literal['depth', 'disparity'] | None = option('What the depth maps hold; default depth.')
    crop_multiple: Annotated[int, AtLeast(1)] = option(
        'In validation and tests images are cropped about the centre to sides that it divides, and then degraded.', 1
    )
    weight: Annotated[float, Above(0)] = option('Share of the samples, relative to that of the other tasks.', 1)
    repeat: Annotated[int, AtLeast(1)] = option("The literature's repeat factor, for sampling: proportional.", 1)


@dataclass(frozen=True, kw_only=True)
class DatasetOptions(LoaderOptions):
    """Declare the options of :class:`~dinoir_plugin.data.mixed_degradation_dataset.MixedDegradationDataset`."""

    name: str = option('Name in the log; figures of a validation set go by it.', '', hidden=True)
    type: str = option('MixedDegradationDataset.', '', hidden=True)
    phase: Literal['train', 'val', 'test'] = option('Set by BasicSR.', 'train', hidden=True)
    tasks: Annotated[Mapping[str, TaskOptions], Filled('at least one task, a name and its block of options')] = option(
        'The tasks by name.', required=True
    )
    gt_size: Side | None = option('Side of the training patches in pixels; a training set without stages needs it.')
    stages: Annotated[Sequence[StageOptions], Filled()] | None = option('Stages with other batch and patch sizes.')
    sampling: Literal['balanced', 'proportional'] = option(
        'balanced: every task has the same share of the samples, times its weight. proportional: as many as its '
        'images, times its repeat and weight.', 'balanced'
    )  # fmt: skip
    on_error: Literal['stop', 'skip'] = option(
        'What training does about a file that cannot be used; skip takes the next image of the task.', 'stop'
    )
    second_patch: bool = option(
        'Whether items have a second patch of the same degraded image, as key, for losses that compare samples.', False
    )
    captions: str | None = option(
        'Table of captions, its columns filepath and title (`<caption>: <task>`) separated by a tab; items have theirs.'
    )
    use_hflip: bool = option('Whether patches are mirrored at random.', True)
    use_rot: bool = option('Whether patches are turned at random.', True)
    seed: Annotated[int, AtLeast(0)] | None = option(
        'Seed of crops, turns and degradations; manual_seed where that is given.', 0
    )
    done_iters: int = option('Where a resumed run goes on; set by the plugin.', 0, hidden=True)
    done_samples: int | None = option('How many samples it has seen; set by the plugin.', hidden=True)
    done_ranks: int | None = option(
        'On how many ranks, where their number is not known; set by the plugin.', hidden=True
    )
    scale: Any = option('Set by BasicSR.', hidden=True)
    # BasicSR's own files have these two: the first says what the folders' names say already, nobody reads the second
    io_backend: Any = option('Without effect.')
    use_shuffle: Any = option('Without effect.')


@dataclass(frozen=True, kw_only=True)
class DataBlock:
    """Declare what any data set has."""

    name: Annotated[str, FolderName()] = option('Name in the log; figures of a validation set go by it.', required=True)
    type: str = option('Registered name of the data set.', required=True)
    options: Mapping[str, Any] = option('Options of that data set.', keys='*')


def check_loader(options: Mapping[str, Any], path: str) -> None:
    """Check what BasicSR's loaders read of the options of a training set, whatever data set it is.

    Raises:
        OptionsError: Something is missing or wrong, with the option's full path.
    """
    known = fields_of(LoaderOptions)
    read_by_loader = read(LoaderOptions, {key: value for key, value in options.items() if key in known}, path)
    for key, kind in (('batch_size_per_gpu', BatchSize), ('num_worker_per_gpu', Workers)):
        if getattr(read_by_loader, key) is None:
            raise missing_option(f'{path}.{key}', expected(kind))
    if read_by_loader.prefetch_mode == 'cuda' and not read_by_loader.pin_memory:
        raise OptionsError(f'{path}.pin_memory', 'prefetch_mode: cuda needs pin_memory: true')
    if read_by_loader.persistent_workers and not read_by_loader.num_worker_per_gpu:
        raise OptionsError(f'{path}.persistent_workers', 'there are no workers that could stay', 'Remove it')
