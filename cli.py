"""The command line: reads arguments, calls the pipeline, prints. Nothing else is decided here.

Exit codes: 0 done, 1 an expected error (one line on standard error), 2 wrong usage, 130 interrupted, 143 terminated.
Whatever is slow to import is imported inside the command that needs it.
"""

import errno
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TextIO, cast

import click

from muralist.errors import MuralistError

from .model.errors import printable
from .pipeline.streams import Forgiving

INTERRUPTED, TERMINATED = 130, 143
GO_ON = ("render", "batch")
RENDER_OPTIONS = ("overwrite", "restart", "report", "live", "live_host", "loss_lines", "loss_plot")

# Settings with a flag of their own, in the order of the help; all others by --set.
FLAGS = {
    "size": "--size",
    "width": "--width",
    "height": "--height",
    "aspect": "--aspect",
    "print_size": "--print",
    "dpi": "--dpi",
    "fit": "--fit",
    "bleed": "--bleed",
    "crop_marks": "--crop-marks/--no-crop-marks",
    "wrap": "--wrap",
    "wrap_edge": "--wrap-edge",
    "raw_exposure": "--raw-exposure",
    "strength": "--strength",
    "network": "--network",
    "weights": "--weights",
    "style_scale": "--style-scale",
    "style_width": "--style-width",
    "stroke": "--stroke",
    "style_blend": "--style-blend",
    "style_mask": "--style-mask",
    "regions": "--region",
    "region_fit": "--region-fit/--no-region-fit",
    "strength_map": "--strength-map",
    "protect": "--protect",
    "colours": "--colours",
    "init": "--init",
    "noise_ratio": "--noise-ratio",
    "optimizer": "--optimizer",
    "consensus": "--consensus/--no-consensus",
    "steps_per_round": "--steps-per-round",
    "tile": "--tile",
    "overlap": "--overlap",
    "bit_depth": "--bit-depth",
    "quality": "--quality",
    "max_file": "--max-file",
    "profile": "--profile",
    "intent": "--intent",
    "proof": "--proof/--no-proof",
    "pdf_image": "--pdf-image",
    "metadata": "--metadata",
    "gps": "--gps/--no-gps",
    "keep_times": "--keep-times/--no-keep-times",
    "device": "--device",
    "precision": "--precision",
    "fast": "--fast/--no-fast",
    "workers": "--workers",
    "threads": "--threads",
    "scheduler": "--scheduler",
    "tls_ca": "--tls-ca",
    "tls_cert": "--tls-cert",
    "tls_key": "--tls-key",
    "scratch": "--scratch",
    "memory": "--memory",
    "save_every": "--save-every",
    "seed": "--seed",
}


REPEATABLE = ("style_width", "stroke", "style_mask", "regions")


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command in the same way as Ctrl-C."""


def _keep_streams() -> None:
    """Make standard error forgiving, and see that no file gets the number of a standard stream that is closed."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    sys.stderr = cast(TextIO, Forgiving(sys.stderr or os.fdopen(2, "w", closefd=False)))


def _print(text: str) -> None:
    """Write a result to standard output, line by line; names in it were made printable when a line was put together."""
    try:
        click.echo("\n".join(map(printable, text.split("\n"))))
    except OSError as error:
        sys.stdout = cast(TextIO, Forgiving(sys.stdout))  # or Python would complain of the same once more
        if error.errno == errno.EPIPE:  # the reader has enough, and all is done
            return
        raise click.ClickException(
            f"standard output: the result cannot be written there ({error.strerror}); all else is done"
        ) from error


def _terminate(*_: object) -> None:
    raise Terminated


@contextmanager
def _future_told() -> Iterator[None]:
    """Tell of words that are to change as of everything else, in a line, once."""
    with warnings.catch_warnings():
        warnings.simplefilter("once", FutureWarning)
        warnings.showwarning = lambda message, *_: _tell(str(message))
        yield


class Door(click.Group):
    """Turns expected errors into one line; a bug keeps its traceback."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run a command as a program. What cannot be written to standard error stops nothing."""
        if sys.stderr is sys.__stderr__:  # and not what somebody put in its place who calls this from Python
            _keep_streams()
        return super().main(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        before = signal.signal(signal.SIGTERM, _terminate)
        try:
            with _future_told():
                return super().invoke(ctx)
        except MuralistError as error:
            raise click.ClickException(printable(" ".join(str(error).split()))) from error
        except click.ClickException as error:  # of arguments, which may be names of files
            error.message = printable(error.message)  # type: ignore[misc]
            raise
        except KeyboardInterrupt as stop:
            more = "; the same command goes on where this was" if ctx.invoked_subcommand in GO_ON else ""
            click.echo(f"muralist: interrupted{more}", err=True)
            raise click.exceptions.Exit(TERMINATED if isinstance(stop, Terminated) else INTERRUPTED) from None
        finally:
            signal.signal(signal.SIGTERM, before)


def settings_options(command: Callable[..., None], names: Sequence[str] = tuple(FLAGS)) -> Callable[..., None]:
    """Give a command flags of `FLAGS`; names, help and defaults are those of the settings model."""
    from .pipeline.settings import Settings, explained, spelled

    for name in reversed(names):
        flag = FLAGS[name]
        default = spelled(Settings.model_fields[name].default)
        text = f"{explained(name)}  [default: {default}]" if default else explained(name)
        kind: Any = bool if "/" in flag else str
        several: dict[str, Any] = {"multiple": True, "callback": _none_if_empty} if name in REPEATABLE else {}
        command = click.option(flag, name, type=kind, default=None, help=text, **several)(command)
    return command


def _none_if_empty(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> list[str] | None:
    return list(given) or None


def look_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command what says how paintings shall look, and all settings."""
    for option in (
        click.option("--overwrite", is_flag=True, help="Replace what exists."),
        click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Any other setting; repeatable."),
    ):
        command = option(command)
    command = settings_options(command)
    for option in (
        click.option("-p", "--preset", default="default", help="Name or file of a preset.  [default: default]"),
        click.option(
            "-s",
            "--style",
            type=click.Path(path_type=Path),
            multiple=True,
            help="The painting whose style to take; repeatable. A folder of pictures counts as one.",
        ),
    ):
        command = option(command)
    return command


def picture_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command what `render` and `plan` take."""
    path = click.Path(path_type=Path)
    command = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(look_options(command))
    text = "Painting; .jpg .png .webp .tif .avif .pdf by extension."
    command = click.option("-o", "--output", type=path, required=True, help=text)(command)
    return click.argument("content", type=path)(command)


@click.group(cls=Door, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="muralist")
def main() -> None:
    """Turn photographs of any size into one seamless painting."""


def run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command what all that paint take."""
    for option in (
        click.option("--quiet", is_flag=True, help="No progress bars and no last line."),
        click.option(
            "--live-host", default="127.0.0.1", show_default=True, help="Address to serve the page of --live on."
        ),
        click.option(
            "--live",
            type=click.IntRange(0, 65535),
            is_flag=False,
            flag_value=0,
            metavar="[PORT]",
            help="Show the painting in a browser while it grows; the address is printed.",
        ),
        click.option("--report", is_flag=True, help="Write a page to look at every painting with, in a browser."),
        click.option("--keep", is_flag=True, help="Leave the folder with intermediate canvases."),
        click.option("--restart", is_flag=True, help="Begin anew what was interrupted, instead of going on with it."),
    ):
        command = option(command)
    return command


def _tell(notice: str) -> None:
    click.echo(f"muralist: {printable(notice)}", err=True)


@main.command()
@picture_options
@run_options
@click.option("--loss-lines", is_flag=True, help="Print the losses after every round on standard error.")
@click.option("--loss-plot", type=click.Path(path_type=Path), help="Plot the losses into a .png, .svg or .pdf file.")
def render(
    content: Path,
    style: tuple[Path, ...],
    output: Path,
    preset: str,
    assignments: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    keep: bool,
    **options: Any,
) -> None:
    """Paint the photograph CONTENT in the style of a painting.

    The same command goes on with what was interrupted.
    """
    from .pipeline.presets import load_settings
    from .pipeline.render import render

    how = {key: options.pop(key) for key in RENDER_OPTIONS}
    settings = load_settings(preset, options, assignments)
    tell = (lambda notice: None) if quiet else _tell
    sidecar = render(content, style, output, settings, quiet=quiet, keep_folder=keep, tell=tell, **how).sidecar
    if as_json:
        _print(json.dumps(sidecar, indent=2))
    elif not quiet:
        name, size = printable(sidecar["output"]), f"{sidecar['width']} x {sidecar['height']} px"
        score, threshold = sidecar["seam_score"], sidecar["seam_threshold"]
        chance = "too few to tell" if threshold is None else f"up to {threshold:.2f} is chance"
        _print(f"{name}: {size}, {sidecar['seconds']:.0f} s, seam score {score:.2f} ({chance})")


@main.command()
@click.argument("inputs", nargs=-1, required=True)
@look_options
@run_options
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for the paintings.")
@click.option("--name", help="Template for their names, such as '{stem}-{style}.{ext}'.  [default: {stem}.{ext}]")
@click.option("--each-style", is_flag=True, help="Paint every photograph once in each style, instead of blending them.")
@click.option(
    "--raw-pairs",
    type=click.Choice(["jpeg", "raw", "both"]),
    default="jpeg",
    show_default=True,
    help="What to paint of shots that are there twice, as raw and as JPEG or HEIC.",
)
@click.option("--finish-by", metavar="HH:MM", help="Leave photographs that would not be finished by then.")
@click.option("--max-hours", type=float, help="Leave photographs that would not be finished in so many hours.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on standard output.")
def batch(
    inputs: tuple[str, ...],
    style: tuple[Path, ...],
    output: Path,
    preset: str,
    assignments: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Paint many photographs: INPUTS are folders, globs, pictures, and manifests (.csv, .jsonl).

    What is painted already is skipped, so the same command goes on with what was interrupted. A photograph that fails
    stops no other; OUTPUT/report.jsonl tells what became of each.
    """
    from .pipeline.archives.batch import Wishes, paint_archive

    ways = ("name", "each_style", "raw_pairs", "finish_by", "max_hours", "live", "live_host")
    how = {key: options.pop(key) for key in ways}
    own = {key: options.pop(key) for key in ("overwrite", "restart", "keep", "report")}
    wishes = Wishes(preset, options, assignments, **own)
    report = paint_archive(inputs, style, output, wishes, quiet=quiet, **how)
    if as_json:
        _print(json.dumps(report.as_dict(), indent=2))
    elif not quiet:
        _print(report.summary())
    raise click.exceptions.Exit(report.exit_code)


@main.command()
@picture_options
def plan(
    content: Path,
    style: tuple[Path, ...],
    output: Path,
    preset: str,
    assignments: tuple[str, ...],
    overwrite: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Tell what `render` with the same options would do and take, without doing it."""
    from .pipeline.estimate import plan, table
    from .pipeline.presets import load_settings

    found = plan(content, style, output, load_settings(preset, flags, assignments), overwrite=overwrite)
    for notice in found["notices"]:
        _tell(notice)
    _print(json.dumps(found, indent=2) if as_json else table(found))


browser_option = click.option("--browser/--no-browser", default=True, help="Open the page, or only print its address.")


def _browse(page: Path, browser: bool, *, wait: bool) -> None:
    """Print a page's address and open it; where it goes with the command, wait for Ctrl-C."""
    import webbrowser

    address = page.resolve().as_uri()
    _print(address)
    if browser and not webbrowser.open(address):
        _tell("no browser was found; open this address in one")
    if wait:
        with suppress(KeyboardInterrupt):
            _tell("Ctrl-C ends the view")
            signal.pause()


@main.command()
@click.argument("painting", type=click.Path(path_type=Path))
@click.option("--photograph", type=click.Path(path_type=Path), help="What it was painted from, if that was moved.")
@click.option("-o", "--output", "page", type=click.Path(path_type=Path), help="Page.  [default: PAINTING.report.html]")
@click.option("--single-file", is_flag=True, help="Put everything into one file; for small pictures.")
@click.option("--overwrite", is_flag=True, help="Replace what exists.")
def report(painting: Path, **options: Any) -> None:
    """Write a page that shows PAINTING and its photograph under a loupe, and tells how it was made.

    Of the output folder of a batch: a page with all its paintings.
    """
    from .pipeline.viewer.gallery import write_gallery
    from .pipeline.viewer.report import write_report

    if not painting.is_dir():
        page = write_report(painting, **options)
    elif given := [name for name in ("photograph", "page", "single_file") if options[name]]:
        raise click.UsageError(f"{given[0]} is for the page of one picture, but {painting} is a folder")
    else:
        page, notices = write_gallery(painting / "report.jsonl", pages=True)
        for notice in notices:
            _tell(notice)
    _print(str(page))


@main.command()
@click.argument("picture", type=click.Path(path_type=Path))
@click.option("--photograph", type=click.Path(path_type=Path), help="Another picture, to compare it with.")
@browser_option
def view(picture: Path, photograph: Path | None, browser: bool) -> None:
    """Show PICTURE under a loupe in the browser. Unless it has a page of its own, until Ctrl-C."""
    from .pipeline.viewer.report import report_path, viewed

    with viewed(picture, photograph) as page:
        _browse(page, browser, wait=page != report_path(picture))


@main.command()
@click.argument("left", type=click.Path(path_type=Path))
@click.argument("right", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Page to keep; without one it goes with Ctrl-C.")
@click.option("--overwrite", is_flag=True, help="Replace what exists.")
@browser_option
def compare(left: Path, right: Path, output: Path | None, overwrite: bool, browser: bool) -> None:
    """Show two paintings of one shape under one loupe in the browser, and in what their records differ."""
    from .pipeline.viewer.compare import compared, write_comparison

    if output is not None:
        _browse(write_comparison(left, right, output, overwrite=overwrite), browser, wait=False)
        return
    with compared(left, right) as page:
        _browse(page, browser, wait=True)


@main.command()
@click.argument("content", type=click.Path(path_type=Path))
@click.option("-s", "--style", type=click.Path(path_type=Path), multiple=True, required=True, help="As for render.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for the small paintings.")
@browser_option
def looks(content: Path, style: tuple[Path, ...], output: Path, browser: bool) -> None:
    """Paint CONTENT small, in several strengths and presets, and show each with the command to paint it large."""
    from .pipeline.looks import paint_looks

    page, failures = paint_looks(content, style, output)
    for failure in failures:
        _tell(failure)
    _browse(page, browser, wait=False)


@main.command()
@click.argument("poster", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="A .pdf of sheets, or .tif of lanes."
)
@click.option("--sheet", help="Paper of every panel, such as A3 or 60x90cm.")
@click.option("--roll", help="Width of a roll, such as 61cm, for lanes of the whole height.")
@click.option("--overlap", default="10mm", show_default=True, help="What neighbors share, to be glued.")
@click.option("--dpi", type=float, help="Dots per inch, instead of what the poster states.")
@click.option("--quality", type=click.IntRange(1, 100), default=95, show_default=True, help="Of JPEGs in a PDF.")
@click.option("--lossless", is_flag=True, help="Store panels in a PDF without loss.")
@click.option("--overwrite", is_flag=True, help="Replace what exists.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def panels(as_json: bool, **options: Any) -> None:
    """Cut the finished POSTER into panels for many sheets, or for lanes of a roll, to be glued together."""
    from .pipeline.panels import cut_panels
    from .pipeline.progress import counted

    found = cut_panels(**options)
    first, last = found["files"][0], found["files"][-1]
    names = printable(first if first == last else f"{first} to {last}")
    text = (
        f"{names}: {counted(found['panels'], 'panel')}, {counted(found['rows'], 'row')} and "
        f"{counted(found['columns'], 'column')}, for "
        f"{found['width_mm'] / 10:.1f} x {found['height_mm'] / 10:.1f} cm"
    )
    _print(json.dumps(found, indent=2) if as_json else text)


def machine_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command what says where to compute."""
    return settings_options(command, ("device", "workers", "threads"))


several = partial(click.option, multiple=True, show_default=True)


@main.command()
@several("--network", "networks", default=["compact", "vgg19"], help="Network; repeatable.")
@several("--precision", "precisions", default=["auto", "float32"], help="Number format of the network; repeatable.")
@several("--tile", "sides", default=["512", "1024"], help="Side of a tile, in pixels; repeatable.")
@machine_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def bench(as_json: bool, **options: Any) -> None:
    """Measure how fast this machine paints, so that `plan` knows.

    All workers measure at the same time, as they would paint. On a few cores, vgg19 takes a minute at 512 px and
    several at 1024 px in float32; `--network compact` takes seconds. No weight file is needed.
    """
    from .pipeline.bench import bench, table

    found = bench(**options)
    _print(json.dumps(found, indent=2) if as_json else table(found))


@main.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON: with a name, all settings it results in.")
def presets(name: str | None, as_json: bool) -> None:
    """List the presets, or show the one called NAME."""
    from .pipeline.presets import load_settings, preset_names, preset_text

    if name is None:
        firsts = {each: preset_text(each).partition("\n")[0].lstrip("# ") for each in preset_names()}
        _print(json.dumps(list(firsts), indent=2) if as_json else "\n".join(firsts.values()))
    elif as_json:
        _print(load_settings(name).model_dump_json(indent=2))
    else:
        load_settings(name)  # a preset that does not work is refused, not shown
        _print(preset_text(name).rstrip())


@main.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_context
def networks(ctx: click.Context, as_json: bool) -> None:
    """List the networks, where their weights are looked for, and how to get those that are missing."""
    from .model.weight_files import installed

    if ctx.invoked_subcommand is None:
        rows = installed()
        _print(json.dumps(rows, indent=2) if as_json else "\n\n".join(_network_text(row) for row in rows))


@networks.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--network", help="Network it holds, if its tensors alone do not tell.")
@click.option("--overwrite", is_flag=True, help="Replace an existing target.")
def convert(source: Path, target: Path, network: str | None, overwrite: bool) -> None:
    """Write the convolutions of the weight file SOURCE as a safetensors file, which is small and quick to load."""
    from .model.conversion import convert

    facts = convert(source, target, network, overwrite=overwrite)
    shown = {name: printable(str(fact)) for name, fact in {**facts, "target": target}.items()}
    _print("{target}: {network}, from {source} ({format}), licence {licence}".format_map(shown))


def _network_text(row: dict[str, Any]) -> str:
    facts = (
        f"{row['name']}: {'installed' if row['installed'] else 'not installed'}",
        f"source    {row['source']}",
        f"layers    {row['layers'][0]} ... {row['layers'][-1]}",
        f"per step  {row['operations_per_pixel'] / 1e6:.2f} million operations per pixel",
        *(_file_text(file) for file in row["files"]),
    )
    return "\n  ".join(facts)


def _file_text(file: dict[str, Any]) -> str:
    get = f"downloaded when needed, from {file['url']}" if file["url"] else f"get it from {file['page']}"
    facts = (
        f"file      {printable(file['place'])}: {'there' if file['there'] else 'not there'}",
        f"format    {file['format']}",
        f"licence   {file['licence']}",
        *(() if file["there"] else (get,)),
    )
    return "\n    ".join(facts)
