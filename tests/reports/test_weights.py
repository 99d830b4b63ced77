"""Users' reports of weights of others that do not load: the tests have the reports' numbers."""

import argparse
import io
import pathlib
import pickle
import re
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from basicsr.archs import build_network
from safetensors.torch import save_file

from dinoir_plugin.core import network_file
from dinoir_plugin.core.foreign_files import load_foreign

ENCODER = {'name': 'vit_small_patch14_dinov2', 'weights': 'random', 'layers': {'shallow': 0, 'deep': 1},
           'model_args': {'img_size': 224, 'embed_dim': 48, 'depth': 2, 'num_heads': 3, 'init_values': 1.0}}
BACKBONE = {'type': 'Restormer', 'dim': 8, 'num_blocks': [1, 1, 1, 1], 'num_refinement_blocks': 0,
            'heads': [1, 1, 1, 1], 'ffn_expansion_factor': 1.5}
PROMPTIR = {'type': 'PromptIR', 'dim': 8, 'num_blocks': [1, 1, 1, 1], 'num_refinement_blocks': 1, 'heads': [1, 1, 1, 1]}


class AttributeDict(dict):
    """As Lightning keeps hyperparameters."""


class Callback:
    """As Lightning has its classes for keys."""


class Mischief:
    def __reduce__(self):
        return Path.mkdir, (Path('mischief'),)


def below(prefix, state):
    return {f'{prefix}{name}': value for name, value in state.items()}


def lightning(state):
    return {
        'epoch': 3, 'pytorch-lightning_version': '2.0',
        'state_dict': {**below('net.', state), 'loss.vgg.w': torch.ones(3)},
        'hyper_parameters': AttributeDict(args=argparse.Namespace(lr=1), path=pathlib.PurePosixPath('/x')),
        'callbacks': {Callback: {'best': torch.tensor(1.0)}}, 'numbers': [np.float64(3), np.ones(2)],
        'optimizer_states': [{'state': {0: {'exp_avg': torch.ones(3)}}}],
    }  # fmt: skip


def saved(content, **how):
    def write(path, net):
        torch.save(content(net.state_dict()), path, **how)

    return write


def whole(path, net, **how):
    torch.save(net, path, **how)


def tarred(path, net):
    """As torch 0.1 wrote files: three pickles in a tar, tensors by their numbers."""
    state = net.state_dict()
    keys = {id(value): 100 + number for number, value in enumerate(state.values())}

    class Numbers(pickle.Pickler):
        def persistent_id(self, value):
            return str(keys[id(value)]) if isinstance(value, torch.Tensor) else None

    def triple(first, second, kind):
        return b'\x80\x02J' + struct.pack('<i', first) + second + b'ctorch\n' + kind + b'\n\x87.'

    storages, tensors, structure = io.BytesIO(), io.BytesIO(), io.BytesIO()
    for stream in (storages, tensors):
        pickle.dump(len(state), stream, 2)
    for number, value in enumerate(state.values()):
        numbers = value.contiguous().numpy().ravel()
        storages.write(triple(number, b'X\x03\x00\x00\x00cpu', b'FloatStorage') + struct.pack('<q', numbers.size))
        storages.write(numbers.tobytes())
        tensors.write(triple(100 + number, b'J' + struct.pack('<i', number), b'FloatTensor'))
        shape = (value.dim(), *value.shape, *value.stride(), 0)
        tensors.write(struct.pack(f'<{len(shape)}q', *shape))
    pickle.dump([], storages, 2)
    Numbers(structure, 2).dump(dict(state))
    with tarfile.open(path, 'w') as archive:
        for name, stream in (('storages', storages), ('tensors', tensors), ('pickle', structure)):
            entry = tarfile.TarInfo(name)
            entry.size = stream.tell()
            stream.seek(0)
            archive.addfile(entry, stream)


OLD = {'_use_new_zipfile_serialization': False}
FILES = {
    8: {
        'bare.pth': saved(dict),
        'params.pth': saved(lambda state: {'params': state}),
        'ema.pth': saved(lambda state: {'params_ema': state}),
        'state_dict.pth': saved(lambda state: {'state_dict': state, 'epoch': 3}),
        'generator.pth': saved(lambda state: {'generator': state, 'discriminator': {'w': torch.ones(3)}}),
        'network.pth': whole,
    },
    9: {
        'net.ckpt': saved(lambda state: {'state_dict': below('net.', state)}),
        'chain.pth': saved(lambda state: below('module.model.', state)),
        'backbone.pth': saved(lambda state: {'params': below('backbone.', state)}),
        'own.pth': saved(lambda state: {'model': {'state_dict': below('my.own.', state)}}),
        'lightning.ckpt': saved(lightning),
        'net.safetensors': lambda path, net: save_file(below('net.', net.state_dict()), path),
        'tensors_as.pth': lambda path, net: save_file(net.state_dict(), path),
    },
    11: {
        'old.pth': saved(dict, **OLD),
        'old_lightning.pth': saved(lightning, **OLD),
        'old_network.pth': lambda path, net: whole(path, net, **OLD),
        'oldest.pth': tarred,
    },
}
CASES = [pytest.param(number, name, id=f'report_{number}_{name}') for number, names in FILES.items() for name in names]
KEYS = ('left out', None, 'state_dict')


@pytest.fixture
def short(options):
    """One iteration that changes nothing."""
    options['train'].update(total_iter=1)
    options['train']['optim_g']['lr'] = 0.0
    options.pop('val')
    options['datasets'].pop('val')
    return options


@pytest.mark.parametrize(
    ('number', 'name', 'key'),
    [pytest.param(*case.values, KEYS[place % 3], id=case.id) for place, case in enumerate(CASES)]
    + [(8, 'bare.pth', key) for key in KEYS[1:]],
)
def test_report_8_9_11_weights_of_others_begin_a_run(train, check, short, number, name, key):
    net = build_network(dict(short['network_g']))
    FILES[number][name](name, net)
    short['path'] = {'pretrain_network_g': name, **({} if key == 'left out' else {'param_key_g': key})}
    done = train(short)
    assert done.code is None and re.search('(all 6|6 of 7) tensors fit', done.log)
    trained = network_file.read('experiments/run/models/net_g_latest.pth').states['params']
    assert all(torch.equal(trained[name], value) for name, value in net.state_dict().items())
    if key is None:
        assert 'tensors fit' in check(short).out


@pytest.mark.parametrize(('number', 'name'), CASES)
def test_report_8_9_11_weights_of_others_restore(dinoir, short, number, name):
    net = build_network(dict(short['network_g']))
    FILES[number][name](name, net)
    Path('n.yml').write_text(yaml.safe_dump({'network_g': short['network_g']}))
    result = dinoir('restore', 'data/noisy/0.png', 'out', '--checkpoint', name, '--options', 'n.yml')
    assert result.status == 0, result.out
    assert 'tensors' in dinoir('info', name).out


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (b'<!DOCTYPE html><html></html>', 'it is a web page'),
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:1', 'run git lfs pull'),
        (pickle.dumps({'a': [1.0]}), "torch.save({'params': network.state_dict()}, 'converted.pth')"),
    ],
    ids=['page', 'pointer', 'pickle'],
)
def test_report_11_what_cannot_be_read_says_what_to_do(train, check, dinoir, short, content, said):
    Path('w.pth').write_bytes(content)
    short['path'] = {'pretrain_network_g': 'w.pth'}
    assert said in check(short).out and said in train(short).code
    assert said in dinoir('info', 'w.pth').out


def test_report_11_nothing_in_a_file_is_run(folder):
    for name, how in (('new.pth', {}), ('old.pth', OLD)):
        torch.save({'state_dict': {'a': torch.ones(1)}, 'more': Mischief()}, name, **how)
        assert torch.equal(network_file.read(name).states['params']['a'], torch.ones(1))
        assert type(load_foreign(Path(name))['more']).__name__ == 'Unknown'
    assert not Path('mischief').exists()


@pytest.mark.parametrize('strict', [True, False])
def test_report_10_weights_of_which_nothing_fits_are_an_error(train, check, short, strict):
    torch.save(build_network({'type': 'DnCNN', 'nc': 9, 'nb': 4}).state_dict(), 'w.pth')
    short['path'] = {'pretrain_network_g': 'w.pth', 'strict_load_g': strict}
    said = "path.pretrain_network_g: nothing in 'w.pth' fits network_g"
    assert check(short).status == 1 and said in check(short).out
    assert train(short).code.startswith(f'o.yml: {said}')
    assert not Path('experiments').exists()


def test_report_10_how_many_fit_is_said(train, check, short):
    state = build_network(dict(short['network_g'])).state_dict()
    state['model.0.weight'] = torch.ones(1)
    torch.save({**below('net.', state), 'net.more': torch.ones(1)}, 'w.pth')
    short['path'] = {'pretrain_network_g': 'w.pth', 'strict_load_g': False}
    said = "5 of 7 tensors fit, without 'net.'; 1 of the network's 6 get none"
    assert check(short).status == 0 and said in check(short).out
    assert said in train(short).log
    short['path']['strict_load_g'] = True
    refused = train(short).code
    assert "has an unknown 'net.more'" in refused and 'strict_load_g: false' in refused


@pytest.mark.parametrize('strict', [True, False])
def test_report_10_a_guided_network_takes_its_backbones_own_weights(train, check, short, strict):
    short['network_g'] = {'type': 'DINOIRArch', 'backbone': BACKBONE, 'encoder': ENCODER, 'guide_at': ['latent'],
                          'psf': {'dim': 16}}
    backbone = build_network(dict(BACKBONE)).state_dict()
    torch.save({'state_dict': below('module.', backbone)}, 'w.pth')
    short['path'] = {'pretrain_network_g': 'w.pth', 'strict_load_g': strict}
    assert f"all {len(backbone)} tensors fit, without 'module.', as 'backbone.'" in check(short).out
    done = train(short)
    assert done.code is None
    trained = network_file.read('experiments/run/models/net_g_latest.pth').states['params']
    assert all(torch.equal(trained[f'backbone.{name}'], value) for name, value in backbone.items())
    # the method's own parameters are missing: good for a beginning, not for a test
    test = {**short, 'datasets': {'test': {'name': 't', 'type': 'MixedDegradationDataset',
                                           'tasks': short['datasets']['train']['tasks']}}, 'val': {'save_img': False}}
    test.pop('train')
    test.pop('logger')
    assert (check(test).status == 1) is strict


def test_report_9_promptir_as_it_is_released(train, short):
    short['network_g'] = dict(PROMPTIR)
    net = build_network(dict(PROMPTIR)).state_dict()
    torch.save({'state_dict': below('net.', net)}, 'w_promptir.ckpt')
    for strict in (True, False):
        short['path'] = {'pretrain_network_g': 'w_promptir.ckpt', 'param_key_g': 'state_dict', 'strict_load_g': strict}
        done = train(short)
        assert done.code is None and f"all {len(net)} tensors fit, without 'net.'" in done.log
