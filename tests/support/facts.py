"""Facts of errors for `pytest.raises(..., check=...)`, where a test does not care for the words of a message."""

from collections.abc import Callable


def having(cause: type[BaseException] | None = None, **attributes: object) -> Callable[[BaseException], bool]:
    """Whether an error was raised because of such another one and has these attributes."""

    def check(error: BaseException) -> bool:
        found = {name: getattr(error, name) for name in attributes}
        return found == attributes and (cause is None or isinstance(error.__cause__, cause))

    return check
