"""TKMANet's losses, and its two stages: a student of teachers, then of the targets."""

import copy

import pytest
import torch
from basicsr.losses import build_loss
from basicsr.models import build_model

from dinoir_plugin.core import network_file
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.models.batch import Batch
from dinoir_plugin.nn.knowledge_transfer import Lesson, Transfer
from dinoir_plugin.testing.teachers import TINY_TKMANET, tiny_tkmanet, write_teachers


@pytest.fixture
def vgg(golden, tmp_path):
    """A file with a 32nd of VGG19's widths."""
    torch.save(golden('tkmanet_mcr_losses')[0], tmp_path / 'vgg.pth')
    return str(tmp_path / 'vgg.pth')


@pytest.fixture
def options(make_project, tmp_path, vgg):
    """A run of three tasks with teachers for two of them, one of which has learned a little more than the other."""
    torch.manual_seed(0)
    teachers = write_teachers(tmp_path, ('derain', 'denoise'))
    opt = make_project().options
    opt.update(is_train=True, dist=False, rank=0, world_size=1, num_gpu=0, model_type='TransferModel')
    opt.update(network_g={**TINY_TKMANET, 'teachers': 2}, teachers=teachers)
    opt['path'].update(models=str(tmp_path), training_states=str(tmp_path), experiments_root=str(tmp_path))
    del opt['train']['dpc_opt']
    opt['train'].update(
        transfer_opt={'type': 'KnowledgeTransferLoss'},
        scr_opt={'type': 'SCRLoss', 'loss_weight': 0.1, 'weights': vgg},
        hcr_opt={'type': 'HCRLoss', 'loss_weight': 0.2, 'weights': vgg},
        phases=[{'iters': 1, 'losses': ['transfer', 'scr']}, {'iters': 1, 'losses': ['pixel', 'hcr']}],
    )
    return opt


@pytest.mark.parametrize(('name', 'index'), [('SCRLoss', 0), ('HCRLoss', 2)])
def test_reproduces_the_authors_contrastive_losses_and_their_gradients(name, index, golden, vgg):
    _, tensors = golden('tkmanet_mcr_losses')
    output = tensors['input/0'].double().requires_grad_()
    value = build_loss({'type': name, 'weights': vgg}).double()(
        output, tensors['input/1'].double(), tensors['input/2'].double()
    )
    value.backward()
    torch.testing.assert_close(value.float(), tensors[f'output/{index}'][0], rtol=1e-6, atol=0)
    torch.testing.assert_close(output.grad.float(), tensors[f'output/{index + 1}'], rtol=0, atol=1e-7)


def test_reproduces_the_authors_transfer_loss(golden):
    _, tensors = golden('tkmanet_ckt')
    wanted = torch.cat([tensors[f'input/{index}'] for index in range(3)])
    restored = torch.cat([tensors[f'output/{index}'] for index in (3, 4, 5)])
    projected = torch.cat([tensors[f'output/{index}'] for index in range(3)])
    level = Transfer(projected, tensors['output/6'], restored, wanted)
    image = torch.rand(3, 3, 8, 8)
    lesson = Lesson(torch.tensor([2, 0, 1]), (1, 1, 1), (wanted,), image[[2, 0, 1]] + 0.25)
    outputs = Outputs(image, aux={'transfers': (level,), 'lesson': lesson})
    loss = build_loss({'type': 'KnowledgeTransferLoss', 'loss_weight': 2.0}).of_step(outputs, Batch(image))
    torch.testing.assert_close(loss, 2 * (0.25 + tensors['output/7'][0] + tensors['output/8'][0]))


def test_images_are_drawn_to_those_of_their_own_teachers(options, vgg):
    model = build_model(options)
    images = torch.rand(3, 3, 32, 32)
    tasks = ['denoise', 'derain', 'denoise']
    batch = Batch(images, torch.rand(3, 3, 32, 32), tasks)
    lesson = model._lesson(batch)
    assert lesson.counts == (1, 2) and lesson.order.tolist() == [1, 0, 2]
    with torch.no_grad():
        for place, image, features in zip(lesson.order.tolist(), lesson.image, zip(*lesson.features)):
            said = model._teachers[tasks[place]](images[place : place + 1], return_feat=True)
            torch.testing.assert_close(image, said.image[0])
            torch.testing.assert_close(features, tuple(feature[0] for feature in said.aux['features']))
        outputs = model.net_g(images, lesson=lesson)
    soft = build_loss({'type': 'SCRLoss', 'weights': vgg})
    expected = soft(outputs.image[lesson.order], lesson.image, images[lesson.order])
    torch.testing.assert_close(soft.of_step(outputs, batch), expected)


def test_two_stages_of_training(options):
    model = build_model(options)
    batch = {'lq': torch.rand(2, 3, 32, 32), 'gt': torch.rand(2, 3, 32, 32), 'task': ['derain', 'derain']}
    seen = []
    before = copy.deepcopy(model.net_g.state_dict())
    for iteration in (1, 2):
        model.feed_data(batch)
        model.update_learning_rate(iteration)
        model.optimize_parameters(iteration)
        seen.append({name for name in model.get_current_log() if name.startswith('l_')})
    assert seen == [{'l_transfer', 'l_scr'}, {'l_pix', 'l_hcr'}]
    after = model.net_g.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert 'conv_output.conv2d.weight' in changed
    assert 'ckt.0.teacher_projectors.PFPs.0.0.weight' in changed
    assert not any(p.requires_grad for teacher in model._teachers.values() for p in teacher.parameters())


def test_teachers_that_are_missing_or_no_teachers(options, tmp_path):
    def failing(message, **changes):
        with pytest.raises(OptionsError, match=message):
            build_model({**copy.deepcopy(options), **changes})

    failing(r'network_g\.teachers: expected 2, as many as under teachers, got 0',
            network_g=TINY_TKMANET)  # fmt: skip
    plain = tmp_path / 'plain.pth'
    torch.save(tiny_tkmanet().state_dict(), plain)
    files = options['teachers']
    failing(r'teachers\.denoise: .*does not say how its network is built', teachers={**files, 'denoise': str(plain)})
    other = tmp_path / 'other.pth'
    content = network_file.read(files['denoise'])
    about = network_file.Description({'type': 'DnCNN'})
    network_file.write(other, network_file.NetworkFile(content.states, about))
    failing(r'teachers\.denoise: expected a TKMANet', teachers={**files, 'denoise': str(other)})

    model = build_model(options)
    model.feed_data({'lq': torch.rand(1, 3, 32, 32), 'gt': torch.rand(1, 3, 32, 32), 'task': ['deblur']})
    with pytest.raises(OptionsError, match=r'teachers\.deblur: the task has no teacher'):
        model.optimize_parameters(1)


def test_the_transfer_loss_says_what_it_is_for():
    image = torch.rand(1, 3, 8, 8)
    with pytest.raises(ValueError, match='KnowledgeTransferLoss is for model_type: TransferModel'):
        build_loss({'type': 'KnowledgeTransferLoss'}).of_step(Outputs(image), Batch(image, image))


def test_layer_weights_of_another_length(vgg):
    with pytest.raises(OptionsError, match='expected 5 numbers, one a layer, got 1'):
        build_loss({'type': 'HCRLoss', 'layer_weights': [1.0], 'weights': vgg})
