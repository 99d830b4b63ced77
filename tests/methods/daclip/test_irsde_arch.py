"""A network of the diffusion: its parts fit together, it restores whole images and tiles, and released weights load."""

import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch.testing import assert_close

from dinoir_plugin.archs.released import all_released
from dinoir_plugin.core import network_file
from dinoir_plugin.core.construct import build_registered
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.fitting import fit
from dinoir_plugin.inference.graphs import SEEN_BEFORE
from dinoir_plugin.inference.sampler import sampler_for
from dinoir_plugin.inference.tiling import restore_image
from dinoir_plugin.methods.daclip.irsde_arch import IRSDEArch
from dinoir_plugin.methods.daclip.irsde_sampler import IRSDESampler
from dinoir_plugin.methods.daclip.solvers import SOLVERS
from dinoir_plugin.restore.info import describe
from dinoir_plugin.restore.memory import measure
from tests.methods.daclip.tiny import NAFNET, NETWORK, SINGLE, UNET, arguments
from tests.traced import TracedGraphs


@pytest.fixture(scope='module')
def network():
    torch.manual_seed(0)
    return IRSDEArch(**arguments(NETWORK)).eval()


@pytest.fixture(scope='module')
def single():
    torch.manual_seed(0)
    return IRSDEArch(**arguments(SINGLE)).eval()


@torch.no_grad()
def restored(network, image, solver='posterior', steps=3, **how):
    return restore_image(network, image, sampler=IRSDESampler(solver, steps), **how)


def test_the_backbone_gets_time_state_and_both_embeddings(network):
    lq, state, time = torch.rand(2, 3, 33, 40), torch.rand(2, 3, 33, 40), torch.tensor([3, 7])
    content, degradation = network.method.encoder(lq)
    with torch.no_grad():
        expected = network.backbone(state, lq, time, degradation, content)
        assert_close(network(lq, state=state, time=time), expected)
        one = network(lq[:1], state=state[:1], time=3.0)
    assert_close(one, expected[:1], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r'expected an image at a time of the diffusion \(state=, time=\)'):
        network(lq)


def test_an_image_is_encoded_once_whole_and_in_tiles(network, monkeypatch):
    image, seen, progress = torch.rand(1, 3, 40, 56), [], []
    monkeypatch.setattr(network, 'encode', lambda image, read=None: seen.append(image.shape) or
                        type(network).encode(network, image, read))  # fmt: skip
    for tile, tiles in ((None, 1), (32, 4)):
        progress.clear(), seen.clear()
        result = restored(network, image, tile=tile, overlap=8, on_tile=lambda *done: progress.append(done))
        assert result.shape == image.shape and seen == [image.shape]
        assert progress == [(number, 3 * tiles) for number in range(1, 3 * tiles + 1)]


def test_steps_are_calls_of_one_kind(single):
    """So that one recording repeats all of them: the time is a number on the device."""
    image, graphs = torch.rand(1, 3, 16, 24), TracedGraphs()
    given = restored(single, image, tile=16, overlap=8, graphs=graphs)
    assert_close(given, restored(single, image, tile=16, overlap=8))
    assert graphs.repeated == [2 * 3 - SEEN_BEFORE] and not graphs.lines


def test_tiles_go_along_with_the_whole_image(single):
    """NAFNet's attention aside, what lies far from the borders of tiles is that of the whole image."""
    for block in single.backbone.modules():
        if hasattr(block, 'sca'):
            torch.nn.init.zeros_(block.sca[1].weight)
    image = torch.rand(1, 3, 64, 128)
    whole, tiles = (restored(single, image, tile=tile, overlap=48, names=('x',)) for tile in (None, 96))
    assert_close(tiles, whole, rtol=0, atol=2e-3)


def test_noise_follows_from_seed_and_name(network):
    image = torch.rand(1, 3, 16, 24)
    one = restored(network, image, names=('a',))
    assert torch.equal(one, restored(network, image, names=('a',)))
    both = restored(network, torch.cat([image, image]), names=('b', 'a'))
    assert_close(both[1:], one) and not torch.equal(both[:1], one)
    with torch.no_grad():
        other = restore_image(network, image, sampler=IRSDESampler('posterior', 3, seed=1), names=('a',))
    assert (other - one).abs().max() > 1e-3


def test_temperature_scales_all_noise_that_is_drawn(network):
    image = torch.rand(1, 3, 16, 24)

    def by(seed, temperature, solver='posterior'):
        sampler = IRSDESampler(solver, 3, seed, temperature)
        with torch.no_grad():
            return restore_image(network, image, sampler=sampler, names=('a',))

    assert torch.equal(by(0, 1.0), restored(network, image, names=('a',)))
    for solver in SOLVERS:
        assert torch.equal(by(0, 0.0, solver), by(1, 0.0, solver))  # no noise: no seed
    spread = [(by(0, temperature) - by(1, temperature)).abs().mean().item() for temperature in (0.2, 1.0)]
    assert 0 < spread[0] < spread[1]
    assert IRSDESampler(temperature=0.5).trial().temperature == 0.5


def test_it_restores_by_its_own_sampler_with_all_steps(single):
    sampler = sampler_for(single, None)
    assert isinstance(sampler, IRSDESampler) and sampler.calls(single) == 8
    assert sampler.trial().calls(single) == 2
    assert measure(single, 32, torch.device('cpu'), sampler).of_one_size


@pytest.mark.parametrize(('change', 'said'), [
    ({'backbone': {**UNET, 'context_dim': 24}}, "backbone.context_dim: expected 16, the width of the embeddings of '"),
    ({'daclip': None}, 'daclip: the backbone looks at its embeddings (backbone.use_degra_context: true), but it is mi'),
    ({'backbone': {**UNET, 'use_degra_context': False}, 'daclip': None}, '(backbone.use_image_context: true)'),
    ({'backbone': NAFNET}, 'daclip: ConditionalNAFNet looks at none of its embeddings. Leave it out'),
    ({'backbone': {'type': 'NAFNet'}}, 'backbone.type: expected a network that is called with xt, cond, time, got NAF'),
    ({'sde': {'T': 0}}, 'sde.T: expected a whole number of at least 1, got 0'),
    ({'sde': {'schedule': 'cosin'}}, 'sde.schedule: '),
    ({'sde': {'eps': 1}}, 'sde.eps: expected a number between 0 and 1, got 1'),
])  # fmt: skip
def test_what_does_not_fit_together_is_refused(change, said):
    with pytest.raises(OptionsError) as caught:
        build_registered(ARCH_REGISTRY, {**NETWORK, **change}, 'network_g')
    assert said in str(caught.value) and str(caught.value).startswith('network_g.')


@pytest.mark.parametrize(('options', 'said'), [
    ({'type': 'IRSDESampler', 'steps': 9}, 'steps: expected at most 8'),
    ({'type': 'IRSDESampler', 'solver': 'euler'}, 'solver: '),
    ({'type': 'IRSDESampler', 'temperature': 2}, 'temperature: expected a number from 0 to 1, got 2'),
])  # fmt: skip
def test_samplers_that_do_not_suit_are_refused(single, options, said):
    with pytest.raises(OptionsError, match=rf'val\.sampler\.{said}'):
        sampler_for(single, options, 'val.sampler')
    with pytest.raises(OptionsError, match=r'val\.sampler\.type: expected a network of IR-SDE'):
        sampler_for(torch.nn.Conv2d(3, 3, 1), {'type': 'IRSDESampler'}, 'val.sampler')


def test_released_weights_of_the_backbone_fit_and_are_recognised(network, tmp_path):
    state = network.backbone.state_dict()
    found = fit({f'module.{name}': value for name, value in state.items()}, network)
    assert not found.problem() and found.below == 'backbone.'
    universal = next(entry for entry in all_released() if 'ten degradations' in entry.name)
    # numbers on the meta device take no place; a file needs some
    numbers = {name: torch.zeros(1).expand(value.shape) for name, value in universal.build().state_dict().items()}
    path = tmp_path / 'universal-ir.pth'
    torch.save(numbers, path)
    assert path.stat().st_size < 1e6
    said = describe(path)
    assert "its tensors are those of DA-CLIP's U-Net for ten degradations" in said and 'type: IRSDEArch' in said
    assert network_file.read(path).description is None
