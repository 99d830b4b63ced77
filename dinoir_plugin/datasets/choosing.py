"""A seeded choice of a training split's images, the same wherever it is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from dinoir_plugin.datasets.description import DataSet
from dinoir_plugin.datasets.errors import PreparationError
from dinoir_plugin.datasets.planning import Scene, SplitPlan, digest_of
from dinoir_plugin.datasets.recipe import Choice

CHOSEN = 'train'


def renamed(dataset: DataSet, choice: Choice) -> DataSet:
    """Give the data set with other folders for the roots of its training split: those of a choice."""
    splits = tuple(
        dataclasses.replace(split, folder=split.folder + choice.suffix) if split.name == CHOSEN else split
        for split in dataset.splits
    )
    return dataclasses.replace(dataset, splits=splits)


def choose(dataset: DataSet, plans: Sequence[SplitPlan], choice: Choice) -> list[SplitPlan]:
    """Take ``choice.images`` images of the training split: degraded ones with their clean ones, or clean ones.

    Their keys are sorted, and NumPy's ``default_rng(seed).choice`` draws numbers of them without repetition, so the
    choice depends on the release's names, the number and the seed alone.

    Raises:
        PreparationError: There is no training split, or it has fewer images.
    """
    if CHOSEN not in (plan.split.name for plan in plans):
        raise PreparationError(f'{dataset.name}: --choose takes images of a training set, and there is none. Leave it '
                               'out')  # fmt: skip
    return [_chosen(dataset, plan, choice) if plan.split.name == CHOSEN else plan for plan in plans]


def _chosen(dataset: DataSet, plan: SplitPlan, choice: Choice) -> SplitPlan:
    keys = sorted(part.key for scene in plan.scenes for part in scene.parts if part.role == 0)
    if len(keys) < choice.images:
        raise PreparationError(f'{dataset.name}: --choose {choice.images}, but there are {len(keys)} images')
    numbers = np.random.default_rng(choice.seed).choice(len(keys), choice.images, replace=False)
    taken = {keys[number] for number in numbers}
    scenes = []
    for scene in plan.scenes:
        first = [part for part in scene.parts if part.role == 0 and part.key in taken]
        others = [part for part in scene.parts if part.role > 0]
        if first:
            scenes.append(Scene((*first, *others)))
    return SplitPlan(plan.split, scenes, digest_of(scenes))
