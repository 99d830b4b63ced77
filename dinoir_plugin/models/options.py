"""The options that BasicSR's trainer and :class:`~dinoir_plugin.models.restoration_model.RestorationModel` read.

A derived model that reads more declares it: a dataclass derived from :class:`RunOptions`, as the model's attribute
``declares``.
"""


from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from dinoir_plugin.core.constraints import Above, BareOff, FolderName, From, Words
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.options import Block, option
from dinoir_plugin.data.options import DataBlock
from dinoir_plugin.inference.tiling import DEFAULT_OVERLAP

SUFFIX = '_opt'  # of a loss's key
FIRST = 'pixel'  # stands first in the log, as in BasicSR

FROM_CHECKPOINT = 'from_checkpoint'
Count = Annotated[int, From(1)]
Whole = Annotated[int, From()]


@dataclass(frozen=True, kw_only=True)
class PhaseOptions:
    """Declare one phase of a training run."""

    iters: Count = option('Length in iterations; the last phase goes on to the end of the run.', required=True)
    losses: Sequence[str] | None = option('Names of the losses that count (pixel for pixel_opt); default: all.')
    train_only: Sequence[str] | None = option('Names or patterns of the submodules that learn; default: all.')
    lr: Annotated[float, Above(0)] | None = option("Learning rate from here on; default: the scheduler's.")
    stage: Count | None = option('Stage of a network that is trained in stages (IDR); default: as before.')


@dataclass(frozen=True, kw_only=True)
class SchedulerOptions:
    """Declare the block ``train.scheduler``."""

    type: str = option("BasicSR's name of it: MultiStepLR or CosineAnnealingRestartLR.", required=True)
    milestones: Sequence[Whole] | None = option('MultiStepLR: iterations at which the learning rate falls.')
    restarts: Sequence[Whole] | None = option('MultiStepLR: iterations at which it starts anew.')
    periods: Sequence[Count] | None = option('CosineAnnealingRestartLR: lengths of its cycles in iterations.')
    arguments: Mapping[str, Any] = option('Its other arguments.', keys='*')


def loss_blocks(train: Mapping[str, Any]) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Find the losses in the block ``train``, which need not have been checked.

    Returns:
        Name to the path in the options file and the block there, the pixel loss first.
    """
    keys = [str(key) for key in train if str(key).endswith(SUFFIX)]
    found = {key.removesuffix(SUFFIX): (f'train.{key}', train[key]) for key in keys}
    named = train.get('losses')
    if isinstance(named, Mapping):
        found |= {name: (f'train.losses.{name}', block) for name, block in named.items()}
    return {name: found[name] for name in sorted(found, key=lambda name: name != FIRST) if found[name][1]}


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Declare the block ``train``."""

    total_iter: Count = option('Length of the run in iterations.', required='train')
    warmup_iter: Whole = option('Iterations in which the learning rate rises from zero; -1: none.', -1)
    ema_decay: float = option('Decay of the EMA weights; 0: none are kept.', 0.0)
    grad_clip_norm: float = option('Largest norm of all gradients together; 0: not clipped.', 0.0)
    optim_g: Block = option(
        'Optimizer of torch.optim and its arguments; decay_vectors: false keeps weight decay from biases, norms and '
        'scales.', required='train'
    )  # fmt: skip
    scheduler: SchedulerOptions = option("BasicSR's scheduler and its arguments.", required='train')
    blocks: Mapping[str, Block | None] = option('A loss: its registered type and arguments.', keys='*_opt')
    losses: Mapping[str, Block | None] | None = option('Losses by name, like those whose keys end in _opt.')
    phases: Sequence[PhaseOptions] | None = option('Phases with other losses, parts that learn or learning rates.')
    amp: Annotated[Literal['off', 'bf16', 'fp16'], BareOff(), Words('off, bf16 or fp16')] = option(
        'Precision of the training step.', 'off'
    )
    compile: bool = option('Whether the network is compiled for training.', False)
    cuda_graph: Annotated[Literal['auto', 'off'], BareOff(), Words('auto or off')] = option(
        'Whether a step on a GPU is recorded and launched as a whole, where the model allows it.', 'auto'
    )
    channels_last: bool = option('Whether its weights are laid out channels last.', False)
    checkpointing: Sequence[str] | None = option('Submodules that are computed anew in the backward pass, for memory.')
    on_resume: Annotated[Literal['options', 'state'], Words('options or state')] = option(
        'Whose learning rate, other arguments of the optimizer and schedule count in a resumed run where they differ: '
        "those of the options file or those of the checkpoint's training state.", 'options'
    )  # fmt: skip
    on_nonfinite: Annotated[Literal['stop', 'skip'], Words('stop or skip')] = option(
        'What is done about a step whose losses or gradients are not finite.', 'stop'
    )

    @classmethod
    def rules(cls, block: Mapping[str, Any], path: str, phase: str) -> Iterator[OptionsError]:
        """Ask for a loss, and for one of each name."""
        if phase == 'train' and not loss_blocks(block):
            yield OptionsError(path, 'expected at least one loss, got none', 'Give e.g. pixel_opt: {type: L1Loss}')
        named = block.get('losses')
        for name in named if isinstance(named, Mapping) else ():
            if block.get(f'{name}{SUFFIX}'):
                problem = f'there is a {path}.{name}{SUFFIX} as well'
                yield OptionsError(f'{path}.losses.{name}', problem, 'Give one of them another name')


@dataclass(frozen=True, kw_only=True)
class ValOptions:
    """Declare the block ``val``."""

    val_freq: Count = option('Iterations between two validations.', required='train')
    save_img: bool = option('Whether restored images are written.', required=True)
    pbar: bool = option('Whether a bar shows the progress.', False)
    tile: Count = option('Side of the tiles in which images are restored, in pixels; left out: whole images.')
    tile_overlap: Whole = option('How far tiles overlap, in pixels.', DEFAULT_OVERLAP)
    suffix: str | None = option("What is added to the names of restored images; default: the run's name.")
    metrics: Mapping[str, Any] | None = option('Metrics by the name of their column: registered type and arguments.')
    input: bool = option('Whether the degraded images are measured as well, once, to compare with.', True)
    sampler: Block | None = option("How the network restores an image; default: the network's own way, in one pass.")
    cuda_graph: Annotated[Literal['auto', 'off'], BareOff(), Words('auto or off')] = option(
        'Whether images and tiles of sizes that come again are restored on a GPU by recorded kernels, launched as a '
        'whole.', 'auto'
    )  # fmt: skip
    max_images: Count = option('How many images of each set are restored at most, spread evenly; left out: all.')


@dataclass(frozen=True, kw_only=True)
class WandbOptions:
    """Declare the block ``logger.wandb``."""

    project: str | None = option('Name of the project there; without it wandb is not used.')
    resume_id: str | None = option('The run to go on with.')


@dataclass(frozen=True, kw_only=True)
class LoggerOptions:
    """Declare the block ``logger``."""

    print_freq: Count = option('Iterations between two lines in the log.', required='train')
    save_checkpoint_freq: Count = option('Iterations between two checkpoints.', required='train')
    keep_last: Count = option('How many checkpoints are kept, beside the best; left out: all.')
    use_tb_logger: bool = option('Whether TensorBoard files are written.', required='train')
    wandb: WandbOptions | None = option('Weights & Biases.')


@dataclass(frozen=True, kw_only=True)
class PathOptions:
    """Declare the block ``path``."""

    pretrain_network_g: str | None = option('Checkpoint that the network starts from, or that is tested.')
    strict_load_g: bool = option('Whether its names and shapes must be those of the network.', True)
    param_key_g: str | None = option('params or params_ema: which weights of the file are taken.', 'params')
    resume_state: str | None = option('Training state to go on from.')
    ignore_resume_networks: Any = option('Networks whose weights a resumed run does not load.')
    experiments_root: str = option("Folder of the training runs' folders.")
    results_root: str = option("Folder of the test runs' folders.")


@dataclass(frozen=True, kw_only=True)
class DistOptions:
    """Declare the block ``dist_params``."""

    backend: str = option("torch.distributed's backend.", 'nccl')
    port: Count = option('Port of the first rank, for launcher slurm.', 29500)


@dataclass(frozen=True, kw_only=True)
class DatasetsOptions:
    """Declare the block ``datasets``."""

    sets: Mapping[str, DataBlock] = option('train, val or val_<name>; for tests also test or test_<name>.', keys='*')

    @classmethod
    def rules(cls, block: Mapping[str, Any], path: str, phase: str) -> Iterator[OptionsError]:
        """Ask for names that BasicSR knows, and for a training set."""
        for name in block:
            word = str(name).split('_')[0]
            if phase == 'train' and name != 'train' and word != 'val':
                yield OptionsError(f'{path}.{name}', f'expected train, val or val_<anything>, got {name!r}')
            if phase != 'train' and word not in ('val', 'test'):
                problem = f'expected test, val, or one of these and _<anything>, got {name!r}'
                yield OptionsError(f'{path}.{name}', problem)
        if phase == 'train' and 'train' not in block:
            yield OptionsError(f'{path}.train', 'this key is required, but missing')


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Declare all of an options file."""

    name: Annotated[str, FolderName()] = option('Name of the run, and of its folder.', required=True)
    model_type: str = option('Registered name of the model.', required=True)
    scale: Count = option('How much the network enlarges.', 1)
    num_gpu: Annotated[Literal['auto'] | Annotated[int, From(0)], Words("'auto' or a whole number from 0")] = option(
        'GPUs of a process without launcher; auto: all that there are.', required=True
    )
    manual_seed: Whole | None = option('Seed of all random numbers; without it each run has another.')
    find_unused_parameters: bool = option("Argument of torch's DistributedDataParallel.", False)
    dist_params: DistOptions | None = option('How ranks find each other.')
    datasets: DatasetsOptions = option('Data sets of training, validation and tests.', required=True)
    network_g: Annotated[Block | Literal['from_checkpoint'], Words('a block of options, or from_checkpoint')] = option(
        'The network: registered type and arguments, or from_checkpoint: what path.pretrain_network_g describes.',
        required=True,
    )
    path: PathOptions = option('Files and folders.', required=True)
    train: TrainOptions = option('How the network is trained.', required='train')
    val: ValOptions = option('How it is validated and tested.', required='test')
    logger: LoggerOptions = option('What is logged and saved.', required='train')
