import numpy as np
import pytest
import torch
from PIL import Image

from dinoir_plugin import Restorer
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.imaging.decoding import ImageFileError
from dinoir_plugin.restore import restorer as restorer_module
from dinoir_plugin.restore.restorer import Settings
from tests.traced import TracedGraphs


@pytest.fixture(scope='module')
def restorer(checkpoint):
    return Restorer.from_checkpoint(checkpoint)


@pytest.fixture(scope='module')
def expected(network, photo):
    """What the network itself gives, as float RGB."""
    with torch.no_grad():
        output = network((torch.from_numpy(photo).permute(2, 0, 1)[None] / 255).contiguous())
    return output[0].permute(1, 2, 0).clamp(0, 1).numpy()


def test_array_pil_tensor_and_path_give_what_the_network_gives(restorer, expected, photo, tmp_path):
    assert np.abs(expected - photo / 255.0).mean() > 0.01
    whole = restorer.restore(photo)
    np.testing.assert_allclose(whole / 255, expected, rtol=0, atol=0.5 / 255 + 1e-5)
    np.testing.assert_array_equal(np.asarray(restorer.restore(Image.fromarray(photo))), whole)
    Image.fromarray(photo).save(tmp_path / 'x.png')
    np.testing.assert_array_equal(restorer.restore(tmp_path / 'x.png'), whole)
    np.testing.assert_array_equal(restorer.restore(str(tmp_path / 'x.png')), whole)
    tensor = torch.from_numpy(photo).permute(2, 0, 1) / 255
    torch.testing.assert_close(restorer.restore(tensor).permute(1, 2, 0).numpy(), expected, rtol=0, atol=1e-5)
    assert restorer.restore(torch.stack([tensor, tensor]).double()).dtype == torch.float64


@pytest.mark.parametrize('shape', [(1, 1), (9, 7, 1), (9, 7, 2), (9, 7, 4), (17, 500, 3), (500, 5, 3)])
@pytest.mark.parametrize('kind', [np.uint8, np.uint16, np.float32, np.float64])
def test_arrays_of_any_size_and_type_keep_both(restorer, shape, kind):
    full = 1 if np.dtype(kind).kind == 'f' else np.iinfo(kind).max
    image = (np.random.default_rng(0).random(shape) * full).astype(kind)
    restored = restorer.restore(image)
    assert restored.shape == shape and restored.dtype == kind
    assert restored.min() >= 0 and restored.max() <= full
    if len(shape) == 3 and shape[2] in (2, 4):
        np.testing.assert_array_equal(restored[..., -1], image[..., -1])


def test_sixteen_bits_are_not_eight_in_disguise(restorer, expected, photo):
    restored = restorer.restore(photo.astype(np.uint16) * 257)
    np.testing.assert_allclose(restored / 65535, expected, atol=2e-5)
    assert len(np.unique(restored % 257)) > 100


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        (np.zeros((4, 4, 5), np.uint8), r'\(4, 4, 5\)'),
        (np.zeros((0, 4, 3), np.uint8), r'\(0, 4, 3\)'),
        (np.zeros((4, 4), np.int64), 'int64'),
        (np.full((4, 4), np.nan), 'NaN'),
        (np.full((4, 4, 3), 200.0), 'from 0 to 1'),
        (torch.zeros(1, 4, 4), r'\(1, 4, 4\)'),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), 'uint8'),
        (torch.full((3, 4, 4), float('inf')), 'NaN, infinite'),
        (17, 'int'),
        ('no/such/file.png', 'no such file'),
    ],
)
def test_what_is_no_image_is_refused_with_a_message(restorer, image, message):
    with pytest.raises(ImageFileError, match=message):
        restorer.restore(image)


def test_averaged_weights_are_used_and_the_others_on_request(checkpoint, photo):
    # without weights a Restormer gives its input
    np.testing.assert_array_equal(Restorer.from_checkpoint(checkpoint, params='params').restore(photo), photo)


def test_tiles_agree_with_the_whole_because_they_share_one_guide(checkpoint, expected, photo, network):
    large = np.tile(photo, (4, 4, 1))[:390, :451]
    whole = Restorer.from_checkpoint(checkpoint).restore(large / np.float32(255))
    shared = Restorer.from_checkpoint(checkpoint, tile=256).restore(large / np.float32(255))
    restorer = Restorer.from_checkpoint(checkpoint, tile=256)
    restorer.plan = lambda height, width: type(restorer).plan(restorer, height, width)._replace(one_guide=False)
    apart = restorer.restore(large / np.float32(255))
    assert np.abs(shared - whole).mean() < 0.2 * np.abs(apart - whole).mean()


@pytest.mark.parametrize(('tile', 'overlap'), [(128, 4), (130, 65), (140, 70), (129, 0), (256, 64)])
def test_tiles_and_overlaps_of_any_size_work(checkpoint, photo, tile, overlap):
    large = np.tile(photo, (3, 4, 1))[:270, :376]
    restored = Restorer.from_checkpoint(checkpoint, tile=tile, overlap=overlap).restore(large / np.float32(255))
    assert np.isfinite(restored).all()


def test_a_network_of_nans_restores_nothing(checkpoint, photo):
    restorer = Restorer.from_checkpoint(checkpoint)
    for parameter in restorer.network.parameters():
        parameter.data.fill_(float('nan'))
    with pytest.raises(ImageFileError, match='no numbers'):
        restorer.restore(photo)


def test_self_ensemble_is_the_mean_over_all_orientations(checkpoint, restorer, photo):
    unit = photo / np.float32(255)
    mean = np.mean([
        np.rot90(restorer.restore(np.ascontiguousarray(np.rot90(side, turns))), -turns)[:, :: -1 if flip else 1]
        for flip in (False, True) for side in [unit[:, :: -1 if flip else 1]] for turns in range(4)
    ], axis=0)  # fmt: skip
    ensemble = Restorer.from_checkpoint(checkpoint, self_ensemble=True).restore(unit)
    np.testing.assert_allclose(ensemble, mean, atol=1e-6)


def test_progress_counts_tiles(checkpoint, photo):
    large, calls = np.tile(photo, (3, 3, 1)), []
    Restorer.from_checkpoint(checkpoint, tile=192).restore(large, lambda *call: calls.append(call))
    assert calls == [(number, len(calls)) for number in range(1, len(calls) + 1)] and len(calls) > 3


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'tile': 64}, "tile: expected 'auto' or a number from 128, got 64"),
        ({'tile': 128, 'overlap': 80}, 'overlap: expected an overlap'),
        ({'precision': 'fp64'}, "did you mean 'fp16'"),
        ({'local_statistics': 3}, 'from 16 pixels'),
        ({'device': 'cuda:77'}, "device: 'cuda:77' is not to be had"),
        ({'device': 'gpu'}, "device: 'gpu' is not to be had"),
    ],
)
def test_impossible_settings_are_named(checkpoint, settings, message):
    with pytest.raises(OptionsError, match=message.replace('(', r'\(')):
        Restorer.from_checkpoint(checkpoint, **settings)


def test_half_precision_is_close_to_full(checkpoint, photo):
    full, half = (
        Restorer.from_checkpoint(checkpoint, precision=name).restore(photo[:64, :64] / np.float32(255))
        for name in ('fp32', 'bf16')
    )
    assert 0 < np.abs(full - half).max() < 0.2


def test_tiles_are_recorded_once_for_all_images(monkeypatch):
    monkeypatch.setattr(restorer_module, 'Graphs', TracedGraphs)
    torch.manual_seed(0)
    network = torch.nn.Conv2d(3, 3, 3, padding=1)
    network.size_multiple = 1
    recorded, plain = (Restorer(network, settings=Settings(tile=128, cuda_graph=how)) for how in ('auto', 'off'))
    for _ in range(2):
        image = torch.rand(3, 130, 200)
        torch.testing.assert_close(recorded.restore(image), plain.restore(image))
    assert recorded._graphs.repeated == [10] and not plain._graphs.recorded
    with pytest.raises(OptionsError, match="cuda_graph: expected 'auto' or 'off', got True"):
        Settings(cuda_graph=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('self_ensemble', [False, True])
def test_a_tensor_on_the_gpu_comes_back_there(checkpoint, self_ensemble):
    image = torch.rand(3, 40, 52)
    expected = Restorer.from_checkpoint(checkpoint, device='cpu', self_ensemble=self_ensemble).restore(image)
    restored = Restorer.from_checkpoint(checkpoint, device='cuda', self_ensemble=self_ensemble).restore(image.cuda())
    assert restored.device.type == 'cuda'
    torch.testing.assert_close(restored.cpu(), expected, rtol=0, atol=1e-3)
