import pytest
import torch

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.encoders.clip import CLIP
from dinoir_plugin.methods.perceive_ir.clip_aware import quality_logits
from dinoir_plugin.methods.perceive_ir.prompts import (
    WORDS,
    PromptFile,
    QualityPrompts,
    prompt_loss,
    read_prompts,
    write_prompts,
)
from tests.methods.perceive_ir.largest_error import error

TEXT = {'embed_dim': 24, 'text_width': 32, 'text_heads': 4, 'text_layers': 2, 'quick_gelu': True}
IMAGE = {'image_size': 32, 'patch_size': 32, 'vision_width': 16, 'vision_layers': 0, 'head_width': 16}


@pytest.fixture(scope='module')
def authors(golden):
    """The text tower of the golden file, and the file's tensors."""
    params, tensors = golden('perceive_ir/prompts')
    clip = CLIP(**TEXT, **IMAGE).requires_grad_(False)
    rows = params.pop('token_embedding.rows')
    params.pop('context')
    left_out = clip.load_state_dict(params, strict=False)
    assert not left_out.unexpected_keys
    assert all(name.startswith('visual.') or name == 'token_embedding.weight' for name in left_out.missing_keys)
    clip.token_embedding.weight[tensors['input/token_ids'].long()] = rows
    return clip, tensors


def test_prompts_start_as_the_authors(authors):
    clip, tensors = authors
    assert list(WORDS.values()) == tensors['input/word_ids'].tolist()
    torch.manual_seed(0)
    prompts = QualityPrompts(clip)
    assert torch.equal(prompts.context[:, -1], tensors['output/initial_last_vectors'])
    assert 0.01 < prompts.context[:, :-1].std() < 0.03
    for name in ('token_prefix', 'token_suffix', 'tokenized_prompts'):
        assert torch.equal(getattr(prompts, name), tensors[f'output/{name}'].to(getattr(prompts, name).dtype))
    assert sum(p.numel() for p in prompts.parameters()) == 3 * 16 * 32
    assert set(prompts.state_dict()) == {'context', 'token_prefix', 'token_suffix', 'tokenized_prompts'}


def test_reproduces_the_authors_features_loss_and_gradient(authors):
    clip, tensors = authors
    prompts = QualityPrompts(clip)
    prompts.context.data.copy_(tensors['param/context'])
    assert torch.equal(prompts(), tensors['output/prompts'])
    raw = clip.encode_vectors(prompts(), prompts.tokenized_prompts.argmax(dim=-1))
    features, scale = prompts.features(clip), clip.logit_scale.exp()
    images, labels = tensors['input/image_features'], tensors['input/labels'].long()
    logits = quality_logits(images, features, scale)
    loss = prompt_loss(images, labels, features, scale)
    loss.backward()
    found = {'text_features_raw': raw, 'text_features': features, 'logits': logits, 'loss': loss,
             'probability': logits.softmax(dim=-1), 'logit_scale_exp': scale}  # fmt: skip
    for name, value in found.items():
        assert error(value.detach(), tensors[f'output/{name}']) < 1e-5, name
    assert error(prompts.context.grad, tensors['output/grad_context']) < 1e-4


def test_files_hold_what_the_authors_do(authors, tmp_path):
    clip, _ = authors
    prompts = QualityPrompts(clip, length=4)
    path = tmp_path / 'prompts.pth'
    write_prompts(path, PromptFile(prompts, 100_000, True, {'quality_names': list(WORDS)}))
    content = torch.load(path, weights_only=True)
    assert set(content) == {'prompt_learner', 'iteration', 'task_balanced', 'quality_names'}
    found = read_prompts(path, clip)
    assert (found.iteration, found.task_balanced, found.others) == (100_000, True, {'quality_names': list(WORDS)})
    assert torch.equal(found.prompts.context, prompts.context)


def test_files_that_do_not_serve_are_named(authors, tmp_path):
    clip, _ = authors
    path = tmp_path / 'prompts.pth'
    with pytest.raises(OptionsError, match=r'train\.clip_opt\.prompts: expected a file of quality prompts, but '):
        read_prompts(path, clip, 'train.clip_opt.prompts')
    torch.save({'params': {}}, path)
    with pytest.raises(OptionsError, match="has no 'prompt_learner' with a context"):
        read_prompts(path, clip)
    torch.manual_seed(1)
    write_prompts(path, PromptFile(QualityPrompts(CLIP(**TEXT, **IMAGE)), 1, False))
    with pytest.raises(OptionsError, match='were trained with another CLIP'):
        read_prompts(path, clip)


def test_clips_that_do_not_serve_are_named(authors):
    clip, _ = authors
    with pytest.raises(OptionsError, match='length: expected from 1 to 75 vectors for this CLIP, got 76'):
        QualityPrompts(clip, 76)
    with pytest.raises(OptionsError, match="clip: expected a CLIP with OpenAI's 49408 tokens"):
        QualityPrompts(CLIP(**{**TEXT, 'vocab_size': 96}, **IMAGE))
