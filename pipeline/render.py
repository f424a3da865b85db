"""Paints one photograph: the whole way, from paths to a picture and the record of how it was made.

    run folder -> plan -> workers -> levels -> canvas -> picture and sidecar

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

from .arguments import checked
from .console import LOG
from .context import RenderContext
from .errors import OutputError, PipelineError
from .events import Event, Events
from .export import FinalImage, score_seams, write_painting, write_proof
from .forecast import learn_speed_of, planned_by
from .initialization import init_pixels
from .levels import Level
from .output_files import replaceable
from .output_names import faces_path, proof_path, snapshot_path
from .painting import RenderDriver
from .pictures.images import eight_bits, resize_rows
from .pictures.reading import read_picture
from .pictures.writing import check_output, write_picture
from .prepare_level import LevelInputs, StyleSource
from .presets import load_settings
from .progress import Bars, Progress
from .records.journal import Journal, files_written
from .records.losses import check_plot, write_plot
from .records.run_state import RunState
from .records.sidecar import Sidecar, describe, write_sidecar
from .records.snapshots import Snapshot
from .render_plan import RenderPlan, as_paths, plan_render
from .settings import Settings
from .space import canvas_bytes, check_memory
from .storage.run_folder import RunFolder, clean_stale, open_run
from .storage.store import START_OVER
from .style_cache import StyleCache
from .styles import Style
from .viewer.live import Board
from .viewer.report import add_report, check_report
from .viewer.server import LOCAL, open_live, shown_live
from .words import memory_size
from .workers.cluster import Cluster, open_cluster
from .workers.local import check_main
from .workers.machine import peak_rss

GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.EIO)  # files of a run that were there, or whole, before
# A file system that was mounted, or could be written to, before.
AWAY = (errno.EROFS, errno.EACCES, errno.ENOTCONN, errno.ENODEV, errno.ENXIO, errno.ETIMEDOUT, errno.EHOSTDOWN)
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

        Raises `PictureError` if the file is gone or has changed into none, or is a PDF.
        """
        return PIL.Image.fromarray(eight_bits(read_picture(self.output).pixels[:]))


@checked
def render(
    photo: str | Path,
    style: str | Path | Sequence[str | Path],
    output: str | Path,
    settings: Settings | None = None,
    *,
    overwrite: bool = False,
    restart: bool = False,
    keep_run: bool = False,
    quiet: bool = True,
    loss_lines: bool = False,
    loss_plot: str | Path | None = None,
    report: bool = False,
    live: int | None = None,
    live_host: str = LOCAL,
    on_progress: Callable[[Event], object] | None = None,
) -> RenderResult:
    """Paint a photograph in the style of a painting, or resume an interrupted render.

    Parameters
    ----------
    photo : path
        The photograph, of any kind in `muralist.pipeline.pictures.formats`; `scan.tif#2` is a page of a TIFF.
    style : path or sequence of paths
        The painting, or several; a folder of pictures counts as one. `[]` if regions cover the whole picture.
    output : path
        The painting to write, in the format of its extension. A sidecar `OUTPUT.json` is written beside it.
    settings : Settings, optional
        `Settings(size=4000)`, or `load_settings("poster", {"size": 4000})` for a preset with changes.
    overwrite : bool
        Whether an existing output may be replaced.
    restart : bool
        Whether to discard an interrupted run and start over.
    keep_run : bool
        Whether to keep the run folder after success.
    quiet : bool
        Whether to leave out the progress bars.
    loss_lines : bool
        Whether to log the losses (logger `muralist.losses`) at level INFO instead of DEBUG, at the start of every level
        and after every round.
    loss_plot : path, optional
        PNG, SVG or PDF to plot the losses into.
    report : bool
        Whether to write a page about the painting as well, see `muralist.pipeline.viewer.report`.
    live : int, optional
        Port for a page that shows the painting in progress, 0 for any free port; the address is logged.
    live_host : str
        Address of this machine that the page is served on.
    on_progress : callable, optional
        Called with an `Event` after every round, such as `muralist.notebook()`. Painting waits until it returns.

    Raises
    ------
    MuralistError
        With what was found, what was wanted, and what to do. Once a level has begun, the work so far stays in the run
        folder, and the same call resumes it (unless the painting diverged).

    Notes
    -----
    What the user should know is logged as warnings of the logger `muralist`, before painting and after; see
    `muralist.pipeline.console`.

    Workers are processes of their own that import the calling script again, so a script must call this
    under `if __name__ == "__main__":`.
    """
    check_main()
    resolved = settings or load_settings()
    photo, output = Path(photo), Path(output)
    if os.path.exists(output) and not keep_run:  # also where the name is too long to be one
        clean_stale(output, resolved.scratch, restart=restart)
    with open_render(
        photo,
        as_paths(style),
        output,
        resolved,
        overwrite=overwrite,
        restart=restart,
        keep_run=keep_run,
        loss_plot=None if loss_plot is None else Path(loss_plot),
        report=report,
    ) as (plan, journal, state):
        for notice in plan.notices:
            LOG.warning(notice)
        with open_live(output.name, live, live_host) as board:
            sidecar = _carry_out(plan, journal, state, board, on_progress, quiet=quiet, loss_lines=loss_lines)
    for notice in sidecar["notices"][len(plan.notices) :]:
        LOG.warning(notice)
    if report:
        add_report(output, photo, resolved)
    return RenderResult(output, sidecar)


def _carry_out(
    plan: RenderPlan,
    journal: Journal,
    state: RunState,
    board: Board | None,
    on_progress: Callable[[Event], object] | None,
    *,
    quiet: bool,
    loss_lines: bool,
) -> Sidecar:
    """Paint what a plan settles, on workers of its own."""
    settings, tiles, bars = plan.settings, plan.most_tiles, _bars(plan, quiet, loss_lines)
    folder = journal.folder
    with (
        _storage_errors_told(folder),
        open_cluster(settings, folder.base, folder.local_dir, tiles, plan.weights) as cluster,
        bars as progress,
        shown_live(board, plan.output.name, plan.levels, progress, cluster) as watched,
    ):
        if on_progress is not None:
            watched = Events(plan.levels, plan.output.name, watched, on_progress)
        return paint_picture(plan, journal, state, cluster, watched)


@contextmanager
def open_render(
    photo: Path,
    styles: Sequence[Path],
    output: Path,
    settings: Settings,
    *,
    overwrite: bool,
    restart: bool,
    keep_run: bool,
    loss_plot: Path | None = None,
    report: bool = False,
) -> Iterator[tuple[RenderPlan, Journal, RunState]]:
    """Plan a picture in its run folder, and find out how far it was painted before.

    What cannot be painted is refused here, before workers are needed; a wrong output before the run folder is touched.

    Raises
    ------
    OutputError
        If an output cannot be written; if the interrupted run painted something else, or its journal is damaged; if the
        disk is too small.
    SettingsError
        If the memory is too small.
    MuralistError
        As `plan_render`.
    """
    own = files_written(RunFolder.of(output, settings.scratch), restart=restart)
    may_replace = replaceable(overwrite, own or ())
    check_output(output, overwrite=may_replace(output))
    if loss_plot is not None:
        check_plot(loss_plot, overwrite=may_replace(loss_plot))
    if report:
        check_report(output, overwrite=overwrite)
    with open_run(output, settings.scratch, restart=restart, keep=keep_run) as folder:
        plan = plan_render(
            photo,
            styles,
            output,
            settings,
            overwrite=overwrite,
            own=own,
            loss_plot=loss_plot,
            local_dir=folder.local_dir,
        )
        journal = Journal(folder, output, plan.identity)
        state = journal.resume()
        _check_room(plan, folder)
        yield plan, journal, state


def paint_picture(
    plan: RenderPlan, journal: Journal, state: RunState, cluster: Cluster, progress: Progress, priority: int = 0
) -> Sidecar:
    """Paint what a plan settles on running workers, write picture and sidecar; return what the sidecar holds.

    Parameters
    ----------
    journal, state : Journal, RunState
        From `open_render`.
    priority : int
        Place among the pictures of a batch; a lower number is served first.

    Raises
    ------
    OutputError
        If the disk is full, among others; the same command resumes when there is space.
    """
    settings, folder = plan.settings, journal.folder
    shares = tuple(style.share for style in plan.styles)
    layout = None if plan.regions is None else plan.regions.layout([style.region for style in plan.styles])
    precision = cluster.precision if settings.precision == "auto" else settings.precision
    context = RenderContext(folder, settings, plan.weights, shares, cluster.device, precision, priority, layout)
    forecast = planned_by(plan, cluster, precision)
    name, last = plan.output.name, plan.levels[-1]
    LOG.debug("%s: %s x %s px on %s in %s", name, last.width, last.height, cluster.device, precision)
    LOG.debug("%s: run folder %s", name, folder.base.root)
    if state.resumed:
        LOG.debug("%s: resumed at level %s of %s", name, len(state.levels) + 1, len(plan.levels))
    sources, saver = _sources(plan, context, cluster.device_name), _saver(plan, context)
    painting = RenderDriver(context, plan.levels, cluster, sources, progress, journal, saver, state)
    before = state.losses + state.current.rows
    progress.watch(lambda level, made: _finished(plan, context, level, made), before)
    with _storage_errors_told(folder):
        level, kept = painting.paint()
        state.files = [os.path.abspath(path) for path in plan.files]
        journal.write(state)
        finished = _finished(plan, context, level, kept)
        told = write_painting(finished, plan.output)
        proof = (
            write_proof(finished, proof_path(plan.output), plan.profile) if settings.proof and plan.profile else None
        )
        if plan.regions is not None and plan.regions.faces is not None:
            write_picture(faces_path(plan.output), np.dstack([plan.regions.faces.values[:]] * 3))
        if plan.loss_plot is not None:
            write_plot(plan.loss_plot, state.losses)
        seams = score_seams(finished)
        painting.tick()
        peak, borders = cluster.peak_rss() + peak_rss(), finished.borders
        sidecar = describe(plan, state, cluster, peak_rss=peak, seams=seams, borders=borders, forecast=forecast)
        sidecar = {**sidecar, "proof": proof, "notices": [*sidecar["notices"], *told]}
        write_sidecar(plan.output, sidecar)
        journal.write(state, finished=True)
        LOG.debug("%s: written after %.0f s", name, sidecar["seconds"])
    learn_speed_of(plan, state, cluster, context.precision)
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
                f"{folder.base.root}: the disk is full; free some space and rerun the command to resume, or name "
                "another folder with --scratch"
            ) from error
        if error.errno in GONE:
            raise OutputError(
                f"{error.filename or folder.base.root}: {error.strerror}, wanted a file of this run; it was removed "
                f"or damaged during painting: check the folder, then {START_OVER}"
            ) from error
        if error.errno in AWAY:
            raise OutputError(
                f"{error.filename or folder.base.root}: {error.strerror}, wanted to read and write there until the "
                "painting is done; see that the folder is there and can be written to, then rerun the command to resume"
            ) from error
        raise


def _check_room(plan: RenderPlan, folder: RunFolder) -> None:
    """Refuse what will not fit into memory, or where the run folder is; what a URL has left is not known.

    Pictures that do not fit into memory are filed by now, and leave so much less free.
    """
    check_memory(plan)
    if folder.base.local is None or folder.resumed:
        return
    free, needed = shutil.disk_usage(folder.base.local).free, canvas_bytes(plan)
    if needed > free:
        raise OutputError(
            f"{folder.base.local.parent}: painting needs {memory_size(needed)} there temporarily, but "
            f"{memory_size(free)} are free; free some space, or name another folder with --scratch"
        )


def _bars(plan: RenderPlan, quiet: bool, loss_lines: bool) -> AbstractContextManager[Progress]:
    if quiet:
        return nullcontext(Progress(plan.levels, loss_lines=loss_lines))
    return Bars(plan.levels, plan.output.name, loss_lines=loss_lines)


def _sources(plan: RenderPlan, context: RenderContext, device_name: str) -> LevelInputs:
    settings = plan.settings
    origin = {
        **{name: str(getattr(settings, name)) for name in settings.names(style_cache=True)},
        "weights": plan.weights.sha256,
        "layers": " ".join(sorted(settings.active_style_layers)),
        "terms": " ".join(settings.measured_terms),
        **{name: number for name, number in plan.identity["versions"].items() if name != "muralist"},
        "precision": context.precision,
        "device": f"{context.device.partition(':')[0]} {device_name}",  # another model computes other last digits
    }
    init = init_pixels(settings, plan.content, plan.init, plan.network.mean)
    return LevelInputs(
        content=lambda height, width, rows: resize_rows(plan.content.pixels, height, width, rows),
        init=lambda height, width, rows: resize_rows(init, height, width, rows),
        styles=tuple(_style_source(style, origin) for style in plan.styles),
        guidance=None if plan.regions is None else plan.regions.channels,
    )


def _style_source(style: Style, origin: Mapping[str, str]) -> StyleSource:
    colors = "" if style.recoloring is None else style.recoloring.sha256
    own = {"style": style.picture.sha256, "colors": colors}
    own |= {"mask": style.mask.key} if style.mask else {}
    return StyleSource(
        style.pixels, StyleCache(user_cache_path("muralist") / "style", {**origin, **own}), style.weights
    )


def _finished(plan: RenderPlan, context: RenderContext, level: Level, made: int) -> FinalImage:
    """The painting as it is after some rounds of a level."""
    guidance = None if plan.regions is None else context.guidance(level)
    return FinalImage(plan, level, context.canvas(level, made), context.content(level), guidance)


def _saver(plan: RenderPlan, context: RenderContext) -> Callable[[Level, int], Snapshot]:
    """Give a function that writes the painting as it is after some rounds of a level."""

    def save(level: Level, made: int) -> Snapshot:
        step = level.first_step + level.steps_after(made)
        path = snapshot_path(plan.output, step)
        finished = _finished(plan, context, level, made)
        write_painting(finished, path)
        written = finished.sheet or level
        return Snapshot(str(path), step, written.height, written.width)

    return save
