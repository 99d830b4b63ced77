"""`dinoir check` says what is wrong with Perceive-IR's second stage, each in one line."""

import pytest
import torch

from dinoir_plugin.core.console import BAD
from dinoir_plugin.encoders.clip import CLIP as Network
from dinoir_plugin.methods.perceive_ir import QualityPrompts
from dinoir_plugin.methods.perceive_ir.frozen_clip import frozen_clip
from dinoir_plugin.methods.perceive_ir.prompts import PromptFile, write_prompts
from tests.methods.perceive_ir.tiny import CLIP, CLIP_ARGS

WRONG = {
    'no_file': {'type': 'CLIPAwareLoss', 'clip': CLIP, 'prompts': 'prompts.pth'},
    'no_clip': {'type': 'CLIPAwareLoss', 'clip': {'weights': 'clip.pt'}, 'prompts': 'good.pth'},
    'ungated': {'type': 'CLIPAwareLoss', 'clip': CLIP, 'prompts': 'ungated.pth'},
    'foreign': {'type': 'CLIPAwareLoss', 'clip': CLIP, 'prompts': 'foreign.pth'},
    'unbounded': {'type': 'DifficultyAdaptiveLoss', 'weights': 'random', 'floor': 0},
    'proxies': {'type': 'DifficultyAdaptiveLoss', 'weights': 'random', 'proxies': [{'file': 'medium.pth'}]},
    'probe': {'type': 'DifficultyAdaptiveLoss', 'weights': 'random', 'reference': 'probe'},
    'codes': {'type': 'CodeContrastLoss', 'severities': [22, 17]},
}
SAID = {
    'no_file': 'prompts: expected a file of quality prompts, but prompts.pth is missing',
    'no_clip': "clip.weights: expected 'auto', 'random' or a file of CLIP, but clip.pt is missing",
    'ungated': "prompts: expected prompts that were accepted, but 'ungated.pth' has no report, and they were trained",
    'foreign': "prompts: the prompts in 'foreign.pth' were trained with another CLIP: its vectors",
    'unbounded': 'floor: expected a number above 0 without proxies, since nothing else holds the loss, got 0',
    'proxies': 'proxies[0].file: expected a checkpoint, but medium.pth is missing',
    'probe': 'reference: probe is what PerceiveIRModel measures, and the model is DINOIRModel',
    'codes': 'severities: expected ascending numbers, got [22.0, 17.0]',
}


@pytest.mark.filterwarnings('ignore:.*random weights')
def test_what_is_wrong_with_stage_2_is_said_in_one_line_each(project, check):
    torch.manual_seed(7)
    for name, network, iterations in (
        ('good', frozen_clip(**CLIP).network, 100_000),
        ('ungated', frozen_clip(**CLIP).network, 40),
        ('foreign', Network(**CLIP_ARGS), 100_000),
    ):
        write_prompts(project.folder / f'{name}.pth', PromptFile(QualityPrompts(network), iterations, True))
    project.train['second_patch'] = True
    project.options['train']['losses'] = WRONG
    done = check()
    assert done.status == BAD
    lines = done.out.splitlines()
    for name, said in SAID.items():
        assert len([line for line in lines if f'train.losses.{name}.{said}' in line]) == 1, name
