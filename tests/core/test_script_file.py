"""Weights of a TorchScript program, which is not run."""

import pytest
import torch
from torch import nn

from dinoir_plugin.core import network_file
from dinoir_plugin.core.atomic_files import FileError

pytestmark = pytest.mark.filterwarnings('ignore:.*deprecated')


class Shifted(nn.Module):
    def __init__(self):
        super().__init__()
        self.lines = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
        self.twice = self.lines[0]
        self.offset = torch.ones(3)  # no buffer, so in no state dict
        self.register_buffer('size', torch.tensor(7))
        self.register_parameter('none', nn.Parameter(torch.zeros(0, dtype=torch.float16)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lines(x) + self.offset


@pytest.fixture
def program(tmp_path):
    """Its state dict and its file."""
    made = torch.jit.script(Shifted())
    torch.jit.save(made, tmp_path / 'program.pt')
    return made.state_dict(), tmp_path / 'program.pt'


def test_a_program_gives_its_state_dict(program):
    expected, path = program
    found = network_file.read(path).states['params']
    assert set(found) == set(expected) and 'offset' not in found
    for name, value in expected.items():
        assert found[name].dtype == value.dtype and torch.equal(found[name], value), name


def test_a_damaged_program_is_named(program):
    state, path = program
    content = bytearray(path.read_bytes())
    content[content.index(state['lines.0.weight'].numpy().tobytes())] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(FileError, match=r'program\.pt is damaged: its part program/data/\d'):
        network_file.read(path)
