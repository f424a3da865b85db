"""Turns the inputs of a batch (folders, globs, files and manifests) into items, each with the path of its painting."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePath
from typing import Never

from ..errors import SettingsError
from ..pictures.formats import INPUT_EXTENSIONS, INPUT_NAMES, UNSUPPORTED_EXTENSIONS
from ..pictures.pages import place_of
from ..words import url_in
from .manifest import Entry, is_manifest, read_manifest
from .naming import DEFAULT, OTHERWISE, WITH_STYLE, Template, below, writable
from .pairs import RawPairs, doubles

_MAGIC = re.compile(r"[*?[]")


@dataclass(frozen=True)
class Item:
    """One painting of a batch.

    Attributes
    ----------
    number : int
        From 1, in the order they were named.
    content : Path
        The photograph.
    styles : tuple of Path
        Blended if several; a folder counts as one.
    preset : str or None
        None for the batch's.
    overrides : dict
        Settings of this picture alone.
    output : Path
        Absolute.
    place : str
        Where it was named: an argument, or a line of a manifest such as `list.csv:3`.
    missing : tuple of str
        Masks that were asked for by a template and that it does not have.
    """

    number: int
    content: Path
    styles: tuple[Path, ...]
    preset: str | None
    overrides: dict[str, object]
    output: Path
    place: str
    missing: tuple[str, ...] = ()


def find_items(
    inputs: Sequence[str],
    styles: Sequence[Path],
    output: Path,
    *,
    preset: str = "default",
    template: str | None = None,
    each_style: bool = False,
    raw_pairs: RawPairs = "jpeg",
) -> list[Item]:
    """List everything that a batch is to paint. Only names are looked at: a picture may still turn out to be broken.

    Parameters
    ----------
    inputs : sequence of str
        Folders (with all below, but nothing hidden and not the output folder), globs (`**` does not follow links to
        folders), pictures (of a TIFF also a page, `scan.tif#2`), manifests. Below the output folder a painting lies as
        its photograph does below the folder, the fixed part of the glob, or the manifest's folder.
    styles : sequence of Path
        For all pictures that a manifest gives none of their own.
    output : Path
        The output folder; need not be there yet.
    preset : str
        The batch's, for names.
    template : str, optional
        See `muralist.pipeline.batch.naming`.
    each_style : bool
        Whether to paint every picture once in each of `styles`, instead of in all of them blended.
    raw_pairs : {"jpeg", "raw", "both"}
        What to paint of shots that a folder or glob holds twice, as a raw photograph and as JPEG or HEIC.

    Raises
    ------
    SettingsError
        If an input names nothing, or a manifest cannot be understood.
    """
    form = Template(template or (WITH_STYLE if each_style else DEFAULT))
    shared = shared_styles(styles, each_style=each_style)
    wanted = [
        (entry, chosen)
        for text in inputs
        for entry in _named(text, output, raw_pairs)
        for chosen in (shared if entry.styles is None else [entry.styles])
    ]
    digits = len(str(len(wanted)))
    return [
        Item(
            number,
            entry.content,
            chosen,
            entry.preset,
            entry.overrides,
            _output(entry, form, output, _fields(entry, chosen, preset, f"{number:0{digits}}")),
            entry.place,
        )
        for number, (entry, chosen) in enumerate(wanted, 1)
    ]


def shared_styles(styles: Sequence[Path], *, each_style: bool) -> list[tuple[Path, ...]]:
    """List what every picture that has no styles of its own is painted after, once in each."""
    return [(style,) for style in styles] if each_style and styles else [tuple(styles)]


def find_unsupported(inputs: Sequence[str], output: Path) -> list[Path]:
    """List the pictures that folders and globs name but that are left out, for their format is not read."""
    return _found(inputs, output, _is_unsupported)


def find_doubles(inputs: Sequence[str], output: Path, raw_pairs: RawPairs) -> list[Path]:
    """List the pictures that folders and globs name but that are left out: the shot is painted from another file."""
    left = (doubles(_found([text], output, _is_photograph), raw_pairs) for text in inputs)
    return sorted(set().union(*left))


def _found(inputs: Sequence[str], output: Path, wanted: Callable[[Path], bool]) -> list[Path]:
    """Files that folders and globs name and that are wanted, each once."""
    found: list[Path] = []
    for text in inputs:
        if os.path.isdir(text):
            found += sorted(_walk(Path(text), output, wanted))
        elif not os.path.isfile(text) and _MAGIC.search(text):
            found += [entry.content for entry in _glob(Path(text), output, text, wanted)]
    return list(dict.fromkeys(found))


def told_unsupported(pictures: Iterable[Path]) -> str:
    """Count pictures that are left out, by extension, in one line.

    >>> told_unsupported([Path("a.tga"), Path("b.EXR"), Path("c.TGA")])
    'left out: 2 .tga, 1 .exr; convert them to JPEG, PNG or TIFF'
    """
    counts = Counter(path.suffix.lower() for path in pictures)
    listed = ", ".join(
        f"{count} {extension}" for extension, count in sorted(counts.items(), key=lambda c: (-c[1], c[0]))
    )
    return f"left out: {listed}; convert them to JPEG, PNG or TIFF"


def _output(entry: Entry, form: Template, output: Path, fields: dict[str, str]) -> Path:
    if entry.output is not None:
        return below(output, Template(entry.output, f"{entry.place}: output").path(fields), entry.place)
    return below(output, entry.folder / form.path(fields), entry.place)


def _fields(entry: Entry, styles: Sequence[Path], preset: str, number: str) -> dict[str, str]:
    """What a template may ask for."""
    place = place_of(entry.content)
    suffix = place.file.suffix
    return {
        "stem": place.stem,
        "style": "+".join(map(_style_name, map(_absolute, styles))) or "none",
        "preset": PurePath(entry.preset or preset).stem,
        "ext": suffix[1:] if writable(suffix) else OTHERWISE,
        "number": number,
        "folder": _absolute(entry.content).parent.name,
    }


def _style_name(style: Path) -> str:
    return style.name if os.path.isdir(style) else style.stem


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))


# --- inputs --------------------------------------------------------------------------------------


def _named(text: str, output: Path, raw_pairs: RawPairs) -> list[Entry]:
    """The pictures that one input names, at least one."""
    path = Path(text)
    if os.path.isdir(text):
        found = _shots(_entries(_walk(path, output, _is_photograph), path, text), raw_pairs)
    elif os.path.isfile(place_of(path).file):
        found = read_manifest(path) if is_manifest(path) else [Entry(path, text)]
    elif url_in(path):
        raise SettingsError(f"{text}: URLs are not read; download the pictures and give their folder")
    elif _MAGIC.search(text):
        found = _shots(_glob(path, output, text, _is_photograph), raw_pairs)
    else:
        raise SettingsError(f"{text}: there is no such file or folder; check the path")
    if not found:
        others = find_unsupported([text], output)
        raise SettingsError(
            f"{text}: got no picture, wanted at least one ({INPUT_NAMES}) that is not hidden and not in the "
            f"output folder {output}" + (f"; {told_unsupported(others)}" if others else "")
        )
    return found


def _shots(entries: list[Entry], raw_pairs: RawPairs) -> list[Entry]:
    """Each shot once, or twice if both its files are wanted."""
    left = doubles([entry.content for entry in entries], raw_pairs)
    return [entry for entry in entries if entry.content not in left]


def _entries(pictures: Iterable[Path], root: Path, text: str) -> list[Entry]:
    return [Entry(path, text, path.relative_to(root).parent) for path in sorted(pictures)]


def _walk(root: Path, output: Path, wanted: Callable[[Path], bool]) -> Iterator[Path]:
    """Files below a folder that are wanted; each real folder once, so links may lead in circles."""
    seen = {os.path.realpath(output)}
    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=_refuse):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        yield from (path for path in (Path(folder, name) for name in files) if wanted(path))


def _refuse(error: OSError) -> Never:
    raise SettingsError(f"{error.filename}: cannot be listed ({error.strerror}); change its permissions") from None


def _glob(path: Path, output: Path, text: str, wanted: Callable[[Path], bool]) -> list[Entry]:
    root = Path(*takewhile(lambda part: not _MAGIC.search(part), path.parts))
    while os.path.isdir(further := root / path.relative_to(root).parts[0]):  # a folder with brackets in its name
        root = further
    pattern = "/".join((*path.relative_to(root).parts, *(["*"] if path.name == "**" else [])))
    try:
        found = [hit for hit in root.glob(pattern) if wanted(hit) and not _is_hidden(hit.relative_to(root).parent)]
    except ValueError as error:  # such as a**, up to Python 3.12
        raise SettingsError(f"{text}: not a pattern ({error}); wanted one such as 'photos/**/*.jpg'") from None
    painted = Path(os.path.realpath(output))
    if painted.is_relative_to(os.path.realpath(root)):
        found = [hit for hit in found if not Path(os.path.realpath(hit.parent)).is_relative_to(painted)]
    return _entries(found, root, text)


def _is_photograph(path: Path) -> bool:
    """Broken links are included, so that they are reported; pipes and devices are not, since reading may never end."""
    known = path.suffix.lower() in INPUT_EXTENSIONS and not path.name.startswith(".")
    return known and (os.path.isfile(path) or not os.path.exists(path))


def _is_unsupported(path: Path) -> bool:
    return path.suffix.lower() in UNSUPPORTED_EXTENSIONS and not path.name.startswith(".") and os.path.isfile(path)


def _is_hidden(folder: PurePath) -> bool:
    return any(part.startswith(".") for part in folder.parts)
