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


def test_what_goes_through_at_once_is_limited_while_there_are_smaller_tiles():
    needs = Needs(1000, 0)
    assert choose(4000, 6000, needs, 100 * GIB).tile is None
    assert choose(4000, 6000, needs, 100 * GIB, most=4 * GIB).tile == 1536
    assert choose(4000, 6000, needs, 100 * GIB, tile=2048, most=4 * GIB).tile == 2048
    assert choose(4000, 6000, Needs(1e6, 0), 100 * GIB, most=4 * GIB).tile == memory.TILES[-1]


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Make up what the system says of its memory, in files below ``/proc`` and ``/sys/fs/cgroup``; no ``ulimit``."""

    def say(**files):
        for name, text in {'proc/meminfo': f'MemTotal: 9 kB\nMemAvailable: {5 * GIB >> 10} kB\n', **files}.items():
            path = tmp_path / name.replace('sys/', 'sys/fs/cgroup/')
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    monkeypatch.setattr(memory, 'Path', lambda path: tmp_path / path.removeprefix('/'))
    monkeypatch.setattr(memory, '_limit', list)
    return say


def test_free_memory_is_what_the_system_has_or_what_a_container_leaves(system):
    cpu = torch.device('cpu')
    system()
    assert free_memory(cpu) == 5 * GIB
    use = f'file 7\ninactive_file {GIB}\nactive_file 7\n'
    system(**{'sys/memory.max': 'max\n', 'sys/memory.current': f'{3 * GIB}\n', 'sys/memory.stat': use})
    assert free_memory(cpu) == 5 * GIB
    # files that were read count as used, but their place can be had
    system(**{'sys/memory.max': f'{4 * GIB}\n'})
    assert free_memory(cpu) == 2 * GIB
    system(**{'sys/memory.max': f'{GIB}\n'})
    assert free_memory(cpu) == 0


def test_free_memory_in_a_container_of_the_older_kind(system):
    use = f'inactive_file 7\ntotal_inactive_file {GIB}\n'
    folder = 'sys/memory/memory.'
    system(**{f'{folder}limit_in_bytes': str(4 * GIB), f'{folder}usage_in_bytes': str(3 * GIB), f'{folder}stat': use})
    assert free_memory(torch.device('cpu')) == 2 * GIB


def test_free_memory_is_no_more_than_ulimit_leaves():
    code = (
        'import resource, torch\n'
        'from dinoir_plugin.restore import memory\n'
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        'resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 28),) * 2)\n'
        "print(memory.free_memory(torch.device('cpu')))"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert (1 << 27) < int(done.stdout) <= 1 << 28


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
