"""Paint many photographs side by side on one set of workers. A photograph that fails stops no other."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from ..arguments import checked
from ..console import PROGRESS
from ..output_files import make_folder
from ..presets import load_settings
from ..progress import BatchBar
from ..records.batch_report import Report, Result, check_report_file
from ..render_plan import as_paths
from ..settings import Settings
from ..storage.run_folder import open_run
from ..viewer.gallery import check_gallery, gallery_path, write_gallery
from ..viewer.server import LOCAL, open_live
from ..workers.local import check_main
from ..workers.machine import budget
from .collisions import check_collisions
from .command import check_command
from .deadline import Deadline
from .driver import BatchDriver, BatchOptions
from .items import find_doubles, find_items, find_unsupported, shared_styles, told_unsupported
from .manifest import is_manifest
from .masks import with_own_masks
from .pairs import RawPairs, told_doubles

REPORT: Final = "report.jsonl"


@checked
def render_batch(
    photos: str | Path | Sequence[str | Path],
    style: str | Path | Sequence[str | Path],
    output: str | Path,
    settings: Settings | None = None,
    *,
    overwrite: bool = False,
    restart: bool = False,
    report: bool = False,
    name: str | None = None,
    each_style: bool = False,
    raw_pairs: RawPairs = "jpeg",
    finish_by: str | None = None,
    max_hours: float | None = None,
    quiet: bool = True,
) -> Report:
    """Paint many photographs, or resume an interrupted batch, like the command `muralist batch`.

    Parameters
    ----------
    photos : path, str or sequence of them
        Folders, globs, pictures and manifests.
    output : path
        Folder for paintings, sidecars and `report.jsonl`; created if it does not exist.
    settings : Settings, optional
        Values that were set explicitly override the preset that a manifest line names; the line's other values override
        both.
    overwrite, restart, report : bool
        As of `BatchOptions`.
    name, each_style, raw_pairs, finish_by, max_hours, quiet
        As of `run_batch`.

    Returns
    -------
    Report
        What became of every photograph; `exit_code` is 0 if none failed.

    Raises
    ------
    MuralistError
        If something is wrong with the batch as a whole. What is wrong with one picture is in the report.
    """
    check_main()
    inputs = [photos] if isinstance(photos, str | Path) else photos  # globs are no paths
    given = {} if settings is None else {key: getattr(settings, key) for key in settings.model_fields_set}
    # A sidecar's settings have all names; of two that exclude each other, the one counts that takes the other's place.
    beaten = {rival for key, value in given.items() if value is not None for rival in Settings.role(key).rivals}
    given = {key: value for key, value in given.items() if key not in beaten}
    return run_batch(
        [str(path) for path in inputs],
        as_paths(style),
        Path(output),
        BatchOptions(flags=given, overwrite=overwrite, restart=restart, report=report),
        name=name,
        each_style=each_style,
        raw_pairs=raw_pairs,
        finish_by=finish_by,
        max_hours=max_hours,
        quiet=quiet,
    )


def run_batch(
    inputs: Sequence[str],
    styles: Sequence[Path],
    output: Path,
    options: BatchOptions,
    *,
    name: str | None = None,
    each_style: bool = False,
    raw_pairs: RawPairs = "jpeg",
    finish_by: str | None = None,
    max_hours: float | None = None,
    quiet: bool = True,
    live: int | None = None,
    live_host: str = LOCAL,
) -> Report:
    """Paint all pictures that are not painted yet.

    Parameters
    ----------
    inputs : sequence of str
        Folders, globs, pictures and manifests, see `muralist.pipeline.batch.items.find_items`.
    output : Path
        Folder for paintings, sidecars and `report.jsonl`; created if it does not exist.
    name : str, optional
        Template for names, see `muralist.pipeline.batch.naming`.
    each_style : bool
        Whether to paint every picture once in each style, instead of in all of them blended.
    raw_pairs : {"jpeg", "raw", "both"}
        What to paint of shots that are there twice, as a raw photograph and as JPEG or HEIC.
    finish_by : str, optional
        Time such as 07:00; pictures that would not be finished by then are left.
    max_hours : float, optional
        The same from now on.
    quiet : bool
        Whether to show no progress.
    live : int, optional
        Port for a page that shows the paintings while they grow, 0 for one that is free; its address is told.
    live_host : str
        Address of this machine that the page is served on.

    Raises
    ------
    MuralistError
        If something is wrong with the batch as a whole. What is wrong with one picture is in the report.
    """
    items = find_items(
        inputs, styles, output, preset=options.preset, template=name, each_style=each_style, raw_pairs=raw_pairs
    )
    settings = load_settings(options.preset, options.flags, options.assignments)
    check_command(items, shared_styles(styles, each_style=each_style), settings)
    items = with_own_masks(items, settings)
    manifests = filter(is_manifest, map(Path, inputs))
    check_collisions(items, options.settings_of, output / REPORT, manifests)
    deadline = Deadline.parse(finish_by, max_hours, datetime.now())
    make_folder(output)
    check_report_file(output / REPORT)
    if options.report:
        check_gallery(gallery_path(output / REPORT))
    with (
        Report(output / REPORT) as report,  # first: it says what is wrong with the output folder
        open_run(output / REPORT, settings.scratch) as folder,
        BatchBar(len(items), quiet=quiet) as bar,
        open_live(output.name, live, live_host, len(items)) as board,
    ):
        if left := find_doubles(inputs, output, raw_pairs):
            PROGRESS.warning(told_doubles(left, raw_pairs))
        if unsupported := find_unsupported(inputs, output):
            PROGRESS.warning(told_unsupported(unsupported))
        BatchDriver(items, settings, options, deadline, folder, report, bar, board).run()
        for path in unsupported:
            report.add(Result(str(path), "", "unsupported", "its format is not supported; convert it"))
        if options.report:
            for notice in write_gallery(output / REPORT, pages=True, memory=budget(settings))[1]:
                PROGRESS.warning(notice)
    return report
