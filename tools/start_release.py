"""Give the project a release's version, and date what the changelog calls unreleased.

usage: python tools/start_release.py 0.2.0      (`make release VERSION=0.2.0` does the rest, up to the upload)
"""

import re
import sys
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSION = re.compile(r'(?<=^version = ")[^"]+(?=")', re.MULTILINE)
UNRELEASED = "## [Unreleased]\n"


def released(project: str, changelog: str, version: str, day: date) -> tuple[str, str]:
    """Return pyproject.toml and the changelog as they are in a release.

    Parameters
    ----------
    project, changelog : str
        The files as they are.
    version : str
        Of the release, such as 0.2.0.
    day : date
        Of the release.

    Raises
    ------
    ValueError
        If the version is not three numbers, or not later than all before, or if nothing has changed.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise ValueError(f"{version!r} is not a version of three numbers, such as 0.2.0")
    before = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", changelog, re.MULTILINE)
    if (latest := max(map(_numbers, before), default=None)) and _numbers(version) <= latest:
        raise ValueError(f"{version} is not later than {'.'.join(map(str, latest))}, which CHANGELOG.md already has")
    news = changelog.partition(UNRELEASED)[2].partition("\n## ")[0]
    if not news.strip():
        raise ValueError(f"CHANGELOG.md has nothing under {UNRELEASED.strip()!r}; there is nothing to release")
    dated = changelog.replace(UNRELEASED, f"{UNRELEASED}\n## [{version}] - {day.isoformat()}\n", 1)
    return VERSION.sub(version, project, count=1), dated


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def main(version: str) -> None:
    """Rewrite both files in place."""
    files = ROOT / "pyproject.toml", ROOT / "CHANGELOG.md"
    try:
        texts = released(*(file.read_text() for file in files), version, date.today())
    except ValueError as error:
        sys.exit(str(error))
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
