"""Run the docstring examples under the installed module names."""

import doctest
import importlib
import pkgutil

import pytest

PACKAGES = ["muralist.pipeline", "muralist.tiling", "muralist.model"]


def modules():
    yield "muralist.cli"
    for name in PACKAGES:
        package = importlib.import_module(name)
        yield name
        for info in pkgutil.walk_packages(package.__path__, name + "."):
            yield info.name


@pytest.mark.parametrize("name", list(modules()))
def test_docstring_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
