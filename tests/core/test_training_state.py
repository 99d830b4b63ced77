"""Reading training states."""

import os
from collections import Counter, defaultdict

import pytest
import torch

from dinoir_plugin.core.atomic_files import FileError
from dinoir_plugin.core.training_state import read_state


def test_state_is_read_without_running_code(tmp_path):
    state = {'iter': 3, 'schedulers': [{'milestones': Counter([2]), 'd': defaultdict(dict)}], 't': torch.ones(2)}
    torch.save(state, tmp_path / '3.state')
    assert read_state(tmp_path / '3.state')['schedulers'] == state['schedulers']

    class Evil:
        def __reduce__(self):
            return os.system, (f'touch {tmp_path}/ran',)

    torch.save({'iter': Evil()}, tmp_path / '4.state')
    with pytest.raises(FileError, match=r'4\.state is not'):
        read_state(tmp_path / '4.state')
    assert not (tmp_path / 'ran').exists()


def test_other_files_of_tensors_are_no_training_states(tmp_path):
    torch.save({'params': {}}, tmp_path / 'net.pth')
    with pytest.raises(FileError, match=r'net\.pth is no training state'):
        read_state(tmp_path / 'net.pth')
