"""Make what tests of the paper's runs share."""

import pytest

from dinoir_plugin.experiments.variants import Experiments


@pytest.fixture
def experiments():
    return Experiments()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path
