"""Hold what is done beside the caller to its order and small numbers, and its errors to come at once."""

import json
import threading
import time
from types import SimpleNamespace

import pytest
import torch
from basicsr.models import build_model
from torch import nn

from dinoir_plugin.core.atomic_files import FileError
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.transfer import OnTheWay, to_device
from dinoir_plugin.models import restoration_model, validation
from dinoir_plugin.models.beside import MOST, THREADS, Beside
from dinoir_plugin.models.validation import Validation
from tests.models.test_restoration_model import options  # noqa: F401
from tests.models.test_validation import PSNR, Board, log, pairs, small  # noqa: F401
from tests.traced import TracedGraphs

# as the host names it, without a number
GPU = torch.device('cuda')


@pytest.fixture
def threads(monkeypatch):
    """Lets a device that is not there be chosen; holds by which threads it was."""
    chosen = []
    monkeypatch.setattr(torch.cuda, 'current_device', lambda: 1)
    monkeypatch.setattr(torch.cuda, 'set_device', lambda device: chosen.append((threading.get_ident(), device)))
    return chosen


def test_results_come_in_the_order_of_the_tasks_of_which_few_are_there(threads):
    begun, doors = [], [threading.Event() for _ in range(9)]

    def task(number):
        assert doors[number].wait(10)
        return number, threading.get_ident()

    with Beside(GPU) as beside:
        for number in range(9):
            if number >= MOST:
                doors[number - MOST].set()  # else it would wait for ever
            beside.do(lambda number=number: task(number))
            begun.append(number)
            assert len(begun) - sum(door.is_set() for door in doors) <= MOST
        for door in reversed(doors):
            door.set()
        results = beside.results()
    assert [number for number, _ in results] == list(range(9))
    assert {thread for _, thread in results} <= {thread for thread, _ in threads}
    assert 1 < len(threads) <= THREADS and {device for _, device in threads} == {1}
    assert threading.get_ident() not in {thread for thread, _ in threads}
    with Beside(torch.device('cpu')) as beside:
        beside.do(threading.get_ident)
        assert beside.results() == [threading.get_ident()]


def test_an_error_comes_to_the_caller_with_one_of_the_next_tasks(threads):
    done = []

    def fails():
        raise ValueError('the first one')

    with pytest.raises(ValueError, match='the first one'), Beside(GPU) as beside:
        beside.do(fails)
        for number in range(100):
            time.sleep(0.01)
            beside.do(lambda number=number: done.append(number))
    assert len(done) < 100
    assert not {thread.ident for thread in threading.enumerate()} & {thread for thread, _ in threads}


def test_tensors_of_the_cpu_are_there_already():
    image = torch.rand(1, 3, 4, 4, requires_grad=True)
    held = OnTheWay({'image': image, 'other': torch.ones(2)}).arrived()
    assert held['image'].data_ptr() == image.data_ptr() and not held['image'].requires_grad
    assert list(held) == ['image', 'other'] and to_device(held['other'], torch.device('cpu')) is held['other']


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_what_is_computed_later_does_not_change_what_is_on_its_way():
    values = torch.arange(1 << 22, device='cuda')
    for _ in range(5):
        held = OnTheWay({'values': values})
        values += 1
        assert torch.equal(held.arrived()['values'], values.cpu() - 1) and held.arrived()['values'].is_pinned()
    assert torch.equal(to_device(values.cpu()[::2], GPU), values[::2])


class Net(nn.Module):
    """Gives the image twice as bright, and counts."""

    size_multiple, calls = 1, 0

    def forward(self, image):
        type(self).calls += 1
        return image * 2


def validated(small, folder, monkeypatch):  # noqa: F811
    """Validate four images; gives what was written and shown."""
    small['val'] = {'save_img': True, 'metrics': PSNR}
    small['path'] = {**small['path'], 'visualization': str(folder), 'experiments_root': str(folder)}
    model, board = build_model(small), Board()
    model.net_g_ema = Net().eval()
    Validation(model, SimpleNamespace(dataset=pairs(rain=(24, 20), haze=(24, 20))), 1, True).run(board)
    files = {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob('*.png'))}
    content = json.loads((folder / 'metrics_set.json').read_text())
    return files, content['images'], list(board.strips), [strip.tolist() for strip in board.strips.values()], model


def test_images_measured_beside_a_gpu_have_the_same_figures_and_files(small, log, threads, tmp_path, monkeypatch):  # noqa: F811
    here = validated(small, tmp_path / 'here', monkeypatch)
    monkeypatch.setattr(validation, 'Beside', lambda device: Beside(GPU))
    # the calls of the network are repeated, too
    monkeypatch.setattr(restoration_model, 'Graphs', TracedGraphs)
    beside = validated(small, tmp_path / 'beside', monkeypatch)
    assert threads and len(here[0]) == 4 and here[:-1] == beside[:-1]
    assert beside[-1].graphs.repeated == [2]


def test_an_image_that_cannot_be_measured_or_written_is_named(small, log, threads, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(validation, 'Beside', lambda device: Beside(GPU))

    monkeypatch.setattr(validation, 'imwrite', lambda *given: (_ for _ in ()).throw(OSError('the disk is full')))
    with pytest.raises(FileError, match=r'rain0_1\.png: the restored image cannot be written \(the disk is full\)'):
        validated(small, tmp_path, monkeypatch)
    monkeypatch.setattr(validation, 'imwrite', lambda *given: None)
    monkeypatch.setitem(PSNR, 'ssim', {'type': 'calculate_ssim', 'crop_border': 10})
    with pytest.raises(OptionsError, match=r'val\.metrics\.ssim: cannot measure rain0\.png'):
        validated(small, tmp_path, monkeypatch)
