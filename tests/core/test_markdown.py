"""Tables in Markdown."""

from dinoir_plugin.core.markdown import table


def test_a_table_has_a_line_a_row_and_no_padding():
    assert table(['', 'noise', 'mean'], [['ours', 1, '2.0'], ['theirs, too', '–', '']]) == (
        '|  | noise | mean |\n|---|---|---|\n| ours | 1 | 2.0 |\n| theirs, too | – |  |\n'
    )
