"""A user's own modules take part wherever BasicSR and the commands run."""

import os
import re
import subprocess
import sys

import pytest
import yaml

from dinoir_plugin.core.options_files import CHECKOUT
from dinoir_plugin.testing.project import logged

# the page's own module
PARTS = '\n'.join(re.findall(r'```python\n(.*?)```', (CHECKOUT.parent / 'docs' / 'extend.md').read_text(), re.DOTALL))


@pytest.fixture
def project(make_project, monkeypatch):
    """A run of own parts, whose module lies in the working directory."""
    project = make_project()
    (project.folder / 'my_parts.py').write_text(PARTS)
    monkeypatch.setenv('DINOIR_PLUGIN_IMPORT', 'my_parts')
    project.options.update(network_g={'type': 'TwoConvolutions', 'width': 6}, model_type='RestorationModel')
    del project.train['dpc_opt']
    project.train.update(total_iter=2, mine_opt={'type': 'MyLoss', 'loss_weight': 0.5})
    clean = project.data['tasks']['denoise']['dataroot_gt']
    noise = {'type': 'gaussian_noise', 'sigma': 15}
    project.data['tasks']['dark'] = {'dataroot_gt': clean, 'degradation': [{'type': 'Darker', 'factor': 0.3}, noise]}
    return project


def dinoir(project, *words):
    command = [sys.executable, '-m', 'dinoir_plugin', *map(str, words)]
    environment = {**os.environ, 'PYTHONPATH': str(CHECKOUT.parent)}
    return subprocess.run(command, cwd=project.folder, env=environment, capture_output=True, text=True, check=False)


def test_own_parts_are_checked_trained_and_restored_with(project, tmp_path):
    project.add_validation()
    project.options['val']['metrics']['error'] = {'type': 'my_error', 'better': 'lower'}
    log = project.run().log
    assert len(logged(log, 'l_mine')) == 2
    assert re.search(r'# dark: error [0-9.]+ \(input [0-9.]+\), psnr [0-9.]+', log), log
    (project.folder / 'my.yml').write_text(yaml.safe_dump(project.options))
    checked = dinoir(project, 'check', 'my.yml')
    assert checked.returncode == 0, checked.stdout + checked.stderr
    photos = project.data['tasks']['denoise']['dataroot_gt']
    done = dinoir(project, 'restore', photos, tmp_path / 'better', '--checkpoint', project.models / 'net_g_latest.pth')
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / 'better').iterdir())


def test_without_the_variable_the_message_says_how(project, monkeypatch):
    monkeypatch.delenv('DINOIR_PLUGIN_IMPORT')
    for what in (
        "datasets.train.tasks.dark.degradation[0].type: nothing is registered as 'Darker'. valid: 'evaluation_noise'",
        "network_g.type: nothing is registered as 'TwoConvolutions'. valid: 'AirNet'",
    ):
        # close to the name of another loss, which is what its message says
        project.train.pop('mine_opt', None)
        done = project.run(ok=False)
        assert done.returncode != 0
        said = done.log.strip().splitlines()[-1]
        assert what in said
        assert said.endswith('DINOIR_PLUGIN_IMPORT=my_module imports the module that registers it.')
        project.data['tasks'].pop('dark', None)


def test_a_module_that_cannot_be_imported_is_named_and_the_others_are_there(project, monkeypatch):
    (project.folder / 'broken.py').write_text('import nothing_of_that_name\n')
    monkeypatch.setenv('DINOIR_PLUGIN_IMPORT', 'broken, my_parts')
    code = "import basicsr; from basicsr.utils.registry import ARCH_REGISTRY; assert 'TwoConvolutions' in ARCH_REGISTRY"
    done = subprocess.run([sys.executable, '-c', f'import dinoir_plugin; {code}'], cwd=project.folder,
                          env={**os.environ, 'PYTHONPATH': str(CHECKOUT.parent)},
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = "(DINOIR_PLUGIN_IMPORT=broken: ModuleNotFoundError: No module named 'nothing_of_that_name')"
    assert said in done.stderr


def test_an_installed_package_names_its_module_by_an_entry_point(tmp_path):
    (tmp_path / 'my_parts.py').write_text(PARTS)
    about = tmp_path / 'my_parts-1.0.dist-info'
    about.mkdir()
    (about / 'METADATA').write_text('Metadata-Version: 2.1\nName: my-parts\nVersion: 1.0\n')
    (about / 'entry_points.txt').write_text('[dinoir_plugin.extensions]\nmine = my_parts\n')
    code = "import dinoir_plugin, basicsr; from basicsr.utils.registry import LOSS_REGISTRY as R; assert 'MyLoss' in R"
    environment = {**os.environ, 'PYTHONPATH': f'{CHECKOUT.parent}{os.pathsep}{tmp_path}'}
    done = subprocess.run([sys.executable, '-c', code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
