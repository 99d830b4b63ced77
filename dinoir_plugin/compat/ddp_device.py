"""``BaseModel.model_to_device`` gives DistributedDataParallel the current CUDA device, also for a model on the CPU.

The mend wraps the method for a distributed model whose device is the CPU; all else goes through the host's own, and
models that override the method are not touched.
"""

from __future__ import annotations

import functools
from typing import Any

from dinoir_plugin.compat._replace import is_ours


def mend() -> bool:
    """Wrap the method on the class."""
    from basicsr.models.base_model import BaseModel
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel

    host = BaseModel.model_to_device
    if is_ours(host):
        return False

    @functools.wraps(host)
    def model_to_device(self: Any, net: nn.Module) -> nn.Module:
        if not self.opt['dist'] or self.device.type != 'cpu':
            return host(self, net)
        unused = self.opt.get('find_unused_parameters', False)
        return DistributedDataParallel(net.to(self.device), find_unused_parameters=unused)

    BaseModel.model_to_device = model_to_device
    return True
