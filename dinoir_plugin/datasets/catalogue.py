"""The data sets that can be prepared, as data: what is in a release, where, and how its images pair up.

Patterns are paths inside a release without extension, matched from any folder on and whatever the case. ``{}`` is any
name and ``{a|b}`` one of these; together they identify an image, and the halves of a pair agree in them. ``<a|b|>``
is one of these or nothing, ``*`` any part of a name; both say nothing about which image it is.

Images of the sets that ``unchecked`` says so of could not be looked at when this was written: their counts and
layouts are those of the papers, the releases' pages and the code of others that reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

FROM_LITERATURE = 'counts and layout are from the literature'


@dataclass(frozen=True)
class Layout:
    """Say where the images of a split are in one form of a release.

    Attributes:
        clean: Patterns of the clean images, all of them taken together.
        degraded: Patterns of the degraded images, for pairs in two files.
        joined: Patterns of images that hold a pair side by side, degraded left and clean right.
    """

    clean: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()
    joined: tuple[str, ...] = ()


@dataclass(frozen=True)
class Split:
    """Describe one part of a data set.

    Attributes:
        name: ``train`` or ``test``.
        folder: Where its roots go below the folder of all data sets.
        layouts: Forms of the release, the one to look for first at the front.
        counts: Images of each role in the complete release, in the order of `DataSet.roles`; empty for a split that
            the release itself does not make, which may be missing.
        levels: Names of parts from the densest degradation to the lightest, for which lists are written beside the
            roots, see `densities.write_lists`.
        whole: Whether its images stay whole where those of other splits are cut into sub-images.
    """

    name: str
    folder: str
    layouts: tuple[Layout, ...]
    counts: tuple[int, ...] = ()
    levels: tuple[str, ...] = ()
    whole: bool = False


@dataclass(frozen=True)
class DataSet:
    """Describe one data set of the literature.

    Attributes:
        name: The sub-command.
        title: What it is.
        origin: Where it comes from.
        terms: Licence or terms of use.
        roles: Names of the two halves of a pair, degraded first, or ``('clean',)``.
        splits: Its parts.
        many_to_one: RESIDE's naming: what stands before a degraded image's first underscore names its clean one.
        clean_border: Pixels by which the clean image may be larger on every side; they are cut off.
        key_prefix: In front of every key, for sets that share a root.
        unchecked: Which of these facts could not be held against the release.
    """

    name: str
    title: str
    origin: str
    terms: str
    roles: tuple[str, ...]
    splits: tuple[Split, ...]
    many_to_one: bool = False
    clean_border: int = 0
    key_prefix: str = ''
    unchecked: str = FROM_LITERATURE

    def root(self, split: Split, role: str) -> PurePosixPath:
        """Name the LMDB of one role of a split, below the folder of all data sets."""
        if len(self.roles) == 1:
            return PurePosixPath(f'{split.folder}.lmdb')
        return PurePosixPath(split.folder, f'{role}.lmdb')


def _clean_only(*patterns: str) -> tuple[Layout, ...]:
    return tuple(Layout(clean=(pattern,)) for pattern in patterns)


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


_SETS = (
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
    DataSet(
        name='bsd400',
        title='BSD400: the train and test photographs of BSDS500',
        origin='https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/resources.html',
        terms='research use',
        roles=('clean',),
        splits=(
            Split('train', 'bsd400_wed', (
                Layout(clean=('images/train/{}', 'images/test/{}')),
                *_clean_only('bsd400/{}', '{}'),
            ), (400,)),
        ),
        key_prefix='bsd400/',
        unchecked='count and layout of the release are from the literature; 378 of the 400 were looked at',
    ),
    DataSet(
        name='wed',
        title='Waterloo Exploration Database: photographs',
        origin='https://ece.uwaterloo.ca/~k29ma/exploration/',
        terms='research use',
        roles=('clean',),
        splits=(Split('train', 'bsd400_wed', _clean_only('pristine_images/{}', 'wed/{}', '{}'), (4744,)),),
        key_prefix='wed/',
    ),
    DataSet(
        name='bsd68',
        title='CBSD68: 68 colour photographs of BSDS500, less its train and test images',
        origin='https://github.com/clausmichele/CBSD68-dataset',
        terms='research use',
        roles=('clean',),
        splits=(
            Split('test', 'cbsd68', _clean_only('<original_png|original|gt>/{}', 'cbsd68/{}', 'bsd68/{}', '{}'), (68,)),
        ),
        unchecked='layout of the release is from the literature; the 68 images were looked at',
    ),
    DataSet(
        name='urban100',
        title='Urban100: photographs of buildings',
        origin='https://github.com/jbhuang0604/SelfExSR',
        terms='research use',
        roles=('clean',),
        splits=(
            Split('test', 'urban100', _clean_only('image_SRF_4/{}_SRF_4_HR', '{}_SRF_4_HR', 'hr/{}', '{}'), (100,)),
        ),
    ),
    DataSet(
        name='kodak24',
        title='Kodak24: photographs',
        origin='https://r0k.us/graphics/kodak/',
        terms='free to use, as the page says of them',
        roles=('clean',),
        splits=(Split('test', 'kodak24', _clean_only('{}'), (24,)),),
    ),
    DataSet(
        name='mcmaster',
        title='McMaster: photographs of fine coloured detail',
        origin='https://www4.comp.polyu.edu.hk/~cslzhang/CDM_Dataset.htm',
        terms='research use',
        roles=('clean',),
        splits=(Split('test', 'mcmaster', _clean_only('{}'), (18,)),),
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
)  # fmt: skip

CATALOGUE = {dataset.name: dataset for dataset in _SETS}
