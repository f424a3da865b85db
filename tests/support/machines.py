"""A machine of a known speed, in place of processes that measure this one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

FACTS = {"device": "cpu", "name": "Abacus 9", "precision": "bfloat16"}


class Machine:
    """Two workers that answer at once, and whatever they are asked.

    Attributes
    ----------
    asked : list
        Names and arguments of all questions.
    """

    def __init__(self, **facts: str) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self._answers: dict[str, list[Any]] = {
            "facts": [FACTS | facts] * 2,
            "copy_rate": [3e9, 5e9],
            "matmul_rate": [40e9, 60e9],
            "pixel_step_seconds": [1e-6, 3e-6],
        }

    @contextmanager
    def crew(self, shape: object, device: str) -> Iterator[Callable[..., list[Any]]]:
        """Start nothing."""
        yield self._ask

    def _ask(self, name: str, *arguments: Any) -> list[Any]:
        self.asked.append((name, *arguments))
        return self._answers[name]

    @property
    def measured(self) -> list[tuple[str, str, int]]:
        """Networks, precisions and sides of the tiles that were painted."""
        return [(s.network, precision, side) for name, s, precision, side in filter(_painted, self.asked)]


def _painted(question: tuple[Any, ...]) -> bool:
    return bool(question[0] == "pixel_step_seconds")
