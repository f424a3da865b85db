"""Numbers and names as people read them."""

import re
from pathlib import Path


def counted(number: int, noun: str) -> str:
    """Say how many there are.

    >>> counted(1, "tile"), counted(6, "tile")
    ('1 tile', '6 tiles')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def spent(seconds: float) -> str:
    """Spell a time.

    >>> spent(42.4), spent(754), spent(22_340)
    ('42 s', '13 min', '6 h 12 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def memory_size(size: float) -> str:
    """Spell a number of bytes, in a smaller unit where GiB would show next to nothing.

    >>> memory_size(1.5 * 2**30), memory_size(3 * 2**20), memory_size(10_000)
    ('1.5 GiB', '3.0 MiB', '9.8 KiB')
    """
    power, unit = next((each for each in ((30, "GiB"), (20, "MiB")) if size >= 2 ** each[0] / 10), (10, "KiB"))
    return f"{size / 2**power:.1f} {unit}"


def file_size(size: float) -> str:
    """Spell the size of a file as `max_file` is written.

    >>> file_size(128_000_000), file_size(1024)
    ('128.0 MB', '1.0 KB')
    """
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} KB"


def url_in(path: Path) -> str:
    """Give the URL that somebody took for the path of a file; "" if there is none.

    >>> url_in(Path("https://example.com/a.jpg")), url_in(Path("a.jpg"))
    ('https://example.com/a.jpg', '')
    """
    found = re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", str(path), re.DOTALL)
    return f"{found[1]}://{found[2]}" if found else ""
