"""One photograph becomes one painting: the whole way, from paths to a picture and the record of how it was made.

    run folder -> brief -> workers -> levels -> canvas -> picture and sidecar

`muralist.render` is the function of that name here; it does what the command `muralist render` does.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import PIL.Image
from platformdirs import user_cache_path

from .brief import Brief, as_paths, faces_path, make_brief, proof_path
from .errors import OutputError, PipelineError
from .estimate import check_memory, disk_bytes, learn_speed_of, planned_by
from .events import Event, Events
from .finishing import Finished, score_seams, write_painting, write_proof
from .job import Job
from .lay_out import Sources, StyleSource
from .levels import Level
from .painting import Painting
from .pictures.images import resize_rows
from .pictures.reading import read_picture
from .pictures.writing import check_output, write_picture
from .presets import load_settings
from .progress import Bars, Progress
from .records.checkpoints import Checkpoint, checkpoint_path
from .records.journal import Journal
from .records.losses import write_plot
from .records.sidecar import Sidecar, describe, write_sidecar
from .settings import Settings
from .start import init_pixels
from .storage.run_folder import RunFolder, open_run, tidy
from .storage.store import START_OVER
from .style_cache import StyleCache
from .styles import Style
from .viewer.live import Board
from .viewer.overview import eight_bits
from .viewer.report import add_report, check_report
from .viewer.server import LOCAL, open_live, shown_live
from .workers.cluster import Cluster, open_cluster
from .workers.local import check_main
from .workers.memory import peak_rss

GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.EIO)  # files of a run that were there, or whole, before
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk, the user's share of it, or what one file may take


@dataclass(frozen=True)
class RenderResult:
    """A painting that is finished.

    Attributes
    ----------
    output : Path
        The painting's file.
    sidecar : mapping
        The record of how it was made, as it was written beside it.
    """

    output: Path
    sidecar: Sidecar = field(repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, px."""
        return self.sidecar["width"], self.sidecar["height"]

    @property
    def seconds(self) -> float:
        """That painting took, interruptions left out."""
        return float(self.sidecar["seconds"])

    @property
    def seam_score(self) -> float:
        """How much more the painting changes across tile borders than beside them; about 1 where no seam is."""
        return float(self.sidecar["seam_score"])

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know."""
        return tuple(self.sidecar["notices"])

    def image(self) -> PIL.Image.Image:
        """Read the painting: sRGB, 8 bits.

        Raises
        ------
        PictureError
            If the file is gone or has changed into none, or is a PDF.
        """
        return PIL.Image.fromarray(eight_bits(read_picture(self.output).pixels[:]))


def render(
    photo: str | Path,
    style: str | Path | Sequence[str | Path],
    output: str | Path,
    settings: Settings | None = None,
    *,
    overwrite: bool = False,
    restart: bool = False,
    keep_folder: bool = False,
    quiet: bool = True,
    loss_lines: bool = False,
    loss_plot: str | Path | None = None,
    report: bool = False,
    live: int | None = None,
    live_host: str = LOCAL,
    tell: Callable[[str], object] = lambda notice: None,
    on_progress: Callable[[Event], object] | None = None,
) -> RenderResult:
    """Paint a photograph in the style of a painting, or go on with what was interrupted.

    Parameters
    ----------
    photo : path
        The photograph, of any kind in `muralist.pipeline.pictures.formats`; `scan.tif#2` is a page of a TIFF.
    style : path or sequence of paths
        The painting, or several; a folder of pictures counts as one.
    output : path
        The format follows from the extension. A sidecar `OUTPUT.json` is written beside it.
    settings : Settings, optional
        `Settings(size=4000)`, or `load_settings("poster", {"size": 4000})` for a preset with changes.
    overwrite : bool
        Whether an existing output may be replaced.
    restart : bool
        Whether to begin anew what was interrupted.
    keep_folder : bool
        Whether to leave the run folder after a success.
    quiet : bool
        Whether to leave out the progress bars.
    loss_lines : bool
        Whether to write a line with the losses to standard error at the start of every level and after every round.
    loss_plot : path, optional
        PNG, SVG or PDF to plot the losses into.
    report : bool
        Whether to write a page about the painting as well, see `muralist.pipeline.viewer.report`.
    live : int, optional
        Port for a page that shows the painting while it grows, 0 for one that is free; its address is told.
    live_host : str
        Address of this machine that the page is served on.
    tell : callable
        Is told what the user should know, before painting and after.
    on_progress : callable, optional
        Is told an `Event` after every round, such as `muralist.notebook()`. Painting waits for it.

    Raises
    ------
    MuralistError
        With what was found, what was wanted, and what to do. Once a level was begun, what was painted stays in the run
        folder (but for a painting that diverged), and the same call goes on with it.

    Notes
    -----
    Workers are processes of their own that import the calling script again, so a script must call this
    under `if __name__ == "__main__":`.
    """
    check_main()
    resolved = settings or load_settings()
    styles = as_paths(style)
    plot, output = None if loss_plot is None else Path(loss_plot), Path(output)
    if os.path.exists(output) and not keep_folder:  # also where the name is too long to be one
        tidy(output, resolved.scratch, restart=restart)
    begun = RunFolder.of(output, resolved.scratch).is_begun(restart=restart)
    check_output(output, overwrite=overwrite or begun)
    if report:
        check_report(output, overwrite=overwrite or begun)
    with open_run(output, resolved.scratch, restart=restart, keep=keep_folder) as folder:
        brief = make_brief(
            Path(photo),
            styles,
            output,
            resolved,
            overwrite=overwrite or folder.begun,
            loss_plot=plot,
            aside=folder.aside,
        )
        for notice in brief.notices:
            tell(notice)
        with open_live(output.name, live, live_host, tell) as board:
            sidecar = _carry_out(brief, folder, board, on_progress, quiet=quiet, loss_lines=loss_lines)
    for notice in sidecar["notices"][len(brief.notices) :]:
        tell(notice)
    if report:
        add_report(output, Path(photo), resolved)
    return RenderResult(output, sidecar)


def _carry_out(
    brief: Brief,
    folder: RunFolder,
    board: Board | None,
    on_progress: Callable[[Event], object] | None,
    *,
    quiet: bool,
    loss_lines: bool,
) -> Sidecar:
    """Paint what a brief settles, on workers of its own."""
    Journal(folder, brief.output, brief.identity).resume()  # refuses before workers are started
    check_room(brief, folder)
    settings, tiles, bars = brief.settings, brief.most_tiles, _bars(brief, quiet, loss_lines)
    with (
        _storage_errors_told(folder),
        open_cluster(settings, folder.base, folder.aside, tiles, brief.weights) as cluster,
        bars as progress,
        shown_live(board, brief.output.name, brief.levels, progress, cluster) as watched,
    ):
        if on_progress is not None:
            watched = Events(brief.levels, brief.output.name, watched, on_progress)
        return paint_picture(brief, folder, cluster, watched)


def paint_picture(brief: Brief, folder: RunFolder, cluster: Cluster, progress: Progress, rank: int = 0) -> Sidecar:
    """Paint what a brief settles on running workers, write picture and sidecar; return what the sidecar holds.

    Parameters
    ----------
    brief : Brief
    folder : RunFolder
    cluster : Cluster
    progress : Progress
    rank : int
        Place among the pictures of a batch; lower ranks are served first.

    Raises
    ------
    OutputError
        If the disk is full, among others; the same command goes on when there is space.
    """
    settings, journal = brief.settings, Journal(folder, brief.output, brief.identity)
    shares = tuple(style.share for style in brief.styles)
    guidance = None if brief.regions is None else brief.regions.guidance([style.region for style in brief.styles])
    precision = cluster.precision if settings.precision == "auto" else settings.precision
    job = Job(folder, settings, brief.weights, shares, cluster.device, precision, rank, guidance)
    course, plan = journal.resume(), planned_by(brief, cluster, precision)
    painting = Painting(job, brief.levels, cluster, _sources(brief, job), progress, journal, _saver(brief, job), course)
    before = course.losses + course.current.rows
    progress.watch(lambda level, made: _finished(brief, job, level, made), before)
    with _storage_errors_told(folder):
        level, kept = painting.paint()
        finished = _finished(brief, job, level, kept)
        told = write_painting(finished, brief.output)
        proof = (
            write_proof(finished, proof_path(brief.output), brief.profile) if settings.proof and brief.profile else None
        )
        if brief.regions is not None and brief.regions.faces is not None:
            write_picture(faces_path(brief.output), np.dstack([brief.regions.faces.values[:]] * 3))
        if brief.loss_plot is not None:
            write_plot(brief.loss_plot, course.losses)
        seams = score_seams(finished)
        painting.tick()
        peak, borders = cluster.peak_rss() + peak_rss(), finished.borders
        sidecar = describe(brief, course, cluster, peak_rss=peak, seams=seams, borders=borders, plan=plan)
        sidecar = {**sidecar, "proof": proof, "notices": [*sidecar["notices"], *told]}
        write_sidecar(brief.output, sidecar)
        journal.write(course, finished=True)
    learn_speed_of(brief, course, cluster, job.precision)
    return sidecar


@contextmanager
def _storage_errors_told(folder: RunFolder) -> Iterator[None]:
    try:
        yield
    except PipelineError:
        raise
    except OSError as error:
        if error.errno in FULL:
            raise OutputError(
                f"{folder.base.root}: the disk is full; free some space and repeat the command to go on, or name "
                "another folder with --scratch"
            ) from error
        if error.errno in GONE:
            raise OutputError(
                f"{error.filename or folder.base.root}: {error.strerror}, wanted a file of this run; somebody removed "
                f"or damaged it while it was painted: see that the folder is there, then {START_OVER}"
            ) from error
        raise


def check_room(brief: Brief, folder: RunFolder) -> None:
    """Refuse what will not fit into memory, or where the run folder is; what a URL has left is not known.

    Raises
    ------
    SettingsError, OutputError
        With what is needed, what is there, and what to do.
    """
    check_memory(brief)
    if folder.base.local is None or folder.begun:
        return
    free, needed = shutil.disk_usage(folder.base.local).free, disk_bytes(brief)
    if needed > free:
        raise OutputError(
            f"{folder.base.local.parent}: painting needs {needed / 2**30:.1f} GiB there for a while, but "
            f"{free / 2**30:.1f} GiB are free; free some space, or name another folder with --scratch"
        )


def _bars(brief: Brief, quiet: bool, loss_lines: bool) -> AbstractContextManager[Progress]:
    if quiet:
        return nullcontext(Progress(brief.levels, loss_lines=loss_lines))
    return Bars(brief.levels, brief.output.name, loss_lines=loss_lines)


def _sources(brief: Brief, job: Job) -> Sources:
    origin = {
        "weights": brief.weights.sha256,
        "network": brief.settings.network,
        "pooling": brief.settings.pooling,
        "pool_rescale": str(brief.settings.pool_rescale),
        "padding": brief.settings.padding,
        "layers": " ".join(sorted(brief.settings.active_style_layers)),
        "terms": " ".join(brief.settings.style_terms),
        "precision": job.precision,
        "device": job.device.partition(":")[0],
    }
    init = init_pixels(brief.settings, brief.content, brief.init, brief.network.mean)
    return Sources(
        content=lambda height, width, rows: resize_rows(brief.content.pixels, height, width, rows),
        init=lambda height, width, rows: resize_rows(init, height, width, rows),
        styles=tuple(_style_source(style, origin) for style in brief.styles),
        guides=None if brief.regions is None else brief.regions.channels,
    )


def _style_source(style: Style, origin: Mapping[str, str]) -> StyleSource:
    colours = "" if style.recolouring is None else style.recolouring.sha256
    own = {"style": style.picture.sha256, "colours": colours}
    own |= {"mask": style.mask.key} if style.mask else {}
    return StyleSource(
        style.pixels, StyleCache(user_cache_path("muralist") / "style", {**origin, **own}), style.weights
    )


def _finished(brief: Brief, job: Job, level: Level, made: int) -> Finished:
    """The painting as it is after some rounds of a level."""
    guides = None if brief.regions is None else job.guides(level)
    return Finished(brief, level, job.canvas(level, made), job.content(level), guides)


def _saver(brief: Brief, job: Job) -> Callable[[Level, int], Checkpoint]:
    """Give a function that writes the painting as it is after some rounds of a level."""

    def save(level: Level, made: int) -> Checkpoint:
        step = level.first_step + level.steps_after(made)
        path = checkpoint_path(brief.output, step)
        write_painting(_finished(brief, job, level, made), path)
        return Checkpoint(str(path), step, level.height, level.width)

    return save
