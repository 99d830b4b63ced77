"""The data sets of clean photographs, to be degraded on the way; what patterns mean is said in `description`."""

from __future__ import annotations

from dinoir_plugin.datasets.description import FROM_LITERATURE, DataSet, Layout, Split


def _clean_only(*patterns: str) -> tuple[Layout, ...]:
    return tuple(Layout(clean=(pattern,)) for pattern in patterns)


_FROM_100_ON = '|'.join(f'{start}{digit}*' for start in ('00', '0', '') for digit in '123456789')

PHOTOGRAPHS = (
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
    DataSet(
        name='div2k',
        title='DIV2K: photographs of 2K, for training, its validation images among them',
        origin='https://data.vision.ee.ethz.ch/cvl/DIV2K/',
        terms='academic research only',
        roles=('clean',),
        splits=(
            Split('train', 'div2k_flickr2k', (
                Layout(clean=('DIV2K_train_HR/{}', 'DIV2K_valid_HR/{}')),
                *_clean_only('div2k/{}'),
            ), (900,)),
        ),
        key_prefix='div2k/',
    ),
    DataSet(
        name='flickr2k',
        title='Flickr2K: photographs of 2K',
        origin='https://github.com/limbee/NTIRE2017',
        terms='research use; the images belong to their photographers',
        roles=('clean',),
        splits=(Split('train', 'div2k_flickr2k', _clean_only('Flickr2K_HR/{}', 'flickr2k/{}', '{}'), (2650,)),),
        key_prefix='flickr2k/',
    ),
    DataSet(
        name='live1',
        title='LIVE1: the 29 photographs of the LIVE image quality database',
        origin='https://live.ece.utexas.edu/research/quality/subjective.htm',
        terms='research use',
        roles=('clean',),
        splits=(Split('test', 'live1', _clean_only('refimgs/{}', 'live1/{}', '{}'), (29,)),),
    ),
    DataSet(
        name='celeba_hq',
        title='CelebA-HQ at 256 pixels: faces, the first 100 of them for tests',
        origin='https://www.kaggle.com/datasets/badasstechie/celebahq-resized-256x256',
        terms='non-commercial research',
        roles=('clean',),
        # names from 00000 to 29999
        splits=(
            Split('train', 'celeba_hq/train', _clean_only(f'{{{_FROM_100_ON}}}'), (29900,)),
            Split('test', 'celeba_hq/test', _clean_only('{000*}'), (100,)),
        ),
        unchecked=f'{FROM_LITERATURE}; that the first 100 are the test is the word of authors who test on them',
    ),
)  # fmt: skip
