"""Reports keep ours and published figures in columns of their own."""

import json

import pytest
import torch
import yaml

from dinoir_plugin.core import network_file
from dinoir_plugin.core.version import __version__
from dinoir_plugin.experiments import published, report
from dinoir_plugin.experiments.measured import RunError, result_file
from dinoir_plugin.experiments.runs import checkpoint_of
from dinoir_plugin.experiments.variants import Experiments, every_paper, read_yaml

pytestmark = pytest.mark.usefixtures('folder')


def made_up(name, test, psnr):
    path = result_file(name, test)
    path.parent.mkdir(parents=True, exist_ok=True)
    average = {'psnr': psnr, 'ssim': psnr / 100, 'psnr_all_in_one': psnr, 'ssim_all_in_one': psnr / 100}
    path.write_text(json.dumps({'means': {'denoise': average, 'average': average}}))


def rows_of(text, heading):
    section = text.split(f'{heading}\n')[1].split('\n#')[0]
    lines = [line.strip('| ').split(' | ') for line in section.splitlines() if line.startswith('|')]
    return {cells[0].strip(' |'): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_report_keeps_ours_and_published_apart(experiments):
    for seed, psnr in enumerate((31.0, 32.0)):
        made_up(f'full_dncnn_noise_seed{seed}', 'noise25', psnr)
    text = report.markdown(experiments, 'table2', 'full', seeds=2)
    row = rows_of(text, '### noise25')['DnCNN']
    assert row == ['31.50 ± 0.71', '31.23', '+0.27', '0.3150 ± 0.0071', '0.883', '-0.568']
    assert rows_of(text, '### noise15')['DnCNN'] == ['–', '33.89', '–', '–', '0.930', '–']
    assert rows_of(text, '### noise25')['AirNet'] == ['–', '31.48', '–', '–', '0.893', '–']
    assert rows_of(text, '### noise25')['DA-CLIP'][0] == 'not built here'
    assert rows_of(text, '### noise25')['PromptIR'] == ['–', '31.71 (2nd)', '–', '–', '0.897 (2nd)', '–']
    assert rows_of(text, '### urban15')['Restormer'] == ['–', '34.67 (?)', '–', '–', '0.969 (?)', '–']
    assert '- PromptIR (arXiv 2306.13090), Table 4: DnCNN, FFDNet, ' in text
    assert '- DINO-IR (arXiv 2312.01677), Table 2: CBM3D, ' in text
    assert '- IRCNN, urban15: 27.59/0.833 is the same pair as DnCNN' in text
    assert 'Each network is trained for 300000 iterations of 4 patches of 128 px. ' in text
    assert '- CBM3D: learns nothing; the level of noise is estimated from the image.\n' in text
    assert 'Encoder: vit_base_patch14_dinov2, ' in text
    # what lacks figures is named
    names = text.split('and so with dashes: ')[1]
    assert names.startswith('full_cbm3d_seed0, full_dncnn_noise_seed0, full_dncnn_noise_seed1, full_ircnn_noise_seed0')
    # one column a test, and none for a mean that the paper does not print
    assert rows_of(text, '## Ours')['DnCNN'][1] == '31.50 ± 0.71 / 0.3150 ± 0.0071'
    assert len(rows_of(text, '## Ours')['DnCNN']) == 6


def test_a_network_that_is_trained_in_another_way_is_named(experiments):
    made_up('full_wgws_seed0', 'blur', 30.0)
    text = report.markdown(experiments, 'table1', 'full', seeds=1)
    assert (
        'Each network is trained for 200000 iterations of 12 patches of 128 px, then 100000 iterations of 8 patches of '
        '160 px; wgws_stage1 for 225000 iterations of 16 patches of 224 px; WGWS for 90000 iterations of 48 patches of '
        '224 px. Encoder: '
    ) in text
    assert "- WGWS: is told each image's task, and begins with a network of its own first training.\n" in text


def test_a_mean_stands_beside_the_papers_average_and_suspect_figures_have_no_difference(experiments):
    tests = experiments.tables['table1']['tests']
    for test in tests:
        made_up('full_dinoir_seed0', test, 31.0)
    text = report.markdown(experiments, 'table1', 'full', seeds=1)
    # of a mean that the paper has cut off, which is its remark, there is a difference
    assert rows_of(text, '### mean')['DINO-IR'] == ['31.00', '31.13 (?)', '-0.13', '0.3100', '0.904 (?)', '-0.594']
    assert rows_of(text, '### rain_high')['DINO-IR'][:3] == ['31.00', '30.44', '+0.56']
    assert rows_of(text, '## Ours')['DINO-IR'] == ['31.00 / 0.3100'] * 8
    for test in ('noise15', 'noise25', 'noise50', 'urban15', 'urban25', 'urban50'):
        made_up('full_restormer_noise_seed0', test, 30.0)
    text = report.markdown(experiments, 'table2', 'full', seeds=1)
    assert rows_of(text, '### urban15')['Restormer'][:3] == ['30.00', '34.67 (?)', '–']


def test_report_of_another_setting_takes_no_differences(experiments):
    for test in ('noise15', 'noise25', 'noise50'):
        made_up('tiny_dncnn_noise_seed0', test, 30.0)
    text = report.markdown(experiments, 'table2', 'tiny', seeds=1)
    assert rows_of(text, '### noise25')['DnCNN'] == ['30.00', '31.23', '0.3000', '0.883']
    assert 'no differences are taken' in text
    assert 'Not measured, as this budget has no images for it: urban15, urban25, urban50.' in text
    assert rows_of(text, '## Ours')['DnCNN'] == ['30.00 / 0.3000'] * 3
    assert rows_of(text, '## Ours')['degraded'] == ['– / –'] * 3


def test_gains_are_those_of_pairs(experiments):
    for seed, (base, ours) in enumerate(((30.0, 30.5), (20.0, 20.7), (25.0, 25.6))):
        for test in experiments.tables['mini_all4']['tests']:
            made_up(f'mini_restormer_seed{seed}', test, base)
            made_up(f'mini_psf_seed{seed}', test, ours)
    text = report.markdown(experiments, 'mini_all4', 'mini', seeds=3)
    gains = rows_of(text, '## Gains in PSNR (dB), between runs of the same seed, which saw the same samples')
    assert gains['Restormer, guided'] == ['Restormer', *['+0.60 ± 0.10'] * 8]
    assert gains['NAFNet, guided'] == ['NAFNet', *['–'] * 8]
    assert 'One seed: ' not in text and '![An image of each test before and after](mini_all4_mini_3seeds.png)' in text
    alone = report.markdown(experiments, 'mini_all4', 'mini', seeds=1)
    assert 'One seed: another training may show another difference' in alone
    assert f'dinoir_plugin {__version__}.' in alone
    assert rows_of(text, '## Ours')['Restormer'][0] == '25.00 ± 5.00 / 0.2500 ± 0.0500'


def test_three_methods_stand_beside_each_other(experiments):
    for run, psnr in (('restormer', 30.0), ('psf', 30.5), ('by_daclip', 30.25), ('by_perceive_ir_code', 31.0)):
        for test in experiments.tables['methods']['tests']:
            made_up(f'full_{run}_seed0', test, psnr)
    text = report.markdown(experiments, 'methods', 'full', seeds=1)
    assert text.startswith('# methods: Three methods that guide one backbone (ours, of no paper)\n')
    assert rows_of(text, '## Ours')['guided by DA-CLIP'] == ['30.25 / 0.3025'] * 8
    gains = rows_of(text, '## Gains in PSNR (dB), between runs of the same seed, which saw the same samples')
    assert gains['guided by DINO-IR'] == ['Restormer', *['+0.50'] * 8]
    # which has a second patch of each image, and so other samples
    assert 'guided by Perceive-IR, with its loss of codes' not in gains
    assert "DA-CLIP ViT-B-32, its authors' weights" in text and 'Beside what was published' not in text


def test_rows_say_parameters_and_time_of_training_where_they_are_known(experiments):
    for name in ('tiny_restormer_seed0', 'tiny_psf_seed0'):
        made_up(name, 'blur', 30.0)
    made_up('tiny_restormer_seed1', 'blur', 30.0)
    columns = len(experiments.tables['table3']['tests'])
    for seed, hour in enumerate((10, 12)):
        path = checkpoint_of(f'tiny_restormer_seed{seed}')
        path.parent.mkdir(parents=True)
        network_file.write(path, network_file.NetworkFile({'params': {'a.weight': torch.zeros(3, 5000)}}, None))
        lines = '2026-11-29 23:59:50,001 INFO: begins\nname: x\n2026-11-30 {:02}:00:00,001 INFO: End of training\n'
        (path.parents[1] / 'train_x_1.log').write_text(lines.format(hour))
        (path.parents[1] / 'train_x_2.log').write_text(lines.format(0))
    text = report.markdown(experiments, 'table3', 'tiny', seeds=2)
    ours = rows_of(text, '## Ours')
    baseline = next(cells for cells in ours.values() if cells[columns:] == ['0.01', '11:00:20'])
    assert baseline and sum(cells[columns:] == ['–', '–'] for cells in ours.values()) == 3
    assert 'Parameters are those of' in text
    assert 'Gains: none' in text and '## Gains' not in text


def test_tasks_that_were_not_trained_are_marked_and_not_averaged(experiments, folder, monkeypatch):
    experiments.tables['table6'].update(tests=['blur', 'noise25', 'haze'], mean=True)
    for test, psnr in (('blur', 30.0), ('noise25', 20.0), ('haze', 10.0)):
        made_up('full_dinoir_bn_seed0', test, psnr)
    entered(folder, monkeypatch, {'source': 'X', 'figures': {
        'DINO-IR, B + N': {'haze': [16, 0.6], 'noise25': [19, None]}}})  # fmt: skip
    text = report.markdown(experiments, 'table6', 'full', seeds=1)
    row = rows_of(text, '## Ours')['DINO-IR, B + N']
    assert row == ['30.00 / 0.3000', '20.00 / 0.2000', '(10.00 / 0.1000)', '25.00 / 0.2500']
    row = rows_of(text, '### haze')['DINO-IR, B + N']
    assert row == ['(10.00)', '16.00', '–', '(0.1000)', '0.600', '–']
    assert 'Nothing was published for blur, mean.' in text and '### blur' not in text
    row = rows_of(text, '### noise25')['DINO-IR, B + N']
    assert row == ['20.00', '19.00', '+1.00', '0.2000', '–', '–']


def entered(folder, monkeypatch, *sources):
    """Published figures of table 6."""
    content = {'columns': {}, 'papers': {}, 'tables': {'table6': list(sources)}}
    (folder / 'dinoir').mkdir()
    (folder / 'dinoir' / 'published.yml').write_text(yaml.safe_dump(content))
    monkeypatch.setattr(published.read, '__defaults__', (folder,))


def test_every_printed_cell_stands_where_the_paper_has_it(experiments):
    cells = read_yaml(published.FOLDER / 'dinoir.yml')['cells']
    for number in range(1, 7):
        about = experiments.tables[f'table{number}']
        metrics = about.get('metrics', report.DEFAULT_METRICS)
        source = published.read(experiments, f'table{number}', metrics)[0]
        assert source.source == f'DINO-IR (arXiv 2312.01677), Table {number}'
        printed = [cell for cell in cells if cell['table'] == number and cell['psnr'] is not None]
        assert sum(map(len, source.figures.values())) == len(printed)
        found = sorted(cell.values[0] for row in source.figures.values() for cell in row.values())
        assert found == sorted(cell['psnr'] for cell in printed)
    six = published.read(experiments, 'table6', report.DEFAULT_METRICS)
    assert published.cell(six, 'DINO-IR, B + N + R', 'blur').values == (32.13, 0.903)
    assert published.cell(six, 'baseline, B', 'blur').values == (32.08, 0.902)


@pytest.mark.parametrize('table', [table for paper in every_paper() for table in paper.tables])
def test_published_figures_fit_their_tables(table):
    paper = Experiments.of(table)
    metrics = paper.tables[table].get('metrics', report.DEFAULT_METRICS)
    published.read(paper, table, metrics)
    assert set(metrics) <= set(paper.metrics) and metrics[0] in paper.conventions


@pytest.mark.parametrize(
    ('figures', 'said'),
    [
        ({'DINO-IR (noise)': {'blur': [1, 2]}}, 'the table has no such row or test. Its rows are DINO-IR, B, '),
        ({'DINO-IR, B': {'fog': [1, 2]}}, 'its tests blur'),
        ({'DINO-IR, B': {'mean': [1, 2]}}, 'its tests blur'),
        ({'DINO-IR, B': {'blur': [1]}}, 'expected [psnr, ssim], ~ where there is none, got [1]'),
        ({'DINO-IR, B': {'blur': [1, 'x']}}, "got [1, 'x']"),
        ({'DINO-IR, B': {'blur': [1, 2]}}, 'another source has another figure'),
    ],
)
def test_published_figures_that_do_not_fit_are_refused(experiments, folder, monkeypatch, figures, said):
    first = {'source': 'X', 'figures': {'DINO-IR, B': {'blur': [1, None]}}}
    entered(folder, monkeypatch, first, {'source': 'Y', 'figures': figures})
    with pytest.raises(RunError) as caught:
        published.read(experiments, 'table6', report.DEFAULT_METRICS)
    assert said in str(caught.value) and 'published.yml: table6, Y: DINO-IR' in str(caught.value)
