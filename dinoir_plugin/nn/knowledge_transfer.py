"""Teachers' knowledge for one student: TKMANet's collaborative knowledge transfer (Chen et al., CVPR 2022)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Lesson(NamedTuple):
    """Hold what the teachers of a batch say of it, each of its own images only.

    Attributes:
        order: Places in the batch of the images, those of the first teacher first, (B,).
        counts: How many images each teacher has.
        features: Of the levels, (B, C, h, w) each, in that order.
        image: Restored, (B, 3, H, W), in that order.
    """

    order: Tensor
    counts: tuple[int, ...]
    features: tuple[Tensor, ...]
    image: Tensor


class Transfer(NamedTuple):
    """Hold a level's features in the space where teachers and student meet; all in the order of a :class:`Lesson`.

    Attributes:
        teacher: Projected features of the teachers, (B, hidden, h, w).
        student: Projected features of the student, the same shape.
        restored: Features of the teachers, out of ``teacher`` again, (B, C, h, w).
        wanted: What these were, (B, C, h, w).
    """

    teacher: Tensor
    student: Tensor
    restored: Tensor
    wanted: Tensor


class TeacherProjectors(nn.Module):
    """Project each teacher's features by layers of its own (``PFPs``), and back (``IPFPs``)."""

    def __init__(self, width: int, hidden: int, teachers: int) -> None:
        super().__init__()
        self.PFPs = nn.ModuleList([_projector(width, hidden) for _ in range(teachers)])
        self.IPFPs = nn.ModuleList([_projector(hidden, width) for _ in range(teachers)])

    def forward(self, features: Tensor, counts: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Project (B, width, h, w), ``counts`` images of each teacher; a teacher without any learns nothing."""
        projected = [project(own) for project, own in zip(self.PFPs, features.split(list(counts)))]
        restored = [restore(feature) for restore, feature in zip(self.IPFPs, projected)]
        return torch.cat(projected), torch.cat(restored)


class StudentProjector(nn.Module):
    """Project the student's features (``PFP``)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.PFP = _projector(width, hidden)

    def forward(self, features: Tensor) -> Tensor:
        """Take (B, width, h, w) to (B, hidden, h, w)."""
        return self.PFP(features)


class CKTModule(nn.Module):
    """Take the features of teachers and student, of one level, to where they are compared.

    Args:
        channel_t: Of the teachers' features.
        channel_s: Of the student's.
        channel_h: Where they meet.
        n_teachers: How many there are.
    """

    def __init__(self, channel_t: int, channel_s: int, channel_h: int, n_teachers: int) -> None:
        super().__init__()
        self.teacher_projectors = TeacherProjectors(channel_t, channel_h, n_teachers)
        self.student_projector = StudentProjector(channel_s, channel_h)

    def forward(self, teacher: Tensor, counts: tuple[int, ...], student: Tensor) -> Transfer:
        """Project both.

        Args:
            teacher: (B, channel_t, h, w), teacher by teacher.
            counts: How many images each teacher has.
            student: (B, channel_s, h, w), in the same order.
        """
        projected, restored = self.teacher_projectors(teacher, counts)
        return Transfer(projected, self.student_projector(student), restored, teacher)


def _projector(width: int, out: int) -> nn.Sequential:
    layers = [nn.Conv2d(width, out, 3, padding=1, bias=False), nn.Conv2d(out, out, 3, padding=1, bias=False)]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight)
    return nn.Sequential(layers[0], nn.ReLU(), layers[1])
