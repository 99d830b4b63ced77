"""What metrics are given of the images that a network restores."""

import math
from types import SimpleNamespace

import torch
from basicsr.models import build_model
from basicsr.utils import tensor2img
from torch import nn

from dinoir_plugin.models import validation
from dinoir_plugin.models.validation import Validation
from tests.models.test_restoration_model import options  # noqa: F401


class Images(list):
    opt = {'name': 'set'}  # noqa: RUF012


class Brighter(nn.Module):
    """Gives much that is above 1."""

    size_multiple = 1

    def forward(self, image):
        return image + 0.5


def test_metrics_see_the_image_clipped_and_not_rounded(options, monkeypatch):  # noqa: F811
    # on the CPU the host's conversion to 8 bits clips the image in its place; on a GPU it works on a copy
    monkeypatch.setattr(validation, 'tensor2img', lambda images: tensor2img([image.clone() for image in images]))
    metrics = {'psnr': {'type': 'calculate_psnr_all_in_one', 'crop_multiple': 1}}
    options['val'] = {'save_img': False, 'metrics': metrics}
    model = build_model(options)
    model.net_g_ema = Brighter()
    torch.manual_seed(0)
    lq, gt = torch.rand(2, 3, 24, 20)
    images = Images([{'lq': lq, 'gt': gt, 'lq_path': 'a.png', 'gt_path': 'a.png', 'task': 'rain'}])
    Validation(model, SimpleNamespace(dataset=images), 1, False).run(None)
    error = ((lq.double() + 0.5).clamp(0, 1) - gt.double()).square().mean().item()
    assert abs(model.metric_results['psnr'] + 10 * math.log10(error)) < 1e-4


def test_the_last_iteration_is_validated_once(make_project):
    project = make_project()
    project.add_validation(val_freq=2)
    tasks = project.options['datasets']['val']['tasks']
    project.options['datasets']['val_more'] = {'name': 'more', 'type': 'MixedDegradationDataset', 'tasks': tasks}
    project.train['total_iter'] = 4
    project.options['logger']['save_checkpoint_freq'] = 4
    log = project.run().log
    # at iterations 2 and 4, of two sets; the host asks once more at the end, and warns of several sets
    assert log.count('# denoise: ') == 4, log
    assert 'Validation check: the figures of iteration 4 stand above.' in log
    assert 'supported by SRModel' not in log
    project.train['total_iter'] = 5
    log = project.run('--auto_resume').log
    assert log.count('# denoise: ') == 2
