"""The data sets of degraded and clean images in pairs; what patterns mean is said in `description`."""

from __future__ import annotations

from dinoir_plugin.datasets.description import FROM_LITERATURE, DataSet, Layout, Split


def _rain100(form: str, train_count: int) -> DataSet:
    """Describe Rain100L or Rain100H, which differ in name and number only."""
    train, test = f'RainTrain{form}', f'Rain100{form}'
    rain, clean = '<rain|rainy|input>/<rain-|norain-|>{}', '<norain|clean|gt|target>/<norain-|rain-|>{}'
    return DataSet(
        name=f'rain100{form.lower()}',
        title=f'Rain100{form}: {"light" if form == "L" else "heavy"} synthetic rain',
        origin='https://www.icst.pku.edu.cn/struct/Projects/joint_rain_removal.html',
        terms='research use',
        roles=('rain', 'clean'),
        splits=(
            Split('train', f'rain100{form.lower()}/train', (
                Layout(degraded=(f'{train}/rain-{{}}',), clean=(f'{train}/norain-{{}}',)),
                Layout(degraded=(f'{train}/{rain}',), clean=(f'{train}/{clean}',)),
                Layout(degraded=(f'train/{rain}',), clean=(f'train/{clean}',)),
            ), (train_count, train_count)),
            Split('test', f'rain100{form.lower()}/test', (
                Layout(degraded=(f'{test}/rain-{{}}',), clean=(f'{test}/norain-{{}}',)),
                Layout(degraded=(f'{test}/{rain}',), clean=(f'{test}/{clean}',)),
                Layout(degraded=(f'test/{rain}',), clean=(f'test/{clean}',)),
            ), (100, 100)),
        ),
    )  # fmt: skip


def _snow100k(name: str, title: str, images: str, train_count: int, test_count: int) -> DataSet:
    """Describe Snow100K with its test L, or the images of it that a pattern fits."""
    train, test = '<all|train|training|snow100k-training>', 'Snow100K-L'
    return DataSet(
        name=f'snow100k_{name}',
        title=f'Snow100K: {title}',
        origin='https://sites.google.com/view/yunfuliu/desnownet',
        terms='research use',
        roles=('snow', 'clean'),
        splits=tuple(
            Split(split, f'snow100k_{name}/{split}', (
                Layout(degraded=(f'{folder}/synthetic/{images}',), clean=(f'{folder}/gt/{images}',)),
            ), (count, count))
            for split, folder, count in (('train', train, train_count), ('test', test, test_count))
        ),
    )  # fmt: skip


PAIRS = (
    DataSet(
        name='did_mdn',
        title='DID-MDN: synthetic rain of three densities, pairs side by side',
        origin='https://github.com/hezhangsprinter/DID-MDN',
        terms='research use',
        roles=('rain', 'clean'),
        splits=(
            Split('train', 'did_mdn/train', (
                Layout(joined=('{Rain_Heavy|Rain_Medium|Rain_Light}/train2018new/{}',)),
                Layout(degraded=('train/rain/{}',), clean=('train/clean/{}',)),
            ), (12000, 12000)),
            Split('test', 'did_mdn/test', (
                Layout(joined=('DID-MDN-test/{}',)),
                Layout(degraded=('test/rain/{}',), clean=('test/clean/{}',)),
                Layout(joined=('test/{}',)),
            ), (1200, 1200), ('high', 'medium', 'light')),
        ),
        unchecked=f'{FROM_LITERATURE}; names of the test images do not tell their density, as far as is known',
    ),
    DataSet(
        name='ots',
        title='RESIDE-beta OTS: synthetic outdoor haze, 35 hazy images to a clear one',
        origin='https://sites.google.com/view/reside-dehaze-datasets',
        terms='research use',
        roles=('hazy', 'clear'),
        splits=(
            Split('train', 'reside/ots', (
                Layout(degraded=('ots/<hazy|haze>/<part*/|>{}',), clean=('ots/<clear|gt>/<clear_images/|>{}',)),
                Layout(degraded=('<hazy|haze>/<part*/|>{}', 'part*/{}'), clean=('<clear|gt>/<clear_images/|>{}',)),
            ), (72135, 2061)),
        ),
        many_to_one=True,
    ),
    DataSet(
        name='sots_indoor',
        title='RESIDE SOTS indoor: synthetic indoor haze, 10 hazy images to a clear one',
        origin='https://sites.google.com/view/reside-dehaze-datasets',
        terms='research use',
        roles=('hazy', 'clear'),
        splits=(
            Split('train', 'reside/sots_indoor/train', (
                Layout(degraded=('sots_indoor/train/hazy/{}',), clean=('sots_indoor/train/clear/{}',)),
            )),
            Split('test', 'reside/sots_indoor/test', (
                Layout(degraded=('sots_indoor/test/hazy/{}',), clean=('sots_indoor/test/clear/{}',)),
                Layout(degraded=('<indoor|nyuhaze500>/hazy/{}',), clean=('<indoor|nyuhaze500>/<gt|clear>/{}',)),
                Layout(degraded=('hazy/{}',), clean=('<gt|clear>/{}',)),
            ), (500, 50)),
        ),
        many_to_one=True,
        # hazy images are 620x460, the release's clear ones 640x480 with a frame around
        clean_border=10,
        unchecked='counts of the whole release and the frame of its clear images are from the literature; '
                  'names, sizes and pairing were held against 84 of its hazy images',
    ),
    DataSet(
        name='sots_outdoor',
        title='RESIDE SOTS outdoor: synthetic outdoor haze',
        origin='https://sites.google.com/view/reside-dehaze-datasets',
        terms='research use',
        roles=('hazy', 'clear'),
        splits=(
            Split('test', 'reside/sots_outdoor', (
                Layout(degraded=('<outdoor|sots_outdoor>/hazy/{}',), clean=('<outdoor|sots_outdoor>/<gt|clear>/{}',)),
                Layout(degraded=('hazy/{}',), clean=('<gt|clear>/{}',)),
            ), (500, 492)),
        ),
        many_to_one=True,
    ),
    _rain100('L', 200),
    _rain100('H', 1800),
    DataSet(
        name='gopro',
        title='GoPro: motion blur from averaged video frames',
        origin='https://seungjunnah.github.io/Datasets/gopro',
        terms='CC BY 4.0',
        roles=('blur', 'sharp'),
        splits=tuple(
            Split(name, f'gopro/{name}', (
                Layout(degraded=(f'{name}/{{}}/blur/{{}}',), clean=(f'{name}/{{}}/sharp/{{}}',)),
                Layout(degraded=(f'{name}/<blur|input>/{{}}',), clean=(f'{name}/<sharp|target>/{{}}',)),
            ), (count, count))
            for name, count in (('train', 2103), ('test', 1111))
        ),
    ),
    DataSet(
        name='lol',
        title='LOL: photographs of low and normal light',
        origin='https://daooshee.github.io/BMVC2018website/',
        terms='research use',
        roles=('low', 'high'),
        splits=tuple(
            Split(name, f'lol/{name}', (
                Layout(degraded=(f'<{folder}|{name}>/low/{{}}',), clean=(f'<{folder}|{name}>/high/{{}}',)),
            ), (count, count))
            for name, folder, count in (('train', 'our485', 485), ('test', 'eval15', 15))
        ),
    ),
    DataSet(
        name='reside6k',
        title='RESIDE-6K: indoor and outdoor synthetic haze, mixed',
        origin='https://github.com/IDKiro/DehazeFormer',
        terms='research use',
        roles=('hazy', 'clear'),
        splits=tuple(
            Split(name, f'reside6k/{name}', (
                Layout(degraded=(f'{name}/<hazy|haze>/{{}}',), clean=(f'{name}/<gt|clear>/{{}}',)),
            ), (count, count))
            for name, count in (('train', 6000), ('test', 1000))
        ),
    ),
    DataSet(
        name='raindrop',
        title='RainDrop: photographs through a pane with drops and without; the test is its set a',
        origin='https://github.com/rui1996/DeRaindrop',
        terms='research use',
        roles=('drops', 'clean'),
        splits=tuple(
            Split(name, f'raindrop/{name}', (
                Layout(degraded=(f'{folder}/data/{{}}_rain',), clean=(f'{folder}/gt/{{}}_clean',)),
            ), (count, count))
            for name, folder, count in (('train', 'train', 861), ('test', 'test_a', 58))
        ),
    ),
    DataSet(
        name='srd',
        title='SRD: photographs with shadows and without',
        origin='https://github.com/Liangqiong/DeShadowNet',
        terms='research use',
        roles=('shadow', 'free'),
        splits=tuple(
            Split(name, f'srd/{name}', tuple(
                Layout(degraded=(f'<{name}|{name}_data|srd_{name}>/{shadow}/{{}}',),
                       clean=(f'<{name}|{name}_data|srd_{name}>/{free}/{{}}{ending}',))
                for shadow, free in (('shadow', 'shadow_free'), (f'{name}_A', f'{name}_C'))
            ), (count, count))
            for name, ending, count in (('train', '_no_shadow', 2680), ('test', '_free', 408))
        ),
        unchecked=f'{FROM_LITERATURE}; there are versions of the test that differ in a few images',
    ),
    _snow100k('l', 'snow of all sizes, tested on large flakes', '{}', 50000, 16801),
    _snow100k('l_smile', 'the images called beautiful_smile, tested on large flakes', '{beautiful_smile*}', 1872, 601),
)  # fmt: skip
