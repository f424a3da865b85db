"""One photograph becomes one painting: the whole way, from paths to a picture and the record of how it was made.

    brief -> run folder, workers -> levels -> canvas -> picture and sidecar

The Python API is this module: `render(content, style, output, ...)` does what `muralist render` does.
"""

import errno
import shutil
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from platformdirs import user_cache_path

from muralist.model.state import AVERAGE
from muralist.pipeline.brief import Brief, make_brief
from muralist.pipeline.cluster import Cluster, open_cluster
from muralist.pipeline.errors import OutputError
from muralist.pipeline.estimate import disk_bytes
from muralist.pipeline.images import resize
from muralist.pipeline.job import Job
from muralist.pipeline.memory import peak_rss
from muralist.pipeline.painting import Sources, paint
from muralist.pipeline.presets import load_settings
from muralist.pipeline.progress import Bars, Progress
from muralist.pipeline.run_folder import RunFolder
from muralist.pipeline.sidecar import Sidecar, describe, write_sidecar
from muralist.pipeline.style_cache import StyleCache
from muralist.pipeline.writing import write_picture
from muralist.tiling.grid import Box, Span
from muralist.tiling.seams import seam_score

BAND_ROWS = 256
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk, the user's share of it, or what one file may take


def render(
    content: str | Path,
    style: str | Path,
    output: str | Path,
    *,
    preset: str = "default",
    overwrite: bool = False,
    quiet: bool = True,
    **settings: Any,
) -> Sidecar:
    """Paint a photograph in the style of a painting.

    Parameters
    ----------
    content, style : path
        The photograph and the painting: JPEG, PNG, TIFF or WebP.
    output : path
        The format follows from the extension. A sidecar `OUTPUT.json` is written beside it.
    preset : str
        Name of a preset or path of a preset file.
    overwrite : bool
        Whether an existing output may be replaced.
    quiet : bool
        Whether to leave out the progress bars.
    **settings
        Any field of `muralist.pipeline.settings.Settings`; these beat the preset.

    Returns
    -------
    dict
        What the sidecar holds.

    Raises
    ------
    PipelineError, ModelError, TilingError
        With what was found, what was wanted, and what to do; nothing is written then.

    Notes
    -----
    Workers are processes of their own that import the calling script again, so a script must call this
    under `if __name__ == "__main__":`.
    """
    resolved = load_settings(preset, settings)
    return carry_out(make_brief(Path(content), Path(style), Path(output), resolved, overwrite=overwrite), quiet=quiet)


def carry_out(brief: Brief, *, quiet: bool = True) -> Sidecar:
    """Paint what a brief settles, write picture and sidecar, and return what the sidecar holds."""
    began = time.perf_counter()
    folder = _run_folder(brief)
    try:
        with open_cluster(brief.settings, folder.path, brief.most_tiles) as cluster, _bars(brief, quiet) as progress:
            job = Job(folder, brief.settings, brief.weights, brief.levels, cluster.device, cluster.precision)
            reports = paint(job, cluster, _sources(brief, cluster), progress)
            workers_rss = cluster.peak_rss()
        pixels = _finished(brief, folder)
        seams = _seams(brief, folder, pixels)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise OutputError(
            f"{folder.path}: the disk is full; free some space, or name another folder with --scratch"
        ) from error
    finally:
        folder.remove()
    _write(brief, pixels)
    sidecar = describe(
        brief,
        reports,
        cluster,
        peak_rss=workers_rss + peak_rss(),
        seams=seams,
        seconds=time.perf_counter() - began,
    )
    write_sidecar(brief.output, sidecar)
    return sidecar


def _run_folder(brief: Brief) -> RunFolder:
    parent = Path(brief.settings.scratch) if brief.settings.scratch else brief.output.resolve().parent
    try:
        free = shutil.disk_usage(parent).free
        folder = RunFolder.create(parent, brief.output.name)
    except OSError as error:
        raise OutputError(f"{parent}: no folder to write to ({error.strerror}); name another with --scratch") from error
    needed = disk_bytes(brief)
    if needed > free:
        folder.remove()
        raise OutputError(
            f"{parent}: painting needs {needed / 2**30:.1f} GiB there for a while, but {free / 2**30:.1f} GiB are "
            "free; free some space, or name another folder with --scratch"
        )
    return folder


def _bars(brief: Brief, quiet: bool) -> AbstractContextManager[Progress]:
    return nullcontext(Progress()) if quiet else Bars(brief.levels, brief.output.name)


def _sources(brief: Brief, cluster: Cluster) -> Sources:
    origin = {
        "style": brief.style.sha256,
        "weights": brief.weights.sha256,
        "network": brief.settings.network,
        "pooling": brief.settings.pooling,
        "layers": " ".join(sorted(brief.settings.style_layers)),
        "precision": cluster.precision,
        "device": cluster.device.partition(":")[0],
    }
    return Sources(
        content=lambda height, width: resize(brief.content.pixels, height, width),
        style=lambda side: resize(brief.style.pixels, *_style_size(brief, side)),
        style_cache=StyleCache(user_cache_path("muralist") / "style", origin),
    )


def _style_size(brief: Brief, side: int) -> tuple[int, int]:
    """Height and width of the style picture with a long side of `side`, no smaller than the network can see."""
    height, width = brief.style.height, brief.style.width
    least = brief.network.minimum(brief.settings.style_layers)
    scale = max(side / max(height, width), least / min(height, width))
    return round(height * scale), round(width * scale)


def _finished(brief: Brief, folder: RunFolder) -> np.ndarray:
    """Read the finished canvas, band by band, as whole numbers of the output's bit depth."""
    level = brief.final
    read = folder.canvas(level.index, level.grid, len(level.rounds))
    box, top = level.picture_box, 2**brief.bit_depth - 1
    out = np.empty((level.height, level.width, 3), f"uint{brief.bit_depth}")
    for row in range(0, level.height, BAND_ROWS):
        stop = min(row + BAND_ROWS, level.height)
        band = read(Box(Span(box.rows.start + row, box.rows.start + stop), box.cols))[AVERAGE]
        out[row:stop] = np.rint(band.clip(0, 1) * top)
    return out


def _write(brief: Brief, pixels: np.ndarray) -> None:
    alpha, shape = brief.content.alpha, pixels.shape[:2]
    write_picture(
        brief.output,
        pixels,
        alpha=None if alpha is None else resize(alpha, *shape),
        icc=brief.content.icc if brief.settings.profile == "keep" else None,
        exif=brief.content.exif,
        dpi=brief.dpi,
        bit_depth=brief.bit_depth,
        quality=brief.settings.quality,
    )


def _seams(brief: Brief, folder: RunFolder, pixels: np.ndarray) -> float:
    level = brief.final
    photograph = np.load(folder.content(level.index), mmap_mode="r")[level.picture_box.inside(level.grid.box)]
    rows, cols = ([cut.core.start - level.bleed for cut in axis[1:]] for axis in level.grid.axes)
    return seam_score(pixels, rows, cols, photograph)
