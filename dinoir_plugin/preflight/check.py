"""What ``dinoir check`` does: all checks of a run, one after the other, into one report and one image."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from dinoir_plugin.core.console import note
from dinoir_plugin.core.yaml_options import read_options, with_forced
from dinoir_plugin.guidance.guided_arch import encoders_of
from dinoir_plugin.models.options import FROM_CHECKPOINT
from dinoir_plugin.preflight.builds import build_network, builds_network, host_items, plain_items
from dinoir_plugin.preflight.check_item import CheckItem
from dinoir_plugin.preflight.contact_sheet import SheetRow, write_sheet
from dinoir_plugin.preflight.data_report import check_data
from dinoir_plugin.preflight.disk import check_disk
from dinoir_plugin.preflight.from_checkpoint import forced_in_two, takes_network, with_network
from dinoir_plugin.preflight.needs import uses_gpu
from dinoir_plugin.preflight.network_items import network_items
from dinoir_plugin.preflight.reading import is_training, parse_as_host
from dinoir_plugin.preflight.report import ERROR, OK, Finding, Report
from dinoir_plugin.preflight.schema import drives, schema_problems
from dinoir_plugin.preflight.step_time import time_run
from dinoir_plugin.preflight.values import run_values

TAKEN = f'network_g: {FROM_CHECKPOINT}'
NO_NETWORK = 'needs network_g'
TIME = 'time'


def check_run(
    path: str, forced: list[str], full: bool, folder: Path, auto_resume: bool = False, timed: bool | None = False
) -> tuple[Report, Path | None]:
    """Check a run that an options file describes.

    Args:
        path: The options file.
        forced: BasicSR's ``--force_yml`` entries.
        full: Whether to decode every image.
        folder: Where the contact sheet goes; made when needed.
        auto_resume: Whether the run is going to be called with ``--auto_resume``.
        timed: Whether steps of a training are timed; None: where a GPU makes them.

    Returns:
        The report, and where the contact sheet is; None where no sample could be drawn.

    Raises:
        SystemExit: The file cannot be read or is not YAML.
        OptionsError: A ``--force_yml`` entry without a value, or for a block that there is not.
        OSError: The sheet cannot be written.
    """
    before, inside = forced_in_two(forced)
    written = with_forced(read_options(path), before)
    is_train = is_training(written)
    report = Report()
    if takes_network(written) and not report.attempt(TAKEN, lambda: _take_network(written)):
        report.skip('everything else', NO_NETWORK)
        return report, None
    written = with_forced(written, inside)
    _check_schema(report, written, is_train)
    opt: dict[str, Any] = {}
    more = ['--auto_resume'] if auto_resume else []

    def parse() -> str:
        with contextlib.redirect_stdout(io.StringIO()):
            opt.update(parse_as_host(path, more, run_values(written, is_train), is_train)[0])
        return f'as {"train" if is_train else "test"}.py parses it'

    if not report.attempt('options', parse):
        report.skip('everything else', 'BasicSR cannot parse these options')
        return report, None
    rows, sheet = check_all(report, opt, is_train, full), None
    if rows:
        folder.mkdir(parents=True, exist_ok=True)
        sheet = folder / f'check_{str(opt["name"]).replace("/", "_")}.png'
        write_sheet(rows, sheet)
    if timed or (timed is None and is_train and drives(opt) and uses_gpu(opt['num_gpu'])):
        _time(report, opt, is_train, waits=timed is not None)
    return report, sheet


def _take_network(written: dict[str, Any]) -> str:
    written.update(with_network(written))
    return str(written['path']['pretrain_network_g'])


def _check_schema(report: Report, written: Mapping[str, Any], is_train: bool) -> None:
    if not drives(written):
        report.skip('schema', _reader(written))
        return
    problems = [str(problem) for problem in schema_problems(written, is_train)]
    report.has_bad_schema = bool(problems)
    kind = 'training' if is_train else 'testing'
    report.add(Finding('schema', f'keys and kinds of values, for {kind}', ERROR if problems else OK, problems))


def check_all(report: Report, opt: dict[str, Any], is_train: bool, full: bool) -> list[SheetRow]:
    """Add a row for each check item of a run.

    Args:
        report: Gets the rows.
        opt: The options as BasicSR's model and data sets get them.
        is_train: Whether they are for train.py or for test.py.
        full: Whether to decode every image.

    Returns:
        Samples of each task, for the contact sheet.
    """
    for item in host_items(opt):
        report.attempt(item.path, item.check)
    samples = check_data(report, opt['datasets'], full)
    for item in plain_items(opt, is_train):
        report.attempt(item.path, item.check)
    if builds_network(opt):
        _check_network(report, opt, is_train)
    else:
        report.skip('network_g', _reader(opt))
    if not drives(opt):
        report.skip('train' if is_train else 'val', _reader(opt))
    return samples


def _check_network(report: Report, opt: Mapping[str, Any], is_train: bool) -> None:
    """Add the network's row, and those of what depends on it."""
    built: list[nn.Module] = []

    def build() -> str:
        built.append(build_network(opt))
        return _describe(opt, built[0])

    report.attempt('network_g', build)
    items = network_items(opt, is_train)
    if drives(opt) and is_train and not report.failed('train.optim_g'):
        items.append(CheckItem('disk space', partial(check_disk, opt)))
    for item in items:
        if built:
            report.attempt(item.path, partial(item.check, built[0]))
        else:
            report.skip(item.path, NO_NETWORK)


def _time(report: Report, opt: Mapping[str, Any], is_train: bool, waits: bool) -> None:
    """Add the row of the run's time and memory, where there is one to be timed.

    Args:
        report: Has the rows of all other checks.
        opt: BasicSR's options, parsed.
        is_train: Whether they are for train.py or for test.py.
        waits: Whether it may take minutes.
    """
    if not is_train:
        report.skip(TIME, 'a test makes no training steps')
    elif not drives(opt):
        report.skip(TIME, _reader(opt))
    elif report.has_errors:
        report.skip(TIME, 'training steps are timed where nothing else is wrong')
    elif opt['train'].get('compile') and not waits:
        report.skip(TIME, 'train.compile takes a minute before the first step, for which --time waits')
    else:
        note('timing training steps')
        report.attempt(TIME, partial(time_run, opt))


def _reader(opt: Mapping[str, Any]) -> str:
    """Say why options of a model that is not the plugin's are not checked."""
    return f'read by {opt.get("model_type")}, which does not declare its options; RestorationModel does'


def _describe(opt: Mapping[str, Any], network: nn.Module) -> str:
    trained = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    options = opt['network_g']
    words = [options['type'], f'{trained / 1e6:.2f} M parameters to train']
    if isinstance(options.get('backbone'), Mapping):
        words.append(f'backbone {options["backbone"].get("type")}')
    words += [f'{key} {encoder.name}, weights {encoder.weights}' for key, encoder in encoders_of(network).items()]
    return ', '.join(words)
