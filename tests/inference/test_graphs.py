"""Calls that come again are repeated with other numbers; what a graph cannot be is called as usual, and said to be."""

import copy

import pytest
import torch
from torch import nn

from dinoir_plugin.inference import graphs as module
from dinoir_plugin.inference.graphs import SEEN_BEFORE, directly
from dinoir_plugin.inference.tiling import restore_image
from dinoir_plugin.nn.cuda_graph import Recording
from tests.traced import TracedGraphs

CPU = torch.device('cpu')


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


@pytest.fixture
def graphs():
    return TracedGraphs()


@pytest.fixture
def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.GELU(), nn.Conv2d(4, 3, 3, padding=1)).eval()


def image(height, width):
    return torch.rand(1, 3, height, width)


def test_one_recording_serves_all_tiles_of_all_images(network, graphs):
    """The guide and where the tile lies in it are numbers on the device."""
    torch.manual_seed(0)
    for height, width in ((72, 96), (100, 71)):
        x = image(height, width)
        restored = restore_image(network, x, 32, 8, graphs=graphs)
        torch.testing.assert_close(restored, restore_image(network, x, 32, 8), rtol=1e-5, atol=1e-5)
    assert graphs.repeated == [24 - SEEN_BEFORE] and not graphs.lines


def test_whole_images_of_a_size_are_recorded_once_it_came_often_enough(network, graphs):
    torch.manual_seed(0)
    images = [image(32, 20) for _ in range(SEEN_BEFORE + 2)]
    for number, x in enumerate(images):
        restored = restore_image(network, x, graphs=graphs)
        torch.testing.assert_close(restored, restore_image(network, x), rtol=1e-5, atol=1e-5)
        # the encoder, and the network
        assert len(graphs.recorded) == (0 if number < SEEN_BEFORE else 2)
        restore_image(network, image(24, 32 + 8 * number), graphs=graphs)
    assert graphs.repeated == [2, 2]


def test_results_are_those_of_the_weights_as_they_are(small, graphs):
    x = image(8, 8)
    for _ in range(SEEN_BEFORE + 1):
        first = restore_image(small, x, graphs=graphs)
    small[0].weight.mul_(2)
    second = restore_image(small, x, graphs=graphs)
    assert graphs.repeated == [2] and not torch.allclose(first, second)
    assert torch.equal(second, restore_image(small, x))
    # elsewhere in memory
    small[0].weight.data = small[0].weight * 2
    third = restore_image(small, x, graphs=graphs)
    assert graphs.repeated == [2] and torch.equal(third, restore_image(small, x))
    graphs.forget()
    assert not graphs._recordings


def test_layout_precision_and_what_else_is_given_tell_calls_apart(small, graphs):
    def call(x, *more):
        for _ in range(SEEN_BEFORE + 1):
            graphs.of(small, CPU)(named, x, *more)

    def named(x, factor=1.0):
        assert not torch.is_grad_enabled()
        return small(x) * factor

    call(image(8, 8))
    call(image(8, 8).to(memory_format=torch.channels_last))
    call(image(8, 8), 2.0)
    with torch.autocast('cpu', torch.bfloat16):
        call(image(8, 8))
    call(image(8, 16)[..., ::2])  # of the first one's layout once it is copied
    assert graphs.repeated == [4, 1, 1, 1]
    assert graphs.recorded[-1].made[0].dtype is torch.bfloat16


def test_few_recordings_are_kept_and_dropped_ones_have_to_come_more_often(small, graphs, monkeypatch):
    monkeypatch.setattr(module, 'MOST', 2)
    # more sizes than are kept, in turns: the worst that can be
    for number in range(3 * 3 * 8):
        restore_image(small, image(8, 8 + number % 3), graphs=graphs)
        assert len(graphs._recordings) <= 2
    assert len(graphs.recorded) < 12
    monkeypatch.setattr(module, 'MOST_PIXELS', 100)
    before = len(graphs.recorded)
    for _ in range(SEEN_BEFORE + 1):
        restore_image(small, image(11, 11), graphs=graphs)
    assert len(graphs.recorded) == before


def test_what_waits_for_the_device_is_called_as_usual_and_said_once(small, graphs):
    class Waits(nn.Module):
        def forward(self, x):
            return small(x) * (2 if float(x.mean()) > 0 else 1)

    network = Waits().eval()
    for width in (8, 9):
        for _ in range(SEEN_BEFORE + 2):
            x = image(8, width)
            assert torch.equal(restore_image(network, x, graphs=graphs), 2 * small(x))
    (line,) = graphs.lines
    assert 'any_size cannot be a CUDA graph and is called as usual' in line and not graphs._recordings


class Hook:
    calls = 0

    def __call__(self, *given):
        self.calls += 1


def test_where_calls_are_looked_at_they_are_made(small, graphs):
    assert graphs.of(small, CPU) == graphs._call
    handle = small[0].register_forward_hook(hook := Hook())
    for _ in range(SEEN_BEFORE + 2):
        restore_image(small, image(8, 8), graphs=graphs)
    assert hook.calls == SEEN_BEFORE + 2
    handle.remove()
    with torch.autograd.set_detect_anomaly(True, check_nan=False):
        assert graphs.of(small, CPU) is directly
    with torch.enable_grad():
        assert graphs.of(small, CPU) is directly
    assert graphs.of(small.train(), CPU) is directly
    assert [line.partition(': ')[2] for line in graphs.lines] == [
        "'0' has a hook, which would not be called.", 'torch looks for anomalies.', 'the network learns.',
    ]  # fmt: skip
    for other in (TracedGraphs('off'), TracedGraphs(False)):
        assert other.of(small.eval(), CPU) is directly and not other.lines
    assert graphs.of(small, torch.device('meta')) is directly


def test_memory_that_is_needed_otherwise_is_given_back(small, graphs):
    for _ in range(SEEN_BEFORE + 1):
        restore_image(small, image(8, 8), graphs=graphs)
    assert graphs._recordings

    def large(x):
        if graphs._recordings:
            raise torch.cuda.OutOfMemoryError('CUDA out of memory')
        return small(x)

    assert torch.equal(graphs.of(small, CPU)(large, x := image(8, 9)), small(x))
    assert graphs.of(small, CPU) is directly
    assert 'the memory is needed otherwise' in graphs.lines[0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('precision', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('tile', [None, 48])
def test_graphs_give_what_calls_give(network, precision, tile):
    net, lines = copy.deepcopy(network).cuda(), []
    graphs = module.Graphs('auto', lines.append)
    torch.manual_seed(0)
    images = [image(88, 64).cuda() for _ in range(SEEN_BEFORE + 2)]
    for number, x in enumerate(images):
        with torch.autocast('cuda', precision, enabled=precision is not torch.float32):
            given, expected = (restore_image(net, x, tile, 16, graphs=how) for how in (graphs, None))
        torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-4 if precision is torch.float32 else 5e-2)
        # work of other kinds between two images takes memory, and must not meet that of the graphs
        torch.full((1 << 22,), torch.nan, device='cuda')
        assert bool(graphs._recordings) == (tile is not None or number >= SEEN_BEFORE)
    assert not lines
    graphs.forget()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_a_recording_that_fails_leaves_everything_as_it_was(small):
    net, x, lines = copy.deepcopy(small).cuda(), image(8, 8).cuda(), []
    before = torch.cuda.current_stream()
    with pytest.raises(RuntimeError):
        Recording(lambda kept: net(kept[0]) * float(kept[0].mean()), [x])
    assert torch.cuda.current_stream() == before
    graphs = module.Graphs('auto', lines.append)
    for _ in range(SEEN_BEFORE + 2):
        torch.testing.assert_close(restore_image(net, x, graphs=graphs), net(x))
    assert graphs._recordings and not lines
