"""Whatever stands in an options file or in an image's bytes: it works, or a message says what is wrong.

DINOIR_FUZZ sets how many examples each test tries; the default takes about a minute.
"""

import copy
import os
import re

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from skimage import data

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.yaml_options import read_options
from dinoir_plugin.imaging.reading import decode_image
from dinoir_plugin.preflight.builds import check_builds
from dinoir_plugin.preflight.reading import parse_as_host
from dinoir_plugin.preflight.schema import check_schema
from dinoir_plugin.preflight.values import run_values

EXAMPLES = int(os.environ.get('DINOIR_FUZZ', '40'))
QUIET = {'deadline': None, 'derandomize': True, 'suppress_health_check': [HealthCheck.function_scoped_fixture]}
# no number so large that a machine could not do what it asks for
VALUES = st.sampled_from(
    [None, True, False, -1, 0, 1, 2, 3, 7, 0.5, -0.5, 1e-3, float('nan'), float('inf'), '', 'x', 'auto', '1e-3', '../x',
     'Adam', 'L1Loss', [], [1], [3, 1], ['encoder_level1'], {}, {'type': 'Restormer'}]
)  # fmt: skip


def places(value, path=()):
    """The path of every entry of nested dicts and lists."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield (*path, key)
        yield from places(entry, (*path, key))


def mutate(options, draw):
    """One to three entries replaced, renamed or deleted."""
    for _ in range(draw(st.integers(1, 3))):
        *parents, last = draw(st.sampled_from(list(places(options))))
        block = options
        for key in parents:
            block = block[key]
        way = draw(st.sampled_from(['value', 'value', 'value', 'name', 'delete']))
        value = block.pop(last)
        if way == 'value':
            drawn = copy.deepcopy(draw(VALUES))  # later mutations may go into it
            block.insert(last, drawn) if isinstance(block, list) else block.update({last: drawn})
        elif way == 'name' and isinstance(block, dict):
            block[draw(st.sampled_from([f'{last}s', 'x', 7]))] = value


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp('images')
    for name in ('clean', 'rain'):
        (root / name).mkdir()
        cv2.imwrite(str(root / name / 'a.png'), data.chelsea()[:64, :96])
    return root


def trains_a_step(opt):
    """What train.py does from the parsed options on, for one iteration."""
    from basicsr.models import build_model
    from basicsr.train import create_train_val_dataloader
    from basicsr.utils import get_root_logger

    loader, sampler, _, _, _ = create_train_val_dataloader(opt, get_root_logger())
    sampler.set_epoch(0)
    model = build_model(opt)
    model.update_learning_rate(1, warmup_iter=opt['train'].get('warmup_iter', -1))
    model.feed_data(next(iter(loader)))
    model.optimize_parameters(1)
    model.get_current_log()


@settings(max_examples=EXAMPLES, **QUIET)
@given(draw=st.data())
def test_options_train_a_step_or_are_refused_by_key(folders, tiny_run, tmp_path, draw):
    options = copy.deepcopy(tiny_run(folders / 'clean', folders / 'rain'))
    mutate(options, draw.draw)
    path = tmp_path / 'options.yml'
    path.write_text(yaml.safe_dump(options))
    try:
        written = read_options(str(path))
        check_schema(written, is_train=True)
        opt, _ = parse_as_host(str(path), [], run_values(written, True), is_train=True)
        opt.update(dist=False, rank=0, world_size=1, auto_resume=False)
        check_builds(opt, is_train=True)
    except OptionsError as error:
        assert re.match(r'[\w.\[\]]+: .+', str(error)), str(error)
        return
    except SystemExit as error:
        assert str(path) in str(error)
        return
    trains_a_step(opt)


@settings(max_examples=EXAMPLES * 10, **QUIET)
@given(
    suffix=st.sampled_from(['.png', '.jpg', '.bmp', '.tif', '.webp']),
    cut=st.floats(0, 1),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8),
)
def test_image_bytes_decode_or_are_refused_by_name(suffix, cut, changes):
    data_bytes = bytearray(cv2.imencode(suffix, data.chelsea()[:40, :60])[1].tobytes())
    for place, value in changes:
        data_bytes[int(place * (len(data_bytes) - 1))] = value
    try:
        image = decode_image(bytes(data_bytes[: int(cut * len(data_bytes))]), 'the/image')
    except ValueError as error:
        assert str(error).startswith('the/image: ')
    else:
        assert image.dtype in (np.uint8, np.uint16)
        assert image.ndim == 2 or image.shape[2] == 3
