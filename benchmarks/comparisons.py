"""Networks that the papers compare with, at their released sizes, beside their plain forms: comparisons.md.

    python -m benchmarks.comparisons [--side 128] [--runs 5]
    python -m benchmarks.comparisons --side 256 --only ConditionalUNet      prints, and leaves the file as it is

A plain form is the network as its paper describes it, with torch's modules; the tests hold it equal to ours. DnCNN,
FFDNet, IRCNN, MPRNet and TKMANet are chains of torch's own modules here, too: there is no other form of them.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.forward import image
from benchmarks.measure import no_grad, speed_up
from dinoir_plugin.archs.airnet_arch import AirNet
from dinoir_plugin.archs.brdnet_arch import BRDNet
from dinoir_plugin.archs.idr_arch import IDR
from dinoir_plugin.archs.promptir_arch import PromptIR
from dinoir_plugin.archs.transweather_arch import TransWeather
from dinoir_plugin.archs.wgws_arch import WGWSNet
from dinoir_plugin.core.machine import machine
from dinoir_plugin.core.markdown import table
from dinoir_plugin.methods.daclip import ConditionalUNet
from dinoir_plugin.testing.textbook.airnet import textbook_airnet
from dinoir_plugin.testing.textbook.brdnet import textbook_brdnet
from dinoir_plugin.testing.textbook.conditional_unet import textbook_conditional_unet
from dinoir_plugin.testing.textbook.idr import textbook_idr
from dinoir_plugin.testing.textbook.promptir import textbook_promptir
from dinoir_plugin.testing.textbook.transweather import textbook_transweather
from dinoir_plugin.testing.textbook.wgws import textbook_wgws

FILE = Path(__file__).with_suffix('.md')
FLAG = (1, 0, 0)
# at a time of the diffusion, with both embeddings
AT = (torch.tensor([5.0]), torch.ones(1, 512), torch.ones(1, 512))
# how each is built, called, and called in its plain form
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[Any, Tensor], Any], Callable[[Any, Tensor], Any]]] = {
    'PromptIR': (PromptIR, lambda net, x: net(x), textbook_promptir),
    'AirNet': (AirNet, lambda net, x: net(x), textbook_airnet),
    'BRDNet': (BRDNet, lambda net, x: net(x), textbook_brdnet),
    'IDR': (lambda: IDR(dim=30, num_blocks=[2, 3, 3, 4], num_refinement_blocks=2), lambda net, x: net(x), textbook_idr),
    'TransWeather': (TransWeather, lambda net, x: net(x), textbook_transweather),
    'WGWSNet, stage 1': (lambda: WGWSNet(stage=1), lambda net, x: net(x), textbook_wgws),
    'WGWSNet, stage 2': (WGWSNet, lambda net, x: net(x, flag=FLAG), lambda net, x: textbook_wgws(net, x, FLAG)),
    'ConditionalUNet': (
        lambda: ConditionalUNet(ch_mult=[1, 2, 4, 8], use_image_context=True),
        lambda net, x: net(x, x, *AT),
        lambda net, x: textbook_conditional_unet(net, x, x, *AT),
    ),
}


def row(name: str, side: int, runs: int) -> list[str]:
    """Time a network's forward beside its plain form's, in turns."""
    build, call, plain = NETWORKS[name]
    net, x = build().eval(), image(side)
    forms = {'ours': no_grad(lambda: call(net, x)), 'against': no_grad(lambda: plain(net, x))}
    result = speed_up(forms, runs)
    seconds = [f'{result.forms[form]["median"]:.3f} s' for form in forms]
    return [name, *seconds, f'{1 / result.ratio:.2f}']


def main() -> int:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--side', type=int, default=128)
    parser.add_argument('--runs', type=int, default=5)
    parser.add_argument('--only', nargs='+', choices=list(NETWORKS), help='print these alone')
    args = parser.parse_args()
    warnings.simplefilter('ignore')
    rows = []
    for name in args.only or NETWORKS:
        rows.append(row(name, args.side, args.runs))
        sys.stdout.write(f'{", ".join(rows[-1])}\n')
        sys.stdout.flush()
    if args.only:
        return 0
    where = ', '.join(f'{key} {value}' for key, value in machine().items())
    about = f'`python -m benchmarks.comparisons --side {args.side} --runs {args.runs}`. {where}. Medians of turns.'
    heads = ['network', 'ours', 'plain form', "ours over the plain form's time"]
    FILE.write_text(f'# Networks beside their plain forms, one image of {args.side} px\n\n{about}\n\n'
                    + table(heads, rows))  # fmt: skip
    return 0


if __name__ == '__main__':
    sys.exit(main())
