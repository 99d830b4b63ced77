"""Forward passes: backbones against their textbook forms, guidance against the plain backbone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import Form, Result, cost, in_turns, no_grad, paired, speed_up, spreads
from dinoir_plugin.archs.nafnet_arch import NAFNet
from dinoir_plugin.archs.restormer_arch import Restormer
from dinoir_plugin.methods.dinoir.dinoir_arch import DINOIRArch
from dinoir_plugin.testing.textbook.nafnet import textbook_nafnet
from dinoir_plugin.testing.textbook.restormer import textbook_restormer

GEMM_SIDE = 2048
GUIDE_AT = ['encoder_level*', 'latent', 'decoder_level*']
LEVELS = {'shallow': 3, 'medium': 7, 'deep': 11}
VIT_S: dict[str, Any] = {'name': 'vit_small_patch14_dinov2', 'weights': 'random', 'layers': LEVELS}
SIDD: dict[str, Any] = {'width': 32, 'middle_blk_num': 12, 'enc_blk_nums': [2, 2, 4, 8], 'dec_blk_nums': [2, 2, 2, 2]}


def image(side: int, batch: int = 1) -> Tensor:
    """Make random (batch, 3, side, side) images."""
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(0))


def guided_restormer() -> DINOIRArch:
    """Build DINO-IR with what options files leave out at its defaults, ViT-S and random weights."""
    return DINOIRArch({'type': 'Restormer'}, VIT_S, GUIDE_AT).eval()


def restormer(runs: int, form: str = 'eager', side: int = 256) -> Result:
    """Time Restormer's forward, eager, compiled, or compiled in bf16, against the textbook form in float32."""
    net, x = Restormer().eval(), image(side)
    ours: Callable[[Tensor], Tensor] = net if form == 'eager' else torch.compile(net)

    def run() -> Tensor:
        with torch.autocast('cpu', torch.bfloat16, enabled=form == 'bf16'):
            return ours(x)

    return speed_up({'ours': no_grad(run), 'against': no_grad(lambda: textbook_restormer(net, x))}, runs)


def peak(runs: int) -> Result:
    """Time Restormer beside a matrix product of 2048 for the machine's peak; the ratio is the share of it."""
    net, x = Restormer().eval(), image(256)
    a, b = torch.rand(GEMM_SIDE, GEMM_SIDE), torch.rand(GEMM_SIDE, GEMM_SIDE)
    compiled = torch.compile(net)
    with FlopCounterMode(display=False) as counter:
        net(x)
    seconds = in_turns({'ours': no_grad(lambda: compiled(x)), 'against': lambda: a @ b}, runs)
    flops = {'ours': counter.get_total_flops(), 'against': 2 * GEMM_SIDE**3}
    share = paired(seconds['against'], seconds['ours']) * flops['ours'] / flops['against']
    forms = spreads(seconds)
    rates = [flops[name] / form['median'] / 1e9 for name, form in forms.items()]
    return Result(share, 's', forms, '{:.0f} of {:.0f} GFLOP/s'.format(*rates))


def bf16_product(runs: int) -> Result:
    """Time a matrix product of 1024 in bf16 against float32, to see what processors without units for it do."""
    a = torch.rand(GEMM_SIDE // 2, GEMM_SIDE // 2)
    b = a.bfloat16()
    return cost({'ours': lambda: b @ b, 'against': lambda: a @ a}, runs)


def guidance(runs: int, side: int) -> Result:
    """Time the backbone with PSF and all fusions, the encoder's features given, against the backbone."""
    net, x = guided_restormer(), image(side)
    plain = Restormer().eval()
    with torch.no_grad():
        encodings = net.encode(x)
    return cost({'ours': no_grad(lambda: net(x, encodings=encodings)), 'against': no_grad(lambda: plain(x))}, runs)


def whole(runs: int) -> Result:
    """Time all of DINO-IR with ViT-S/14 against the backbone, 256 px."""
    net, plain, x = guided_restormer(), Restormer().eval(), image(256)
    return cost({'ours': no_grad(lambda: net(x)), 'against': no_grad(lambda: plain(x))}, runs)


def nafnet(runs: int) -> Result:
    """Time NAFNet (width 32, the authors' SIDD setting) at 256 px against the textbook form."""
    net, x = NAFNet(**SIDD).eval(), image(256)
    forms: dict[str, Form] = {'ours': no_grad(lambda: net(x)), 'against': no_grad(lambda: textbook_nafnet(net, x))}
    return speed_up(forms, runs)


def channels_last(runs: int) -> Result:
    """Time EDSR of BasicSR (64 features, 16 blocks) at 256 px: NHWC weights and input against NCHW."""
    from basicsr.archs.edsr_arch import EDSR

    plain, x = EDSR(3, 3, upscale=1).eval(), image(256)
    ours = EDSR(3, 3, upscale=1).eval().to(memory_format=torch.channels_last)
    y = x.contiguous(memory_format=torch.channels_last)
    return speed_up({'ours': no_grad(lambda: ours(y)), 'against': no_grad(lambda: plain(x))}, runs)
