"""Stand in for CUDA graphs where there is no GPU."""

import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_flatten, tree_unflatten

from dinoir_plugin.inference.graphs import Graphs


class Traced:
    """Repeat the operations of one call on the same tensors, with all values that the host knew in it."""

    def __init__(self, compute, inputs, pool=None):
        self.kept = [value.clone() for value in inputs]
        self.repeated = 0

        def flat(*kept):
            # as a recording does, which turns gradients on
            with torch.inference_mode(False):
                leaves, self.form = tree_flatten(compute(list(kept)))
            return leaves

        self.graph = make_fx(flat)(*self.kept)
        self.made = [torch.full_like(value, torch.nan) for value in self.graph(*self.kept)]

    def repeat(self, inputs):
        self.repeated += 1
        for kept, value in zip(self.kept, inputs):
            kept.copy_(value)
        for made, value in zip(self.made, self.graph(*self.kept)):
            made.copy_(value)
        return tree_unflatten(self.made, self.form)


class TracedGraphs(Graphs):
    """Graphs of the CPU; ``recorded`` holds all that were ever made."""

    kind = 'cpu'

    def __init__(self, option='auto', say=None):
        self.recorded, self.lines = [], []
        super().__init__(option, say or self.lines.append)

    def recording(self, *given):
        self.recorded.append(Traced(*given))
        return self.recorded[-1]

    @property
    def repeated(self):
        return [recording.repeated for recording in self.recorded]
