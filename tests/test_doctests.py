"""Run the docstring examples under the installed module names."""

import doctest
import importlib
import pkgutil
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

PACKAGES = ["muralist.pipeline", "muralist.tiling", "muralist.model"]


def modules() -> Iterator[str]:
    """Names of all modules of the packages, and the command line where it is installed."""
    if find_spec("muralist.cli"):
        yield "muralist.cli"
    for name in PACKAGES:
        package = importlib.import_module(name)
        yield name
        for info in pkgutil.walk_packages(package.__path__, name + "."):
            yield info.name


@pytest.mark.parametrize("name", list(modules()))
def test_docstring_examples(name):
    """Every example in a docstring gives what it says."""
    assert doctest.testmod(importlib.import_module(name)).failed == 0
