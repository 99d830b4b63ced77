"""How a network of the diffusion is trained: what a step draws, resuming, precision, validation, refusals."""

import copy
import logging

import pytest
import torch
from basicsr.models import build_model
from torch.testing import assert_close
from torch.utils.data import DataLoader

from dinoir_plugin import Restorer
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.imaging.image_file import DecodedImage
from dinoir_plugin.methods.daclip.sde_loss import SDELoss
from dinoir_plugin.methods.daclip.sde_model import STEP, SDEModel
from dinoir_plugin.models.batch import Batch
from dinoir_plugin.models.step_graph import reason_against
from dinoir_plugin.restore.export import export
from dinoir_plugin.testing.dispatch import Dispatched
from tests.methods.daclip.tiny import NETWORK, SINGLE, options


def batch(seed=0, count=2):
    generator = torch.Generator().manual_seed(seed)
    images = {name: torch.rand(count, 3, 32, 32, generator=generator) for name in ('lq', 'gt')}
    return {**images, 'task': ['noisy'] * count, 'lq_path': [f'{number}.png' for number in range(count)]}


def step(model, iteration, count=2):
    model.feed_data(batch(iteration, count))
    model.update_learning_rate(iteration)
    model.optimize_parameters(iteration)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Train for two steps, save, and go on for two."""
    folder = tmp_path_factory.mktemp('sde')
    torch.manual_seed(3)
    model = build_model(options(folder))
    before = copy.deepcopy(model.net_g.state_dict())
    for iteration in (1, 2):
        step(model, iteration)
    model.save(0, 2)
    for iteration in (3, 4):
        step(model, iteration)
    return model, before, copy.deepcopy(model.net_g.state_dict()), folder


def test_a_step_learns_and_logs(trained):
    model, before, *_ = trained
    log = model.get_current_log()
    assert {'l_sde', 'l1/noisy'} == set(log) and 0 <= log['l1/noisy'] <= 1
    after = model.net_g.state_dict(keep_vars=True)
    still = [name for name, value in after.items() if value.requires_grad and torch.equal(value, before[name])]
    assert not still
    # a batch of one image
    step(model, 4, count=1)


def test_a_resumed_run_is_the_run(trained):
    _, _, end, folder = trained
    path = str(folder / 'net_g_2.pth')
    torch.manual_seed(99)
    resumed = build_model(options(folder))
    for network, key in ((resumed.net_g, 'params'), (resumed.net_g_ema, 'params_ema')):
        resumed.load_network(network, path, True, key)
    resumed.resume_training(torch.load(folder / '2.state', weights_only=True))
    for iteration in (3, 4):
        step(resumed, iteration)
    assert all(torch.equal(value, end[name]) for name, value in resumed.net_g.state_dict().items())


def test_times_are_drawn_for_each_image_from_all(trained):
    model, *_ = trained
    seen = set()
    for seed in range(4):
        model.feed_data(batch(seed, count=16))
        with torch.no_grad():
            drawn = model.predict(model.prepared(model.batch)).aux[STEP]
        assert drawn.time.shape == (16,) and drawn.state.shape == (16, 3, 32, 32)
        seen |= set(drawn.time.tolist())
    assert seen == set(range(1, 9))


@pytest.mark.parametrize('amp', ['off', 'bf16', 'fp16'])
def test_a_step_asks_the_device_for_nothing_and_may_be_recorded(tmp_path, amp):
    optim = {'type': 'AdamW', 'lr': 1e-3, 'fused': True}
    model = build_model(options(tmp_path, optim_g=optim, amp=amp))
    step(model, 1)
    model.feed_data(batch(2))
    with Dispatched() as dispatched:
        outputs = model.predict(model.prepared(model.batch))
        losses = model.losses(outputs, model.batch)
    assert not dispatched.waits and reason_against(model) == ''
    assert losses['l_sde'].dtype == outputs.image.dtype == torch.float32


def test_validation_and_restorer_agree_and_a_graph_is_refused(trained):
    *_, folder = trained
    restorer = Restorer.from_checkpoint(folder / 'net_g_2.pth', device='cpu', tile=128)
    assert restorer.sampler.calls(restorer.network) == 8
    other = build_model(options(folder))
    other.load_network(other.net_g_ema, str(folder / 'net_g_2.pth'), True, 'params_ema')
    image = torch.rand(1, 3, 20, 36)
    image = (image * 255).round() / 255
    other.feed_data({'lq': image, 'lq_path': ['set.lmdb/below/photo']})
    other.test()
    pixels = (image[0].permute(1, 2, 0).numpy() * 255).round().astype('uint8')
    restored = restorer.restore_decoded(DecodedImage(pixels), name='photo').pixels
    wanted = (other.output[0].clamp(0, 1).permute(1, 2, 0) * 255).round()
    assert_close(torch.from_numpy(restored).float(), wanted, rtol=0, atol=1)
    unnamed = restorer.restore_decoded(DecodedImage(pixels)).pixels
    assert (unnamed != restored).any()
    with pytest.raises(ValueError, match='restores in steps'):
        export(folder / 'net_g_2.pth', folder / 'net.pt2')


class Images(torch.utils.data.Dataset):
    opt = {'name': 'photos'}  # noqa: RUF012

    def __len__(self):
        return 7

    def __getitem__(self, number):
        image = torch.full((3, 16, 16), number / 10)
        return {'lq': image, 'gt': image, 'lq_path': f'{number}.png', 'task': 'noisy'}


def test_at_most_so_many_images_are_validated_and_said(tmp_path, caplog):
    model = build_model(options(tmp_path, SINGLE))
    metrics = {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}
    sampler = {'type': 'IRSDESampler', 'steps': 1}
    model.opt['val'] = {'max_images': 3, 'metrics': metrics, 'sampler': sampler}
    restored = []
    model.restore = lambda lq: restored.append(round(lq.mean().item() * 10)) or lq
    with caplog.at_level(logging.INFO, logger='basicsr'):
        model.nondist_validation(DataLoader(Images()), 1, None, False)
    assert restored == [0, 2, 4]
    assert '3 of 7 images, spread evenly over the set (val.max_images)' in caplog.text


def test_other_models_and_losses_refuse_it(tmp_path):
    with pytest.raises(OptionsError, match='model_type: IRSDEArch is trained by SDEModel, not RestorationModel'):
        build_model({**options(tmp_path, SINGLE), 'model_type': 'RestorationModel'})
    with pytest.raises(OptionsError, match=r'network_g\.type: expected a network of IR-SDE'):
        SDEModel.check_network(torch.nn.Conv2d(3, 3, 1))
    with pytest.raises(OptionsError, match='model_type: SDELoss needs a step of a diffusion'):
        SDELoss().of_step(Outputs(torch.zeros(1, 3, 4, 4)), Batch(torch.zeros(1, 3, 4, 4)))
    steps = {'sampler': {'type': 'IRSDESampler', 'steps': 9}}
    with pytest.raises(OptionsError, match=r"val\.sampler\.steps: expected at most 8, the T of the network's"):
        build_model({**options(tmp_path, NETWORK), 'val': steps})
