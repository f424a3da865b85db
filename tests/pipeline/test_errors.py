"""Errors of the pipeline, as callers meet them."""

import pickle
from pathlib import Path

import pytest

from muralist.pipeline.errors import OutputError, PictureError, PipelineError


@pytest.mark.parametrize("kind", [PictureError, OutputError])
def test_errors_survive_pickling(kind: type[PictureError] | type[OutputError]) -> None:
    """An error that crosses workers keeps its message and its facts."""
    copy = pickle.loads(pickle.dumps(kind("a.png: bad", path=Path("a.png"))))
    assert type(copy) is kind
    assert str(copy) == "a.png: bad"
    assert copy.path == Path("a.png")
    assert isinstance(copy, PipelineError)


def test_errors_have_builtin_parents() -> None:
    """Callers who know only Python's own errors can catch ours."""
    assert issubclass(PictureError, ValueError)
    assert issubclass(OutputError, OSError)
