"""Writes the pins beside it, from the tree that is imported: ``python tests/pins/make_pins.py [--checkpoints]``.

They are what a change must not change. Write them anew only where a change is wanted, and say so. Without
``--checkpoints`` those are kept: checkpoints of then have to be read for ever.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from pin_cases import (
    GUIDED,
    HERE,
    OPTIONS,
    SMALL,
    check,
    go_on_from_pinned_state,
    machine,
    measured,
    project,
    restore,
    shapes,
    train,
    train_on_two_ranks,
    write_image,
    write_large,
    write_photos,
)
from skimage import data


def write_checkpoints(folder, photos):
    """A pair to go on from iteration 2, and the network after so many that it restores."""
    options = project(photos, SMALL, total_iter=4)
    options['logger']['save_checkpoint_freq'] = 2
    run, _ = train(folder / 'few', options)
    shutil.copy(run / 'models' / 'net_g_2.pth', HERE)
    shutil.copy(run / 'training_states' / '2.state', HERE)
    many = {'total_iter': 600, 'scheduler': {'type': 'MultiStepLR', 'milestones': [400], 'gamma': 0.5}}
    run, _ = train(folder / 'many', project(photos, SMALL, **many))
    shutil.copy(run / 'models' / 'net_g_600.pth', HERE / 'net_g.pth')


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = write_photos(folder / 'photos')
        options = project(photos, GUIDED)
        run, rows = train(folder / 'one', options)
        if '--checkpoints' in sys.argv[1:]:
            write_checkpoints(folder / 'small', photos)
        pins = {
            'machine': machine(),
            'log': rows,
            'metrics': measured(run),
            'two_ranks': train_on_two_ranks(folder / 'two', options),
            'resumed': go_on_from_pinned_state(folder / 'resumed', project(photos, SMALL)),
            'checks': {file: check(file, folder / f'check{number}') for number, file in enumerate(OPTIONS)},
        }
        (HERE / 'pins.json').write_text(json.dumps(pins, indent=1) + '\n')
        (HERE / 'shapes.json').write_text(json.dumps(shapes(), indent=0) + '\n')
        write_image(HERE / 'input.png', data.chelsea()[80:160, 180:276])
        write_large(folder / 'large.png')
        for source, target, more in ((HERE / 'input.png', HERE / 'restored.png', ()),
                                     (folder / 'large.png', HERE / 'restored_in_tiles.png', ('--tile', 128))):
            restore(source, target, *more, '--overwrite')


if __name__ == '__main__':
    sys.exit(main())
