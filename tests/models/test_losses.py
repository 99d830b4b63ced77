"""Every ``train.<name>_opt`` is built and called, on every image that a network gives."""

import copy

import pytest
import torch
from basicsr.models import build_model
from basicsr.utils.registry import ARCH_REGISTRY

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.outputs import Outputs, as_outputs
from tests.models.test_restoration_model import batch, options, step  # noqa: F401

MPRNET = {'type': 'MPRNet', 'n_feat': 8, 'scale_unetfeats': 4, 'scale_orsnetfeats': 4, 'num_cab': 1}


@pytest.fixture
def plain(options):  # noqa: F811
    options['network_g'] = {'type': 'NAFNet', 'width': 4, 'enc_blk_nums': [1], 'dec_blk_nums': [1]}
    options['train'] = {key: value for key, value in options['train'].items() if not key.endswith('_opt')}
    options['train']['ema_decay'] = 0
    return options


def test_no_loss_is_required_by_its_name(plain, batch):  # noqa: F811
    plain['train'].update(near_opt={'type': 'L1Loss', 'loss_weight': 0.5})
    plain['train']['losses'] = {'far': {'type': 'MSELoss'}, 'off': None}
    model = build_model(plain)
    output = model.net_g(batch['lq']).detach()
    step(model, batch)
    log = model.get_current_log()
    assert log['l_near'] == pytest.approx(0.5 * (output - batch['gt']).abs().mean().item(), rel=1e-5)
    assert log['l_far'] == pytest.approx((output - batch['gt']).square().mean().item(), rel=1e-5)


def test_a_loss_is_taken_of_every_stage_and_metrics_of_the_last_image(plain, batch):  # noqa: F811
    plain['network_g'] = copy.deepcopy(MPRNET)
    plain['train'].update(pixel_opt={'type': 'L1Loss'}, edge_opt={'type': 'EdgeLoss', 'loss_weight': 0.05})
    model = build_model(plain)
    stages = [image.detach() for image in as_outputs(model.net_g(batch['lq'])).images]
    assert len(stages) == 3
    step(model, batch)
    log = model.get_current_log()
    distances = [(image - batch['gt']).abs().mean().item() for image in stages]
    assert log['l_pix'] == pytest.approx(sum(distances), rel=1e-5) and log['l_edge'] > 0
    assert torch.equal(model.output, stages[0])
    last = (stages[0] - batch['gt']).abs().mean(dim=(1, 2, 3)).tolist()
    assert [log['l1/denoise'], log['l1/derain']] == pytest.approx(last, rel=1e-5)
    model.test()
    assert model.output.shape == batch['lq'].shape


def test_a_list_of_images_counts_as_stages_the_final_one_first(plain, batch):  # noqa: F811
    class Lists(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(2))

        def forward(self, x):
            return [x * self.scale[0], x * self.scale[1]]

    ARCH_REGISTRY._obj_map['Lists'] = Lists
    plain['network_g'] = {'type': 'Lists'}
    plain['train'].update(pixel_opt={'type': 'L1Loss'})
    try:
        model = build_model(plain)
        step(model, batch)
        assert model.net_g.scale.grad.abs().min() > 0
        expected = 2 * (batch['lq'] - batch['gt']).abs().mean().item()
        assert model.get_current_log()['l_pix'] == pytest.approx(expected, rel=1e-5)
        model.test()
        assert model.output.shape == batch['lq'].shape
    finally:
        del ARCH_REGISTRY._obj_map['Lists']


def test_other_outputs_are_named():
    image = torch.rand(1, 3, 4, 4)
    assert as_outputs((image, image)).stages == (image,)
    assert as_outputs(Outputs(image, aux={'logits': 1})).aux == {'logits': 1}
    with pytest.raises(TypeError, match='got dict'):
        as_outputs({'image': image})


def test_a_loss_that_needs_an_encoder_asks_for_it(plain):
    plain['train']['dpc_opt'] = {'type': 'DPCLoss', 'layers': [1]}
    with pytest.raises(OptionsError, match=r'train\.dpc_opt\.encoder: the loss needs an encoder'):
        build_model(plain)
