"""What the plugin changes in a run of BasicSR: its own runs, and nobody else's."""

import itertools
import json
import shutil

import basicsr
import numpy as np
import pytest
import yaml
from basicsr.utils import logger as host_logger
from basicsr.utils import options as host_options
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, MODEL_REGISTRY

from dinoir_plugin.compat import resume_device
from dinoir_plugin.core.training_sets import dealing_training_sets
from dinoir_plugin.data.mixed_degradation_dataset import MixedDegradationDataset
from dinoir_plugin.models.restoration_model import RestorationModel
from dinoir_plugin.plugin import hooks, resume, run_warnings, worker_seed


@pytest.mark.parametrize(
    ('options', 'ours'),
    [
        ({'model_type': 'RestorationModel'}, True),
        ({'model_type': 'DINOIRModel'}, True),
        ({'model_type': 'SRModel', 'network_g': {'type': 'Restormer'}}, True),
        ({'model_type': 'SRModel', 'network_g': {'type': 'Restormer_basicsr'}}, True),
        ({'model_type': 'SRGANModel', 'network_g': {'type': 'SwinIR'}, 'network_d': {'type': 'NAFNet'}}, True),
        ({'model_type': 'SRModel', 'datasets': {'train': {'type': 'MixedDegradationDataset'}}}, True),
        ({'model_type': 'SRModel', 'network_g': {'type': 'SwinIR'}, 'datasets': {'t': {'type': 'REDSDataset'}}}, False),
        ({'model_type': 'RealESRGANModel', 'network_g': None, 'datasets': [1]}, False),
        ({'model_type': 'Nothing', 'network_g': {'type': ['SwinIR']}}, False),
        ({}, False),
    ],
)  # fmt: skip
def test_whose_run_it_is(options, ours):
    assert hooks.uses_plugin(options) is ours


def test_a_users_class_derived_from_one_of_ours_makes_the_run_ours(of_a_user):
    of_a_user(MODEL_REGISTRY, type('MyModel', (RestorationModel,), {'__module__': 'mine'}))
    of_a_user(DATASET_REGISTRY, type('MySet', (MixedDegradationDataset,), {'__module__': 'mine'}))
    assert hooks.uses_plugin({'model_type': 'MyModel'})
    assert hooks.uses_plugin({'datasets': {'train': {'type': 'MySet'}}})
    kinds = ['MySet', 'MixedDegradationDataset', 'PairedImageDataset', 'Nothing', None]
    datasets = {str(number): {'type': kind, 'phase': 'train'} for number, kind in enumerate(kinds)}
    datasets['val'] = {'type': 'MySet', 'phase': 'val'}
    assert dealing_training_sets({'datasets': datasets}) == [datasets['0'], datasets['1']]


def test_a_users_network_of_a_name_of_ours_leaves_the_run_the_users(of_a_user):
    of_a_user(ARCH_REGISTRY, type('Restormer', (), {'__module__': 'mine'}))
    assert not hooks.uses_plugin({'model_type': 'SRModel', 'network_g': {'type': 'Restormer'}})
    assert hooks.uses_plugin({'model_type': 'SRModel', 'network_g': {'type': 'Restormer_basicsr'}})


def bound():
    """The functions in question, wherever BasicSR has bound them."""
    return [
        basicsr.data.worker_init_fn, basicsr.data.build_dataloader, basicsr.train.build_dataloader,
        basicsr.build_dataloader, basicsr.test.build_dataloader, basicsr.train.load_resume_state,
        basicsr.load_resume_state, host_options.ordered_yaml, basicsr.train.MessageLogger,
    ]  # fmt: skip


def test_hooks_come_and_go_with_the_runs():
    host = bound()
    assert host[0].__module__ == host[1].__module__ == 'basicsr.data'
    assert host[5] is resume_device.load_resume_state and host[7].__module__ == 'basicsr.utils.options'
    trainer = {'build_dataloader': basicsr.build_dataloader, 'own': 3}
    for _ in range(2):
        for _ in range(2):
            hooks.set_up(trainer, ours=True)
            assert not set(bound()) & set(host)
            assert basicsr.load_resume_state is basicsr.train.load_resume_state is resume.load_resume_state
            assert basicsr.data.worker_init_fn is worker_seed.worker_init_fn
            assert trainer == {'build_dataloader': basicsr.build_dataloader, 'own': 3}
        hooks.set_up(trainer, ours=False)
        assert bound() == host and trainer['build_dataloader'] is host[1]
        hooks.set_up(trainer, ours=False)
    assert worker_seed.worker_init_fn.__module__ == worker_seed.__name__
    assert resume_device.load_resume_state.__module__ == resume_device.__name__


def test_a_hook_that_does_not_fit_is_named_and_the_others_are_in_place(monkeypatch):
    monkeypatch.delattr(host_options, 'ordered_yaml')
    monkeypatch.setattr(host_logger, 'initialized_logger', {})
    hooks.set_up({}, ours=True)
    # on its way into the log
    assert 'plugin.safe_yaml: AttributeError' in run_warnings._waiting[0]
    assert basicsr.data.worker_init_fn is worker_seed.worker_init_fn


# With the trainer in a process of its own

TRAINER = """
import json, os, sys, types
from torchvision.transforms.functional import rgb_to_grayscale

# what BasicSR cannot be imported without, and the plugin brings elsewise
gone = sys.modules['torchvision.transforms.functional_tensor'] = types.ModuleType('gone')
gone.rgb_to_grayscale = rgb_to_grayscale
import numpy as np
from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.utils.registry import DATASET_REGISTRY

@DATASET_REGISTRY.register()
class Draws(PairedImageDataset):
    def __getitem__(self, index):
        with open(f'draws/{os.getpid()}', 'a') as file:
            file.write(f'{np.random.randint(2**31)}\\n')
        return super().__getitem__(index)

script = sys.argv[1]
del sys.argv[1]
sys.modules['__main__'].__file__ = script
exec(compile(open(script).read(), script, 'exec'))
print(json.dumps(['dinoir_plugin.plugin.hooks' in sys.modules, load_resume_state.__module__]))
"""


@pytest.fixture
def train(project, checkout):
    """Run train.py of a source checkout as a script, with or without the plugin; gives what each worker drew."""
    project.options.update(model_type='SRModel', name='tiny')
    project.options['datasets']['train'].update(type='Draws', batch_size_per_gpu=3)
    project.options['logger']['save_checkpoint_freq'] = 100
    project.options['path']['experiments_root'] = 'runs'
    (project.folder / 'trainer.py').write_text(TRAINER)

    def run(plugin):
        folder = project.folder / 'draws'
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        script = checkout / 'basicsr' / 'train.py'
        env = {'PYTHONPATH': str(checkout), 'DINOIR_PLUGIN_AUTOLOAD': '1' if plugin else '0'}
        done = project.run('trainer.py', script, **env)
        assert done.returncode == 0, done.stderr
        workers = [[int(line) for line in file.read_text().split()] for file in folder.iterdir()]
        # BasicSR starts a worker before the first epoch too, and ends those of that and of the last one early
        whole = [draws for draws in workers if len(draws) == 6]
        assert len(whole) >= 2
        return json.loads(done.stdout.splitlines()[-1]), whole

    return run


def test_workers_of_somebody_elses_run_draw_what_they_draw_without_the_plugin(train):
    (plugin, resumed), alone = train(plugin=False)
    assert not plugin and resumed == '__main__'
    rng = np.random.RandomState(3)
    host = [rng.randint(2**31) for _ in range(6)]
    assert all(draws == host for draws in alone)
    (plugin, resumed), beside = train(plugin=True)
    assert plugin and resumed == resume_device.__name__
    assert all(draws == host for draws in beside)


def test_workers_of_a_run_of_ours_draw_anew_at_each_epoch(train, project):
    project.options.update(scale=1, network_g={'type': 'DnCNN', 'nc': 4, 'nb': 2})
    project.options['datasets']['train']['dataroot_lq'] = 'gt'
    (_, resumed), draws = train(plugin=True)
    assert resumed == resume.__name__
    assert len(set(itertools.chain(*draws))) == 6 * len(draws)


def test_options_files_of_others_are_read_as_the_host_reads_them(project):
    text = yaml.safe_dump({**project.options, 'path': {}}) + 'name: !!python/object/apply:builtins.str [again]\n'
    (project.folder / 'tagged.yml').write_text(text)  # and a key that stands twice
    done = project.run('-m', 'basicsr.train', more=('-opt', 'tagged.yml'))
    assert done.returncode == 0, done.stderr
    assert (project.folder / 'experiments' / 'again' / 'models' / 'net_g_4.pth').is_file()


def test_a_tag_in_an_options_file_of_ours_ends_in_one_line_before_any_folder(project):
    text = "model_type: DINOIRModel\nname: !!python/object/apply:os.system ['touch ran']\n"
    (project.folder / 'bad.yml').write_text(text)
    done = project.run('-m', 'basicsr.train', more=('-opt', 'bad.yml'))
    assert done.returncode == 1
    assert done.stderr == (
        "bad.yml: line 2: the tag '!!python/object/apply:os.system' is refused: options files hold plain values\n"
    )
    assert project.folders() == set()
    assert not (project.folder / 'ran').exists()
