"""Faults that a training run meets, tried on real processes, and whether the run survives them.

A trial gives an Outcome: whether the run ended as it should, and what it said. ``scripts/faults.py`` makes a table of
them, the tests ask for the short form.
"""

import os
import random
import re
import resource
import signal
import time
from typing import NamedTuple

import torch

from tests.project import logged

ITERATIONS = 24
SAVE_EVERY = 3
LOGGED = ('l_pix', 'l_dpc', 'psf/deep', 'l1/denoise', 'l1/dehaze')
TORCHRUN = ('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2', '-m', 'basicsr.train')
LAUNCHER = ('--launcher', 'pytorch')


class Outcome(NamedTuple):
    """What became of a run.

    Attributes:
        survived: Whether it ended as it should have.
        said: The line that says why it stopped, or what differed.
    """

    survived: bool
    said: str


def prepare(project, iterations=ITERATIONS, save_every=SAVE_EVERY, print_freq=1):
    """A run that saves often."""
    project.train.update(total_iter=iterations)
    project.train['scheduler'].update(milestones=[iterations // 3, iterations // 2])
    project.options['logger'].update(save_checkpoint_freq=save_every, print_freq=print_freq)
    return project


def end_of(project):
    """The last checkpoint's content: networks, average, optimizer, scheduler, random numbers."""
    total = project.train['total_iter']
    network = torch.load(project.models / f'net_g_{total}.pth', weights_only=True)
    latest = torch.load(project.models / 'net_g_latest.pth', weights_only=True)
    return {'network': network, 'latest': latest, 'state': read_state(project.states / f'{total}.state')}


def read_state(path):
    from dinoir_plugin.compat.resume import read_state as read

    return read(path)


def first_difference(a, b, place=''):
    """Where two nested contents differ, None where they are equal to the last bit."""
    if isinstance(a, torch.Tensor):
        same = isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
        return None if same else place
    if isinstance(a, dict) and isinstance(b, dict):
        if a.keys() != b.keys():
            return f'{place}: {sorted(map(str, a.keys() ^ b.keys()))}'
        return next(filter(None, (first_difference(a[key], b[key], f'{place}/{key}') for key in a)), None)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)) and len(a) == len(b):
        return next(filter(None, (first_difference(x, y, f'{place}/{n}') for n, (x, y) in enumerate(zip(a, b)))), None)
    return None if a == b else place


def lines(log):
    """Iteration to what was logged of it; a later line of an iteration must repeat the earlier one."""
    found = {}
    for line in log.splitlines():
        match = re.search(r'iter:\s*([\d,]+)', line)
        if match and 'l_pix' in line:
            iteration = int(match[1].replace(',', ''))
            found.setdefault(iteration, set()).add(tuple((key, *logged(line, key)) for key in LOGGED))
    return found


def killed_at_random(project, kills, seed, more=(), **start):
    """Kill all of a run's processes ``kills`` times, somewhere after an iteration, and let it end at last.

    Returns:
        All that was logged.
    """
    rng = random.Random(seed)
    log = ''
    done = 0
    for kill in range(kills):
        process = project.start(*more, *(('--auto_resume',) if kill else ()), **start)
        target = done + rng.randint(1, max(1, (project.train['total_iter'] - done) // (kills - kill + 1)))
        for line in process.stdout:
            log += line
            iterations = lines(line)
            if iterations and max(iterations) >= target:
                done = max(iterations)
                break
        time.sleep(rng.uniform(0, 0.15))
        os.killpg(process.pid, signal.SIGKILL)
        rest, _ = process.communicate()
        log += rest
        done = max(lines(log), default=0)
    return log + project.run(*more, '--auto_resume', **start).log


def compare(reference, project, log, reference_log):
    """The Outcome of an interrupted run held against one that never was."""
    wanted, got = lines(reference_log), lines(log)
    for iteration, values in wanted.items():
        if got.get(iteration) != values:
            return Outcome(False, f'iteration {iteration} logged {got.get(iteration)} instead of {values}')
    place = first_difference(reference, end_of(project))
    return Outcome(place is None, 'the same to the last bit' if place is None else f'{place} differs')


def last_line(log):
    """What a person sees at the end."""
    return next(line for line in reversed(log.splitlines()) if line.strip()).strip()


def small_files(limit):
    """For a process about to start: a write beyond ``limit`` bytes fails, as on a full disk."""

    def set_limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return set_limit
