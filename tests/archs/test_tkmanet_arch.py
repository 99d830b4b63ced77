import hashlib

import pytest
import torch

from dinoir_plugin.archs.tkmanet_arch import TKMANet
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.nn.knowledge_transfer import CKTModule, Lesson

TINY = {'res_blocks': 1, 'widths': [2, 4, 8, 16, 32]}
RELEASED = '827c4ac4c96c9d2609d269d5dfba08ca896fe4a591121d7719b75e5c48071712'


def error(value, reference):
    """The largest difference, in units of what float32 rounding of the stored values may come to."""
    return ((value - reference).abs().max() / (1e-6 * max(1.0, reference.abs().max().item()))).item()


def lesson(counts, side=32):
    """Of two teachers, the images of a batch in reverse order."""
    count = sum(counts)
    shapes = [(8, side // 4), (16, side // 8), (32, side // 16), (32, side // 16)]
    features = tuple(torch.rand(count, width, small, small) for width, small in shapes)
    return Lesson(torch.arange(count).flip(0), counts, features, torch.rand(count, 3, side, side))


def test_reproduces_the_authors_image_and_features(golden):
    params, tensors = golden('tkmanet')
    net = TKMANet(res_blocks=3, widths=TINY['widths'])
    net.load_state_dict(params, strict=True)
    image = tensors['input/0'].double()
    with torch.no_grad():
        outputs = net.double().eval()(image, return_feat=True)
        assert torch.equal(net(image), outputs.image)
    for index, value in enumerate((outputs.image, *outputs.aux['features'])):
        assert error(value, tensors[f'output/{index}'].double()) < 1


def test_reproduces_the_authors_projections(golden):
    params, tensors = golden('tkmanet_ckt')
    module = CKTModule(channel_t=6, channel_s=6, channel_h=3, n_teachers=3)
    module.load_state_dict(params, strict=True)
    teachers = torch.cat([tensors[f'input/{index}'] for index in range(3)]).double()
    with torch.no_grad():
        found = module.double()(teachers, (1, 1, 1), tensors['input/3'].double())
    values = (*found.teacher.split(1), *found.restored.split(1), found.student)
    for index, value in enumerate(values):
        assert error(value, tensors[f'output/{index}'].double()) < 1


def test_names_widths_and_number_of_parameters_of_the_release():
    with torch.device('meta'):
        net = TKMANet()
    lines = [f'{key}\t{"x".join(map(str, value.shape))}' for key, value in net.state_dict().items()]
    assert len(lines) == 390
    assert hashlib.sha256('\n'.join(lines).encode()).hexdigest() == RELEASED
    assert sum(p.numel() for p in net.parameters()) == 28_712_861


@pytest.mark.parametrize('size', [(32, 48), (33, 47), (3, 60), (1, 1)])
def test_takes_any_size(size):
    image = torch.rand(2, 3, *size)
    assert TKMANet(**TINY)(image).shape == image.shape


def test_a_student_projects_features_of_each_image_beside_those_of_its_teacher():
    torch.manual_seed(0)
    net = TKMANet(**TINY, teachers=2)
    assert {key.split('.')[0] for key in net.state_dict()} - {key.split('.')[0] for key in
                                                              TKMANet(**TINY).state_dict()} == {'ckt'}
    images, told = torch.rand(3, 3, 32, 32), lesson((2, 1))
    outputs = net(images, told)
    features = net(images, return_feat=True).aux['features']
    assert isinstance(outputs, Outputs)
    for module, feature, wanted, found in zip(net.ckt, features, told.features, outputs.aux['transfers']):
        torch.testing.assert_close(found.student, module.student_projector.PFP(feature.flip(0)))
        for teacher, place in enumerate((slice(0, 2), slice(2, 3))):
            projected = module.teacher_projectors.PFPs[teacher](wanted[place])
            torch.testing.assert_close(found.teacher[place], projected)
            torch.testing.assert_close(found.restored[place], module.teacher_projectors.IPFPs[teacher](projected))
        assert found.wanted is wanted


@pytest.mark.parametrize('counts', [(2, 1), (3, 0), None])
def test_every_parameter_has_a_gradient_with_each_teacher_with_some_and_without(counts):
    net = TKMANet(**TINY, teachers=2)
    outputs = net(torch.rand(3, 3, 32, 32), lesson(counts)) if counts else Outputs(net(torch.rand(3, 3, 32, 32)))
    parts = [part for level in outputs.aux.get('transfers', ()) for part in level[:3]]
    sum(part.square().sum() for part in (outputs.image, *parts)).backward()
    assert not [name for name, p in net.named_parameters() if p.grad is None]
    learned = [p.grad.any() for p in net.ckt.parameters()]
    assert any(learned) == bool(counts)


def test_other_teachers_than_there_are():
    with pytest.raises(ValueError, match=r'a lesson of 3 teachers.*network_g\.teachers.*got one of 2'):
        TKMANet(**TINY, teachers=3)(torch.rand(3, 3, 32, 32), lesson((2, 1)))


@pytest.mark.parametrize('widths', [[2, 4, 8, 16], [2, 4, 8, 16, 31], [1, 2, 4, 8, 16], []])
def test_widths_that_cannot_be_built(widths):
    with pytest.raises(OptionsError, match='each other twice the one before') as caught:
        TKMANet(res_blocks=1, widths=widths)
    assert caught.value.path == 'widths'
