"""How the tensors of a file fit a network: which prefix stands before their names, and what is over or missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

DEEPEST = 8  # parts of a prefix
SHOWN = 2


@dataclass(frozen=True)
class Fit:
    """Hold what of a state dict fits a network.

    Attributes:
        state: The tensors that fit, by the network's names.
        given: Number of tensors in the state dict.
        wanted: Number of tensors in the network's.
        prefix: What stands before the names in the state dict and not in the network's.
        below: What stands before the names in the network: ``backbone.`` for weights of its backbone alone.
        lacks: The network's names that nothing in the state dict has.
        lacks_of_part: Those of them that are below ``below``.
        unknown: Names of the state dict under ``prefix`` that the network has not.
        reshaped: Sentences about tensors of another shape.
        outside: Number of tensors that do not stand under ``prefix``.
        why: What the network itself says of a misfit; empty where it says nothing.
    """

    state: dict[str, Tensor]
    given: int
    wanted: int
    prefix: str = ''
    below: str = ''
    lacks: list[str] = field(default_factory=list)
    lacks_of_part: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    reshaped: list[str] = field(default_factory=list)
    outside: int = 0
    why: str = ''

    def problem(self, part: bool = False, outside: bool = False) -> str:
        """Say what differs in names and shapes, for an error; empty where it fits.

        Args:
            part: Whether the weights of the network's backbone alone will do.
            outside: Whether tensors that do not stand under the prefix may be there: other parts of a training.
        """
        if self.why:
            return self.why
        lacks = self.lacks_of_part if part and self.below else self.lacks
        problems = [f"lacks '{name}'" for name in lacks]
        problems += [f"has an unknown '{name}'" for name in self.unknown]
        problems += self.reshaped
        if self.outside and not outside:
            problems.append(f"has {self.outside} tensors that do not stand under '{self.prefix}'")
        if not problems:
            return ''
        more = f' and {len(problems) - SHOWN} more' if len(problems) > SHOWN else ''
        return f'{", ".join(problems[:SHOWN])}{more} ({self.words()})'

    def words(self) -> str:
        """Say how many tensors fit, and under which names."""
        fitting = len(self.state)
        count = f'all {self.given}' if fitting == self.given else f'{fitting} of {self.given}'
        words = f'{count} tensors fit'
        if self.prefix and fitting:
            words += f", without '{self.prefix}'"
        if self.below and fitting:
            words += f", as '{self.below}'"
        rest = self.wanted - fitting
        return words + (f"; {rest} of the network's {self.wanted} get none" if rest else '')


def fit(state: Mapping[str, Tensor], network: nn.Module) -> Fit:
    """Find out how a state dict fits a network; nothing is loaded.

    Names may have more parts in front than the network's (``module.``, ``net.``, ``model.``, chains of them): the
    prefix with which most tensors fit is taken. A network with a method ``released_names`` (from the names that its
    backbone has by itself to those in the network) takes the backbone's own weights, too.
    """
    wanted = network.state_dict()
    released: Any = getattr(network, 'released_names', None)
    targets = [{name: name for name in wanted}, *([released()] if released is not None else [])]
    shapes = {name: value.shape for name, value in wanted.items()}
    (target, prefix) = max(
        ((target, prefix) for target in targets for prefix in _prefixes(state, target)),
        key=lambda found: _score(state, shapes, *found),
        default=(targets[0], ''),
    )
    below = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    named = {target[name]: value for name, value in below.items() if name in target}
    fitting = {name: value for name, value in named.items() if value.shape == shapes[name]}
    lacks = [name for name in wanted if name not in named]
    part = set(target.values())
    explain: Any = getattr(network, 'explain_misfit', None)
    whole = target is targets[0]
    return Fit(
        state=fitting,
        given=len(state),
        wanted=len(wanted),
        prefix=prefix,
        below='' if whole else next((own.removesuffix(name) for name, own in target.items()), ''),
        lacks=lacks,
        lacks_of_part=[name for name in lacks if name in part],
        unknown=[f'{prefix}{name}' for name in below if name not in target],
        reshaped=[f"has '{prefix}{name}' as {tuple(value.shape)} instead of {tuple(shapes[target[name]])}"
                  for name, value in below.items() if name in target and value.shape != shapes[target[name]]],
        outside=len(state) - len(below),
        why=str(explain(below)) if explain is not None and whole else '',
    )  # fmt: skip


def shared_prefix(names: list[str]) -> str:
    """Give the longest chain of parts that all names begin with, such as ``module.net.``; all keep a last part."""
    found = ''
    while names:
        first = names[0].removeprefix(found).partition('.')
        longer = f'{found}{first[0]}.'
        if not first[1] or not all(name.startswith(longer) for name in names):
            break
        found = longer
    return found


def _prefixes(state: Mapping[str, Tensor], target: Mapping[str, str]) -> list[str]:
    """Give the prefixes after which any name of the state dict is one of the network's; none, and the shared one."""
    found = Counter({'': 0, shared_prefix(list(state)): 0})
    for key in state:
        parts = key.split('.')
        for count in range(min(len(parts), DEEPEST)):
            name = '.'.join(parts[count:])
            if name in target:
                found[key.removesuffix(name)] += 1
    return [prefix for prefix, _ in found.most_common(DEEPEST)]


def _score(
    state: Mapping[str, Tensor], shapes: Mapping[str, Any], target: Mapping[str, str], prefix: str
) -> tuple[int, int, int]:
    """Order ways to read the names: by tensors that fit, then by names alone; the shorter prefix where they tie."""
    names = {key: target.get(key.removeprefix(prefix)) for key in state if key.startswith(prefix)}
    known = {key: name for key, name in names.items() if name is not None}
    fitting = sum(state[key].shape == shapes[name] for key, name in known.items())
    return fitting, len(known), -prefix.count('.')
