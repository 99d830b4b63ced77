"""NAFNet with DA-CLIP: the block that its author posted, and what we assembled of it."""

import pytest
import torch

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.guidance.condition import Condition
from dinoir_plugin.methods.daclip import PromptNAFNet
from dinoir_plugin.methods.daclip.prompt_nafnet_arch import PromptNAFBlock
from tests.conftest import relative_error

TINY = {'width': 16, 'enc_blk_nums': [1, 2], 'middle_blk_num': 2, 'dec_blk_nums': [2, 1], 'context_dim': 24}


@pytest.mark.parametrize(('kind', 'context_dim'), [('simple', None), ('cross', 24)])
def test_reproduces_the_block_that_the_author_posted(kind, context_dim, golden):
    params, tensors = golden('daclip/nafblock')
    block = PromptNAFBlock(64, 48, context_dim)
    below = f'{kind}.'
    block.load_state_dict({key.removeprefix(below): value for key, value in params.items() if key.startswith(below)})
    x, degradation, context = (tensors[f'input/{kind}/{name}'] for name in ('x', 'degra', 'context'))
    with torch.no_grad():
        assert relative_error(block(x, degradation, context[:, 0]), tensors[f'output/{kind}']) < 1e-5


def test_reproduces_the_assembled_network(golden):
    """Assembled with the authors' parts, but not a network that they released."""
    params, tensors = golden('daclip/nafnet_prompt_assembled')
    net = PromptNAFNet(**TINY, emb_dim=64)
    net.load_state_dict(params, strict=True)
    for case in (0, 1):
        image, degradation, content = (
            tensors[f'input/{case}/{name}'] for name in ('image', 'text_context', 'image_context')
        )
        with torch.no_grad():
            restored = net(image, Condition(tokens=content[:, None], vector=degradation))
        assert relative_error(restored, tensors[f'output/{case}']) < 1e-5


def test_number_of_parameters_at_the_size_of_the_options_file():
    with torch.device('meta'):
        assert sum(p.numel() for p in PromptNAFNet().parameters()) == 97_763_779


def test_what_is_not_known_counts_as_zeros():
    torch.manual_seed(0)
    net = PromptNAFNet(**TINY).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    image = torch.rand(2, 3, 17, 30)
    zeros = Condition(tokens=torch.zeros(2, 1, 24), vector=torch.zeros(2, 24))
    told = Condition(tokens=torch.rand(2, 1, 24) * 9, vector=torch.rand(2, 24) * 9)
    with torch.no_grad():
        assert torch.equal(net(image), net(image, zeros))
        for condition in (told._replace(tokens=None), told._replace(vector=None)):
            assert not torch.equal(net(image, condition), net(image))


@pytest.mark.parametrize('options', [{}, {'cross': 'none'}, {'residual': False}])
def test_starts_as_networks_do_and_learns_everywhere(options):
    net = PromptNAFNet(**{**TINY, **options})
    assert any('att.fn' in key for key in net.state_dict()) == (options.get('cross') != 'none')
    image = torch.rand(1, 3, 21, 16)
    restored = net(image, Condition(tokens=torch.rand(1, 1, 24), vector=torch.rand(1, 24)))
    assert restored.shape == image.shape
    restored.square().sum().backward()
    assert all(p.grad is not None for p in net.parameters() if p.requires_grad)


def test_statistics_and_attention_can_be_taken_over_windows():
    from dinoir_plugin.nn.local_statistics import use_local_statistics

    net = PromptNAFNet(**TINY).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        whole = net(image)
        assert use_local_statistics(net, 32) == 8
        assert not torch.allclose(net(image), whole, atol=1e-4)
        use_local_statistics(net, 64)
        torch.testing.assert_close(net(image), whole)


@pytest.mark.parametrize(('options', 'said'), [
    ({'emb_dim': 5}, 'emb_dim: expected an even number'),
    ({'width': 12}, 'width: expected 32 to divide the width at the lowest level, where pixels attend, got 48'),
    ({'dec_blk_nums': [1]}, 'dec_blk_nums: expected 2 numbers'),
])  # fmt: skip
def test_errors_say_what_to_do(options, said):
    with pytest.raises(OptionsError) as error:
        PromptNAFNet(**{**TINY, **options})
    assert said in str(error.value)
