"""The one error for what a user wrote."""

import pickle

import pytest

from dinoir_plugin.core.errors import OptionsError, close_to, missing_option, nearest, reject_unknown, under


def test_an_error_names_option_problem_and_remedy_and_outlives_a_process():
    error = OptionsError('tasks.x', 'expected a number, got 3', 'Did you mean 4?')
    assert str(error) == 'tasks.x: expected a number, got 3. Did you mean 4?'
    assert str(OptionsError('x', 'wrong', 'Mend it')) == 'x: wrong. Mend it.'
    again = pickle.loads(pickle.dumps(error))
    assert (again.path, again.problem, again.remedy) == (error.path, error.problem, error.remedy)
    assert str(missing_option('x')) == 'x: this key is required, but missing.'
    assert str(missing_option('x', 'a number')) == 'x: this key is required, but missing. Give a number.'


def test_seen_from_further_up_it_has_a_longer_path_and_other_errors_pass():
    with pytest.raises(OptionsError, match=r'^a\.b\.c: wrong\. Mend it\.$'), under('a'), under('b'):
        raise OptionsError('c', 'wrong', 'Mend it')
    with pytest.raises(KeyError), under('a'):
        raise KeyError
    with under('a'):
        pass


def test_the_first_unknown_key_is_refused_with_the_closest_valid_one():
    reject_unknown({'sigma': 1, 'clip': 2}, ['sigma', 'clip', 'more'], 'd')
    with pytest.raises(OptionsError, match=r"^d\.sgima: unknown option\. did you mean 'sigma'\?$"):
        reject_unknown({'sigma': 1, 'sgima': 1, 'x': 2}, iter(['sigma', 'clip']), 'd')
    with pytest.raises(OptionsError, match=r'^x: unknown option\.'):
        reject_unknown(['x'], ['sigma'], '')


@pytest.mark.parametrize(
    ('word', 'hint'),
    [('SIGMA', "did you mean 'sigma'?"), ('sgima', "did you mean 'sigma'?"), ('zzz', "valid: 'clip', 'sigma'")],
)
def test_the_closest_word_is_named_or_all(word, hint):
    assert nearest(word, {'sigma', 'clip'}) == hint
    assert close_to(word, {'sigma', 'clip'}) == ('' if word == 'zzz' else hint)
