"""The command line: reads arguments, calls the pipeline and prints. It makes no other decisions.

Slow imports are inside the commands that need them.
"""

import json
import os
import signal
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import click

from .model.errors import printable
from .options import (
    Command,
    also_taking,
    look_options,
    option,
    path,
    picture_options,
    render_options,
    run_options,
    settings_options,
)
from .pipeline.console import LOG
from .pipeline.roles import PICTURE
from .program import ErrorHandlingGroup, print_result


@click.group(cls=ErrorHandlingGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="muralist")
def main() -> None:
    """Turn photographs into paintings of any size, without seams."""


@main.command(cls=Command)
@picture_options(output_required=True)
@render_options
def render(
    preset: str, flags: dict[str, Any], assignments: tuple[str, ...], as_json: bool, quiet: bool, **how: Any
) -> None:
    """Paint the photograph CONTENT in the style of a painting.

    If it is interrupted, rerun the same command to resume.
    """
    from .pipeline.presets import load_settings
    from .pipeline.render import render
    from .pipeline.words import spent

    sidecar = render(settings=load_settings(preset, flags, assignments), quiet=quiet, **how).sidecar
    if as_json:
        print_result(json.dumps(sidecar, indent=2))
    elif not quiet:
        name, size = printable(sidecar["output"]), f"{sidecar['width']} x {sidecar['height']} px"
        score, threshold = sidecar["seam_score"], sidecar["seam_threshold"]
        chance = "too few to tell" if threshold is None else f"up to {threshold:.2f} is chance"
        seams = f", seam score {score:.2f} ({chance})" if any(sidecar["tile_borders"].values()) else ""
        print_result(f"{name}: {size}, {spent(sidecar['seconds'])}{seams}")


@main.command(cls=Command, short_help="Paint many photographs with one command.")
@click.argument("inputs", nargs=-1, required=True, type=click.Path())
@option("-o", "--output", type=path, required=True, group=PICTURE, help="Folder to write the paintings to.")
@option("--name", group=PICTURE, help="Names, such as '{stem}-{style}.{ext}'.")
@option(
    "--each-style",
    is_flag=True,
    group=PICTURE,
    help="Paint every photograph once per style. By default styles are blended.",
)
@option(
    "--raw-pairs",
    type=click.Choice(["jpeg", "raw", "both"]),
    default="jpeg",
    show_default=True,
    group=PICTURE,
    common=False,
    help="Which file to paint where a shot exists twice, as raw and as JPEG or HEIC.",
)
@look_options
@run_options
@option("--finish-by", metavar="HH:MM", help="Skip pictures that cannot be finished by then.")
@option(
    "--max-hours",
    type=float,
    common=False,
    help="Skip pictures that cannot be finished within this time.",
)
@option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def batch(
    inputs: tuple[str, ...],
    style: tuple[Path, ...],
    output: Path,
    preset: str,
    flags: dict[str, Any],
    assignments: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    overwrite: bool,
    restart: bool,
    keep_run: bool,
    report: bool,
    **how: Any,
) -> None:
    """Paint many photographs: files, folders, globs, .csv or .jsonl manifests.

    Rerun the same command to resume: finished paintings are skipped. A failure does not stop the rest; see
    OUTPUT/report.jsonl.
    """
    from .pipeline.batch.driver import BatchOptions
    from .pipeline.batch.run import run_batch

    options = BatchOptions(
        preset, flags, assignments, overwrite=overwrite, restart=restart, keep_run=keep_run, report=report
    )
    found = run_batch(inputs, style, output, options, quiet=quiet, **how)
    if as_json:
        print_result(json.dumps(found.as_dict(), indent=2))
    elif not quiet:
        print_result(found.summary())
    raise click.exceptions.Exit(found.exit_code)


@also_taking(render_options, wanted=("report", "loss_plot"))
@main.command(cls=Command)
@picture_options(output_required=False)
def plan(preset: str, flags: dict[str, Any], assignments: tuple[str, ...], as_json: bool, **how: Any) -> None:
    """Estimate the time, memory and disk space of a render.

    Takes the same options as `render`, so that `plan` can take its place in a command; nothing is painted.
    """
    from .pipeline.estimate import plan, table
    from .pipeline.presets import load_settings

    found = plan(settings=load_settings(preset, flags, assignments), **how)
    for notice in found["notices"]:
        LOG.warning(notice)
    print_result(json.dumps(found, indent=2) if as_json else table(found))


browser_option = click.option("--browser/--no-browser", default=True, help="Open the page, or only print its address.")


def _browse(page: Path, browser: bool, *, wait: bool) -> None:
    """Print a page's address and open it; wait for Ctrl-C if the page exists only as long as the command runs."""
    import webbrowser

    address = page.resolve().as_uri()
    print_result(address)
    if browser and not webbrowser.open(address):
        LOG.warning("no browser was found; open this address yourself")
    if wait:
        with suppress(KeyboardInterrupt):
            LOG.info("press Ctrl-C to stop")
            signal.pause()


@main.command()
@click.argument("painting", type=path)
@click.option("--photograph", type=path, help="The photograph, if it was moved.")
@click.option("-o", "--output", "page", type=path, help="Page to write.  [default: PAINTING.report.html]")
@click.option(
    "--single-file", is_flag=True, help="Write a single file instead of a page and a folder; for small pictures."
)
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
def report(painting: Path, **options: Any) -> None:
    """Write a page that shows PAINTING beside its photograph.

    The page zooms to single pixels and shows how the painting was made. If PAINTING is the output folder of a batch,
    the page shows all its paintings.
    """
    from .pipeline.viewer.gallery import write_gallery
    from .pipeline.viewer.report import without_record, write_report

    if not os.path.isdir(painting):
        page = write_report(painting, **options)
        notices = list(filter(None, [without_record(painting)]))
    elif given := [name for name in ("photograph", "page", "single_file") if options[name]]:
        raise click.UsageError(f"{given[0]} applies to a single painting, but {painting} is a folder")
    else:
        page, notices = write_gallery(painting / "report.jsonl", pages=True)
    for notice in notices:
        LOG.warning(notice)
    print_result(str(page))


@main.command()
@click.argument("picture", type=path)
@click.option("--photograph", type=path, help="Picture to compare it with.")
@browser_option
def view(picture: Path, photograph: Path | None, browser: bool) -> None:
    """Show PICTURE in the browser, down to single pixels.

    Opens its report if there is one. Otherwise a temporary page is shown until Ctrl-C.
    """
    from .pipeline.output_names import report_path
    from .pipeline.viewer.report import viewed

    with viewed(picture, photograph) as page:
        _browse(page, browser, wait=page != report_path(picture))


@main.command()
@click.argument("left", type=path)
@click.argument("right", type=path)
@click.option("-o", "--output", type=path, help="Page to write. Without it, the page is temporary.")
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@browser_option
def compare(left: Path, right: Path, output: Path | None, overwrite: bool, browser: bool) -> None:
    """Compare two paintings in the browser.

    Shows their pixels and how they were made. Both must have the same aspect ratio.
    """
    from .pipeline.viewer.compare import compared, write_comparison

    if output is not None:
        _browse(write_comparison(left, right, output, overwrite=overwrite), browser, wait=False)
        return
    with compared(left, right) as page:
        _browse(page, browser, wait=True)


@main.command()
@click.argument("content", type=path)
@click.option(
    "-s", "--style", type=path, multiple=True, required=True, help="Painting to take the style from; repeatable."
)
@click.option("-o", "--output", type=path, required=True, help="Folder for the small paintings.")
@settings_options("device", "workers")
@browser_option
def looks(content: Path, style: tuple[Path, ...], output: Path, flags: dict[str, Any], browser: bool) -> None:
    """Paint small samples of CONTENT to choose a look from.

    They differ in strength, color and preset; each is shown with the command that paints it large.
    """
    from .pipeline.looks import paint_looks

    page, failures = paint_looks(content, style, output, **flags)
    for failure in failures:
        LOG.warning(failure)
    _browse(page, browser, wait=False)
    if failures:
        raise click.exceptions.Exit(1)


@main.command()
@click.argument("poster", type=path)
@click.option("-o", "--output", type=path, required=True, help="A .pdf of sheets, or .tif of lanes.")
@click.option("--sheet", help="Cut into sheets of this paper, such as A3 or 60x90cm.")
@click.option("--roll", help="Cut into lanes as wide as this roll, such as 61cm, and as high as the poster.")
@click.option("--overlap", default="10mm", show_default=True, help="Overlap of neighboring panels, for gluing.")
@click.option("--dpi", type=float, help="Dots per inch, instead of the resolution stored in the poster.")
@click.option(
    "--quality", type=click.IntRange(1, 100), default=95, show_default=True, help="Quality of JPEGs in a PDF."
)
@click.option("--lossless", is_flag=True, help="Store panels in a PDF without loss.")
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def panels(as_json: bool, **options: Any) -> None:
    """Cut a finished POSTER into panels to be glued together.

    Panels are sheets of paper in one PDF, or lanes of a roll as TIFFs.
    """
    from .pipeline.panels import cut_panels
    from .pipeline.words import counted

    found = cut_panels(**options)
    first, last = found["files"][0], found["files"][-1]
    names = printable(first if first == last else f"{first} to {last}")
    text = (
        f"{names}: {counted(found['panels'], 'panel')}, {counted(found['rows'], 'row')} and "
        f"{counted(found['columns'], 'column')}, for "
        f"{found['width_mm'] / 10:.1f} x {found['height_mm'] / 10:.1f} cm"
    )
    print_result(json.dumps(found, indent=2) if as_json else text)


several = partial(click.option, multiple=True, show_default=True)


@main.command()
@several("--network", "networks", default=["compact", "vgg19"], help="Network; repeatable.")
@several("--precision", "precisions", default=["auto", "float32"], help="Number format of the network; repeatable.")
@several("--tile", "sides", default=["512", "1024"], help="Side of a tile, in pixels; repeatable.")
@settings_options("device", "workers", "threads")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def bench(as_json: bool, flags: dict[str, Any], **options: Any) -> None:
    """Measure how fast this machine paints, for `plan`.

    All workers run at the same time, as in a render. On a few cores, vgg19 in float32 takes a minute at 512 px and
    several minutes at 1024 px; `--network compact` takes seconds. No weight file is needed.
    """
    from .pipeline.bench import bench, table

    found = bench(**flags, **options)
    print_result(json.dumps(found, indent=2) if as_json else table(found))


@main.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON; with NAME, all settings that result from it.")
def presets(name: str | None, as_json: bool) -> None:
    """List the presets, or show the preset NAME."""
    from .pipeline.presets import load_settings, preset_names, preset_text

    if name is None:
        firsts = {each: preset_text(each).partition("\n")[0].lstrip("# ") for each in preset_names()}
        print_result(json.dumps(list(firsts), indent=2) if as_json else "\n".join(firsts.values()))
    elif as_json:
        print_result(load_settings(name).model_dump_json(indent=2))
    else:
        load_settings(name)  # refuses a preset that does not work
        print_result(preset_text(name).rstrip())


@main.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_context
def networks(ctx: click.Context, as_json: bool) -> None:
    """List the networks and their weight files.

    Shows where weight files are searched for, and how to get those that are missing.
    """
    from .model.weight_files import installed

    if ctx.invoked_subcommand is None:
        rows = installed()
        print_result(json.dumps(rows, indent=2) if as_json else "\n\n".join(_network_text(row) for row in rows))


@networks.command()
@click.argument("source", type=path)
@click.argument("target", type=path)
@click.option("--network", help="Network it holds, if its tensors do not identify one.")
@click.option("--overwrite", is_flag=True, help="Replace an existing target.")
def convert(source: Path, target: Path, network: str | None, overwrite: bool) -> None:
    """Convert the weight file SOURCE to safetensors.

    Only the convolutions are kept, so TARGET is small and loads quickly.
    """
    from .model.conversion import convert

    facts = convert(source, target, network, overwrite=overwrite)
    shown = {name: printable(str(fact)) for name, fact in {**facts, "target": target}.items()}
    print_result("{target}: {network}, from {source} ({format}), license {license}".format_map(shown))


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
        f"license   {file['license']}",
        *(() if file["there"] else (get,)),
    )
    return "\n    ".join(facts)
