"""One photograph becomes one painting: the whole way, from paths to a picture and the record of how it was made.

    brief -> run folder, workers -> levels -> canvas -> picture and sidecar

The Python API is this module: `render(content, style, output, ...)` does what `muralist render` does.
"""

import errno
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from platformdirs import user_cache_path

from muralist.model.state import AVERAGE
from muralist.pipeline.brief import Brief, make_brief
from muralist.pipeline.checkpoints import Checkpoint, checkpoint_path
from muralist.pipeline.cluster import Cluster, open_cluster
from muralist.pipeline.colours import with_chroma_of
from muralist.pipeline.errors import OutputError
from muralist.pipeline.estimate import check_memory, disk_bytes
from muralist.pipeline.images import resize
from muralist.pipeline.job import Job
from muralist.pipeline.levels import Level
from muralist.pipeline.losses import write_plot
from muralist.pipeline.memory import peak_rss
from muralist.pipeline.painting import Sources, StyleSource, paint
from muralist.pipeline.presets import load_settings
from muralist.pipeline.progress import Bars, Progress
from muralist.pipeline.run_folder import FINISHED, RunFolder
from muralist.pipeline.sidecar import Sidecar, describe, write_sidecar
from muralist.pipeline.start import init_pixels
from muralist.pipeline.style_cache import StyleCache
from muralist.pipeline.styles import Style
from muralist.pipeline.writing import write_picture
from muralist.tiling.grid import Box, Span
from muralist.tiling.seams import seam_score

BAND_ROWS = 256
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk, the user's share of it, or what one file may take


def render(
    content: str | Path,
    style: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    preset: str = "default",
    overwrite: bool = False,
    quiet: bool = True,
    loss_lines: bool = False,
    loss_plot: str | Path | None = None,
    **settings: Any,
) -> Sidecar:
    """Paint a photograph in the style of a painting.

    Parameters
    ----------
    content : path
        The photograph: JPEG, PNG, TIFF or WebP.
    style : path or sequence of paths
        The painting, or several; a folder of pictures counts as one.
    output : path
        The format follows from the extension. A sidecar `OUTPUT.json` is written beside it.
    preset : str
        Name of a preset or path of a preset file.
    overwrite : bool
        Whether an existing output may be replaced.
    quiet : bool
        Whether to leave out the progress bars.
    loss_lines : bool
        Whether to write a line with the losses to standard error at the start of every level and after every round.
    loss_plot : path, optional
        PNG, SVG or PDF to plot the losses into.
    **settings
        Any field of `muralist.pipeline.settings.Settings`; these beat the preset.

    Returns
    -------
    dict
        What the sidecar holds.

    Raises
    ------
    PipelineError, ModelError, TilingError
        With what was found, what was wanted, and what to do; nothing is written then but checkpoints made before.

    Notes
    -----
    Workers are processes of their own that import the calling script again, so a script must call this
    under `if __name__ == "__main__":`.
    """
    resolved = load_settings(preset, settings)
    styles = [Path(path) for path in ([style] if isinstance(style, str | Path) else style)]
    plot = None if loss_plot is None else Path(loss_plot)
    brief = make_brief(Path(content), styles, Path(output), resolved, overwrite=overwrite, loss_plot=plot)
    return carry_out(brief, quiet=quiet, loss_lines=loss_lines)


def carry_out(brief: Brief, *, quiet: bool = True, loss_lines: bool = False) -> Sidecar:
    """Paint what a brief settles, write picture and sidecar, and return what the sidecar holds."""
    began = time.perf_counter()
    check_memory(brief)
    folder, checkpoints = _run_folder(brief), list[Checkpoint]()
    try:
        bars = _bars(brief, quiet, loss_lines)
        with open_cluster(brief.settings, folder.path, brief.most_tiles) as cluster, bars as progress:
            shares = tuple(style.share for style in brief.styles)
            job = Job(folder, brief.settings, brief.weights, brief.levels, shares, cluster.device, cluster.precision)
            course = paint(job, cluster, _sources(brief, cluster), progress, partial(_save, brief, folder, checkpoints))
            workers_rss = cluster.peak_rss()
        pixels = _pixels(brief, folder, brief.final, FINISHED)
        seams = _seams(brief, folder, pixels)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise OutputError(
            f"{folder.path}: the disk is full; free some space, or name another folder with --scratch"
        ) from error
    finally:
        folder.remove()
    _write(brief, brief.output, pixels)
    if brief.loss_plot is not None:
        write_plot(brief.loss_plot, course.losses, brief.settings)
    sidecar = describe(
        brief,
        course,
        checkpoints,
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


def _bars(brief: Brief, quiet: bool, loss_lines: bool) -> AbstractContextManager[Progress]:
    if quiet:
        return nullcontext(Progress(brief.levels, loss_lines=loss_lines))
    return Bars(brief.levels, brief.output.name, loss_lines=loss_lines)


def _sources(brief: Brief, cluster: Cluster) -> Sources:
    origin = {
        "weights": brief.weights.sha256,
        "network": brief.settings.network,
        "pooling": brief.settings.pooling,
        "pool_rescale": str(brief.settings.pool_rescale),
        "padding": brief.settings.padding,
        "layers": " ".join(sorted(brief.settings.active_style_layers)),
        "precision": cluster.precision,
        "device": cluster.device.partition(":")[0],
    }
    init = init_pixels(brief.settings, brief.content, brief.init, brief.network.mean)
    return Sources(
        content=lambda height, width: resize(brief.content.pixels, height, width),
        init=lambda height, width: resize(init, height, width),
        styles=tuple(_style_source(style, origin) for style in brief.styles),
    )


def _style_source(style: Style, origin: Mapping[str, str]) -> StyleSource:
    colours = "" if style.recolouring is None else style.recolouring.sha256
    own = {"style": style.picture.sha256, "colours": colours}
    return StyleSource(style.pixels, StyleCache(user_cache_path("muralist") / "style", {**origin, **own}))


def _save(brief: Brief, folder: RunFolder, saved: list[Checkpoint], level: Level, made: int) -> None:
    """Write the painting as it is after some rounds of a level, and add it to those saved."""
    step = level.first_step + level.steps_after(made)
    path = checkpoint_path(brief.output, step)
    _write(brief, path, _pixels(brief, folder, level, made))
    saved.append(Checkpoint(str(path), step, level.height, level.width))


def _pixels(brief: Brief, folder: RunFolder, level: Level, made: int) -> np.ndarray:
    """Read a level's painting after some rounds, band by band, as whole numbers of the output's bit depth."""
    read = folder.canvas(level.index, level.grid, made)
    box, top = level.picture_box, 2**brief.bit_depth - 1
    out = np.empty((level.height, level.width, 3), f"uint{brief.bit_depth}")
    for row in range(0, level.height, BAND_ROWS):
        stop = min(row + BAND_ROWS, level.height)
        part = Box(Span(box.rows.start + row, box.rows.start + stop), box.cols)
        band = _coloured(brief, folder, level, part, read(part)[AVERAGE])
        out[row:stop] = np.rint(band.clip(0, 1) * top)
    return out


def _coloured(brief: Brief, folder: RunFolder, level: Level, part: Box, pixels: np.ndarray) -> np.ndarray:
    """Give a box of a painting the photograph's chroma, if it is to have it."""
    if brief.settings.colours != "luminance":
        return pixels
    photograph = np.load(folder.content(level.index), mmap_mode="r")[part.inside(level.grid.box)]
    return with_chroma_of(photograph, pixels)


def _write(brief: Brief, path: Path, pixels: np.ndarray) -> None:
    alpha, shape = brief.content.alpha, pixels.shape[:2]
    write_picture(
        path,
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
