"""Numbers as people read them."""


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


def gib(size: float) -> str:
    """Spell a number of bytes.

    >>> gib(1.5 * 2**30)
    '1.5 GiB'
    """
    return f"{size / 2**30:.1f} GiB"
