"""What ranks tell each other, in real processes."""

import subprocess
import sys

CODE = """
import sys
import torch
from torch import distributed, nn
from dinoir_plugin.core import ranks

distributed.init_process_group('gloo')
net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU())
torch.manual_seed(ranks.rank())
net(torch.rand(2, 3, 8, 8))
apart = ranks.gather(net[1].running_mean.tolist())
ranks.share_statistics(net)
together = ranks.gather([buffer.tolist() for buffer in net.buffers()])
assert apart[0] != apart[1] and together[0] == together[1] and together[0][0] == apart[0]
own = torch.tensor([[0.0, 1.0], [2.0, 3.0]]) + 10 * ranks.rank()
assert ranks.gather_tensor(own)[:, 0].tolist() == [0, 10, 2, 12]
distributed.barrier()
distributed.destroy_process_group()
"""


def test_ranks_share_running_statistics_and_samples(tmp_path):
    (tmp_path / 'share.py').write_text(CODE)
    words = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2', 'share.py']
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
