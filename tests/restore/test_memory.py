import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import basicsr  # noqa: F401, isort: skip - fills the registries
from dinoir_plugin.archs.nafnet_arch import NAFNet
from dinoir_plugin.core import network_file
from dinoir_plugin.restore import memory
from dinoir_plugin.restore.memory import (
    GIB,
    Needs,
    OutOfMemory,
    TilePlan,
    bytes_needed,
    choose,
    free_memory,
    peak_bytes,
)

SMALL = {'width': 4, 'middle_blk_num': 1, 'enc_blk_nums': [1], 'dec_blk_nums': [1]}
# sets a limit of so many bytes above what is there already, as `ulimit -v` does, then restores
LIMITED = """
import resource, sys, torch
from dinoir_plugin.cli import main
from dinoir_plugin.restore import restorer
torch.set_num_threads(1)
used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[1]),) * 2)
sys.exit(main(sys.argv[2:]))
"""


def test_peak_counts_what_is_there_at_once():
    def run():
        kept = torch.zeros(1000)
        for _ in range(5):
            passing = kept + 1
            del passing
        return kept.view(10, 100)

    assert peak_bytes(run) == 8000


@pytest.mark.parametrize('free', [0.5, 2, 8, 100])
@pytest.mark.parametrize('size', [(200, 300), (1080, 1920), (5773, 8660), (17, 500_000)])
def test_a_plan_fits_and_the_next_larger_one_does_not(size, free):
    needs = Needs(3000, 300)
    sides = [None, *memory.TILES]
    try:
        plan = choose(*size, needs, int(free * GIB))
    except OutOfMemory as error:
        assert bytes_needed(*size, needs, memory.TILES[-1]) > memory.SHARE * free * GIB
        assert f'{size[1]}x{size[0]}' in str(error) and f'{free:.1f} GiB is free' in str(error)
        return
    assert bytes_needed(*size, needs, plan.tile) <= memory.SHARE * free * GIB
    larger = sides[: sides.index(plan.tile)]
    pixels = size[0] * size[1]
    for side in larger:
        too_large_for_the_encoder = side is None and pixels > memory.MOST_ENCODED
        assert too_large_for_the_encoder or bytes_needed(*size, needs, side) > memory.SHARE * free * GIB
    assert not plan.one_guide or pixels <= memory.MOST_ENCODED


def test_tiles_that_are_given_are_kept_or_refused():
    assert choose(4000, 4000, Needs(1000, 0), 8 * GIB, tile=256) == TilePlan(256, one_guide=False)
    with pytest.raises(OutOfMemory, match=r'in tiles of 2048 need about .* Try smaller tiles'):
        choose(4000, 4000, Needs(1000, 0), 2 * GIB, tile=2048)


def test_free_memory_is_what_the_system_says_or_less():
    free = free_memory(torch.device('cpu'))
    with open('/proc/meminfo') as file:
        total = int(next(line for line in file if line.startswith('MemTotal')).split()[1]) << 10
    assert 0 < free < total


@pytest.fixture(scope='module')
def small_checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp('small') / 'net.pth'
    about = network_file.Description({'type': 'NAFNet', **SMALL})
    network_file.write(path, network_file.NetworkFile({'params': NAFNet(**SMALL).state_dict()}, about))
    return path


@pytest.mark.parametrize(('limit', 'works'), [(1500, True), (150, False)])
def test_under_a_limit_a_image_is_tiled_or_says_what_it_needs(small_checkpoint, tmp_path, photo, limit, works):
    """3.6 megapixels: as a whole 1.9 GB for this network, so neither limit is enough for that."""
    Image.fromarray(np.tile(photo, (15, 20, 1))).save(tmp_path / 'large.png')
    words = ['restore', 'large.png', 'out.png', '--checkpoint', str(small_checkpoint), '--quiet']
    arguments = [sys.executable, '-c', LIMITED, str(limit << 20), *words]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path)
    assert 'Traceback' not in done.stderr
    assert (done.returncode, (tmp_path / 'out.png').exists()) == ((0, True) if works else (1, False)), done.stderr
    assert works or 'GiB of free memory' in done.stderr
