import multiprocessing

import pytest
import torch
from torch import distributed

from dinoir_plugin.losses.vgg_features import VGGFeatures
from dinoir_plugin.methods.perceive_ir import clip_aware_loss, code_contrast_loss, difficulty_adaptive_loss
from dinoir_plugin.methods.perceive_ir.clip_aware import quality_logits, seen_by_clip
from dinoir_plugin.methods.perceive_ir.difficulty import LAYERS, difficulty, psnr, seen_by_vgg
from tests.exporting import TOO_OLD
from tests.methods.perceive_ir.largest_error import error

# of DPL: what is restored, and the proxies with whether weights count
CASES = {
    'none': ('restored', (), True), 'masked': ('restored', ('hard',), True), 'hard': ('restored', ('hard',), True),
    'very': ('restored', ('very',), True), 'plain': ('restored', ('hard',), False),
    'mixed': ('restored', ('hard', 'very', 'mix'), True), 'perfect': ('gt', ('hard',), True),
    'identity': ('lq', (), True), 'identity_hard': ('lq', ('hard',), True),
}  # fmt: skip


def contrast(tensors, case):
    anchor, positive = (tensors[f'input/{case}_{name}'].requires_grad_() for name in ('anchor', 'positive'))
    tau = tensors[f'input/{"ranks" if case.startswith("rank") else case}_tau'].item()
    loss = code_contrast_loss(anchor, positive, tensors[f'input/{case}_labels'].long(), tau)
    loss.backward()
    found = {'loss': loss.detach(), 'grad_anchor': anchor.grad, 'grad_positive': positive.grad}
    return {name: (value, tensors[f'output/{case}_{name}']) for name, value in found.items()}


@pytest.mark.parametrize('case', ['mixed', 'tau', 'single_task', 'unnormalised'])
def test_codes_are_contrasted_as_by_the_authors(case, golden):
    for value, expected in contrast(golden('perceive_ir/contrast')[1], case).values():
        if case == 'single_task':
            assert not value.any() and not expected.any()
        else:
            assert error(value, expected) < 1e-4


def as_rank(rank, address, tensors, results):
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', init_method=address, rank=rank, world_size=2)
    results.put((rank, [error(*pair) for pair in contrast(tensors, f'rank{rank}').values()]))
    distributed.barrier()
    distributed.destroy_process_group()


def test_negatives_are_gathered_over_ranks_of_unequal_batches(golden, tmp_path):
    forked = multiprocessing.get_context('fork')
    results, address = forked.Queue(), f'file://{tmp_path}/ranks'
    tensors = golden('perceive_ir/contrast')[1]
    processes = [forked.Process(target=as_rank, args=(rank, address, tensors, results)) for rank in (0, 1)]
    for process in processes:
        process.start()
    found = dict(results.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(timeout=60)
    assert set(found) == {0, 1} and all(value < 1e-4 for errors in found.values() for value in errors)


def test_clip_judges_features_and_pixels_as_by_the_authors(golden):
    tensors = golden('perceive_ir/clip_loss')[1]
    features, quality = tensors['input/feat_image'].requires_grad_(), tensors['input/feat_quality']
    loss = clip_aware_loss(features, quality)
    loss.backward()
    assert error(loss.detach(), tensors['output/feat_loss']) < 1e-5
    assert error(features.grad, tensors['output/feat_grad_image']) < 1e-4
    probability = quality_logits(features, quality).softmax(dim=-1).detach()
    assert error(probability, tensors['output/feat_probability']) < 1e-5

    restored = tensors['input/pix_restored'].requires_grad_()
    pooled = torch.nn.functional.avg_pool2d(seen_by_clip(restored), 32).flatten(1)
    loss = clip_aware_loss(pooled @ tensors['input/pix_projection'], tensors['input/pix_quality'])
    loss.backward()
    assert error(pooled.detach(), tensors['output/pix_pooled']) < 1e-5
    assert error(loss.detach(), tensors['output/pix_loss']) < 1e-5
    assert error(restored.grad, tensors['output/pix_grad_restored']) < 1e-4


def test_clips_own_factor_makes_the_loss_decide():
    torch.manual_seed(0)
    quality = torch.nn.functional.normalize(torch.randn(3, 24), dim=-1)
    assert clip_aware_loss(quality[2:], quality, 100) < 1e-3 < clip_aware_loss(quality[2:], quality)
    assert clip_aware_loss(quality[:2], quality, 100) > 0.999
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert clip_aware_loss(quality[2:], quality).dtype == torch.float32


@pytest.fixture(scope='module')
def dpl(golden, tmp_path_factory):
    params, tensors = golden('perceive_ir/dpl')
    file = tmp_path_factory.mktemp('vgg') / 'vgg.pth'
    torch.save({key.removeprefix('vgg.'): value for key, value in params.items() if 'features' in key}, file)
    vgg = VGGFeatures('vgg16', LAYERS, str(file))
    return tensors, lambda image: vgg(seen_by_vgg(image))


@pytest.mark.parametrize('case', CASES)
def test_difficulty_is_weighed_as_by_the_authors(case, dpl):
    tensors, features = dpl
    name, proxies, weighed = CASES[case]
    restored = tensors[f'input/{name}'].clone().requires_grad_()
    gt, lq = (tensors[f'input/{name}'] for name in ('gt', 'lq'))
    weights, masks = [], []
    for proxy in proxies:
        image = tensors[f'input/proxy_{proxy}']
        weights.append(difficulty(image, gt, tensors['input/reference_psnr']))
        assert error(psnr(image, gt), tensors[f'output/psnr_{proxy}']) < 1e-5
        assert torch.equal(weights[-1], tensors[f'output/weight_{proxy}'])
        masks.append(tensors.get(f'input/{case}_mask_{proxy}') if case != 'masked' else torch.zeros(len(gt)))
    own = features(restored)
    loss = difficulty_adaptive_loss(
        own, features(gt), features(lq), [features(tensors[f'input/proxy_{proxy}']) for proxy in proxies],
        weights if weighed else None, masks,
    )  # fmt: skip
    loss.backward()
    expected, grad = tensors[f'output/{case}_loss'], tensors[f'output/{case}_grad_restored']
    if case == 'perfect':
        assert loss == expected == 0
    else:
        assert error(loss.detach(), expected) < 1e-5
        # torch 2.11 lets another gradient through where a value lies on a limit of clipping
        same = (restored > 0) & (restored < 1) if TOO_OLD else torch.ones_like(grad, dtype=torch.bool)
        assert error(restored.grad[same], grad[same]) < 1e-4
    if case == 'none':
        for number, feature in enumerate(own):
            assert error(feature.detach(), tensors[f'output/feature{number}_restored']) < 1e-5


@pytest.mark.parametrize(('case', 'names'), [('none', ()), ('one', ('p1',)), ('two', ('p1', 'p2'))])
def test_the_formula_alone_is_the_authors(case, names, golden):
    tensors = golden('perceive_ir/dpl_features')[1]
    levels = {name: [tensors[f'input/{name}_level{level}'] for level in range(4)]
              for name in ('restored', 'gt', 'lq', 'p1', 'p2')}  # fmt: skip
    restored = [feature.clone().requires_grad_() for feature in levels['restored']]
    loss = difficulty_adaptive_loss(
        restored, levels['gt'], levels['lq'], [levels[name] for name in names],
        [tensors[f'input/weight_{name}'] for name in names], [tensors.get(f'input/mask_{name}') for name in names],
    )  # fmt: skip
    loss.backward()
    assert error(loss.detach(), tensors[f'output/{case}_loss']) < 1e-5
    for level, feature in enumerate(restored):
        assert error(feature.grad, tensors[f'output/{case}_grad_level{level}']) < 1e-4


def test_a_floor_bounds_the_loss_where_the_output_equals_the_input(golden):
    tensors = golden('perceive_ir/dpl_features')[1]
    gt, lq = ([tensors[f'input/{name}_level{level}'] for level in range(4)] for name in ('gt', 'lq'))
    assert difficulty_adaptive_loss(lq, gt, lq) > 1e4
    bound = sum((1 / 12, 1 / 6, 1 / 3, 1.0)) / 0.1
    torch.testing.assert_close(difficulty_adaptive_loss(lq, gt, lq, floor=0.1), torch.tensor(bound))
    # where the output is far enough from the input, nothing changes
    torch.testing.assert_close(difficulty_adaptive_loss(gt, lq, lq, floor=0.1), difficulty_adaptive_loss(gt, lq, lq))
    with pytest.raises(ValueError, match='expected weights of 0 proxies, got 1'):
        difficulty_adaptive_loss(gt, gt, lq, (), [torch.ones(3)])
    with pytest.raises(ValueError, match=r'as many levels of all features and weights, got \[3, 4\]'):
        difficulty_adaptive_loss(gt, gt[:3], lq)
