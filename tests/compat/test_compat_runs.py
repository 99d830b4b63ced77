"""BasicSR's own trainer and tester, run as users run them, on a machine without a GPU."""

import pytest


def listing(installed):
    """Everything below and beside the installed package that a run could leave there."""
    beside = {path.name for path in installed.parent.iterdir()}
    return beside | {str(path) for path in installed.rglob('*') if '__pycache__' not in path.parts}


@pytest.fixture
def untouched(installed):
    before = listing(installed)
    yield
    assert listing(installed) == before


def test_launched_run_trains_on_two_cpu_processes_and_writes_to_the_working_directory(project, untouched):
    project.options['train']['total_iter'] = 2
    project.options['datasets']['train'].update(batch_size_per_gpu=1, num_worker_per_gpu=0)
    torchrun = ('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2')
    done = project.run(*torchrun, '-m', 'basicsr.train', more=('--launcher', 'pytorch'))
    assert done.returncode == 0, done.stderr
    assert 'World size (gpu number): 2' in done.stderr
    assert 'End of training' in done.stderr
    assert 'found in sys.modules' not in done.stderr
    assert project.folders() == {'experiments', 'tb_logger'}
    run = project.folder / 'experiments' / 'tiny'
    assert {path.name for path in (run / 'models').iterdir()} == {'net_g_2.pth', 'net_g_latest.pth'}
    assert list((project.folder / 'tb_logger' / 'tiny').glob('events.*'))


def test_experiments_root_auto_resume_and_test(project, checkout, untouched):
    project.options['path']['experiments_root'] = 'runs'
    done = project.run('-m', 'basicsr.train')
    assert done.returncode == 0, done.stderr
    assert 'found in sys.modules' not in done.stderr
    assert project.folders() == {'runs', 'tb_logger'}
    run = project.folder / 'runs' / 'tiny'
    assert {path.name for path in (run / 'training_states').iterdir()} == {'2.state', '4.state'}

    # The same run goes on in a source checkout, where train.py is a script.
    project.options['train']['total_iter'] = 6
    script = checkout / 'basicsr' / 'train.py'
    done = project.run(script, more=('--auto_resume',), PYTHONPATH=str(checkout))
    assert done.returncode == 0, done.stderr
    assert 'Resuming training from epoch: 1, iter: 4.' in done.stderr
    assert '[epoch:  1, iter:       5, lr:(5.000e-05,)]' in done.stderr
    assert (run / 'training_states' / '6.state').is_file()
    assert [path.name for path in run.parent.iterdir()] == ['tiny']  # not archived
    assert {path.name for path in checkout.iterdir()} == {'basicsr', 'tb_logger'}  # the host's own place for it

    val = {**project.options['datasets'].pop('train'), 'name': 'val'}
    project.options['datasets'] = {'test_1': val}
    project.options['path'] = {'pretrain_network_g': str(run / 'models' / 'net_g_6.pth')}
    project.options['val'] = {'save_img': True, 'suffix': None, 'metrics': None}
    done = project.run('-m', 'basicsr.test')
    assert done.returncode == 0, done.stderr
    assert project.folders() == {'runs', 'tb_logger', 'results'}
    assert len(list((project.folder / 'results' / 'tiny' / 'visualization' / 'val').iterdir())) == 6
