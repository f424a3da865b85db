"""The command line: reads arguments, calls the pipeline, prints. Nothing else is decided here.

Exit codes: 0 done, 1 an expected error (one line on standard error), 2 wrong usage, 130 interrupted.
Whatever is slow to import is imported inside the command that needs it.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from muralist.model.errors import ModelError
from muralist.pipeline.errors import PipelineError
from muralist.tiling.errors import TilingError

if TYPE_CHECKING:
    from muralist.pipeline.brief import Brief

EXPECTED = (PipelineError, ModelError, TilingError)
INTERRUPTED = 130

# Settings with a flag of their own, in the order of the help; all others by --set.
FLAGS = {
    "size": "--size",
    "width": "--width",
    "height": "--height",
    "aspect": "--aspect",
    "print_size": "--print",
    "dpi": "--dpi",
    "fit": "--fit",
    "network": "--network",
    "weights": "--weights",
    "style_scale": "--style-scale",
    "style_blend": "--style-blend",
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
    "device": "--device",
    "precision": "--precision",
    "workers": "--workers",
    "threads": "--threads",
    "scheduler": "--scheduler",
    "scratch": "--scratch",
    "save_every": "--save-every",
    "seed": "--seed",
}


class Door(click.Group):
    """Turns expected errors into one line; a bug keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except EXPECTED as error:
            raise click.ClickException(" ".join(str(error).split())) from error
        except KeyboardInterrupt:
            click.echo("muralist: interrupted; the painting was not written", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None


def settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags of `FLAGS`; names, help and defaults are those of the settings model."""
    from muralist.pipeline.settings import Settings, explained, spelled

    for name, flag in reversed(FLAGS.items()):
        default = spelled(Settings.model_fields[name].default)
        text = f"{explained(name)}  [default: {default}]" if default else explained(name)
        kind: Any = bool if "/" in flag else str
        command = click.option(flag, name, type=kind, default=None, help=text)(command)
    return command


def picture_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command what `render` and `plan` take."""
    path = click.Path(path_type=Path)
    for option in (
        click.option("--overwrite", is_flag=True, help="Replace an existing output."),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output."),
        click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Any other setting; repeatable."),
    ):
        command = option(command)
    command = settings_options(command)
    for option in (
        click.option("-p", "--preset", default="default", help="Name or file of a preset.  [default: default]"),
        click.option("-o", "--output", type=path, required=True, help="Painting; .jpg .png .webp .tif by extension."),
        click.option(
            "-s",
            "--style",
            type=path,
            multiple=True,
            help="The painting whose style to take; repeatable. A folder of pictures counts as one.",
        ),
        click.argument("content", type=path),
    ):
        command = option(command)
    return command


@click.group(cls=Door, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="muralist")
def main() -> None:
    """Turn photographs of any size into one seamless painting."""


def _brief(
    content: Path,
    style: tuple[Path, ...],
    output: Path,
    preset: str,
    assignments: tuple[str, ...],
    overwrite: bool,
    loss_plot: Path | None = None,
    **flags: Any,
) -> "Brief":
    from muralist.pipeline.brief import make_brief
    from muralist.pipeline.presets import load_settings

    settings = load_settings(preset, flags, assignments)
    return make_brief(content, style, output, settings, overwrite=overwrite, loss_plot=loss_plot)


def _show_notices(brief: "Brief") -> None:
    for notice in brief.notices:
        click.echo(f"muralist: {notice}", err=True)


@main.command()
@picture_options
@click.option("--quiet", is_flag=True, help="No progress bars and no last line.")
@click.option("--loss-lines", is_flag=True, help="Print the losses after every round on standard error.")
@click.option("--loss-plot", type=click.Path(path_type=Path), help="Plot the losses into a .png, .svg or .pdf file.")
def render(as_json: bool, quiet: bool, loss_lines: bool, **options: Any) -> None:
    """Paint the photograph CONTENT in the style of a painting."""
    from muralist.pipeline.render import carry_out

    brief = _brief(**options)
    if not quiet:
        _show_notices(brief)
    sidecar = carry_out(brief, quiet=quiet, loss_lines=loss_lines)
    if as_json:
        click.echo(json.dumps(sidecar, indent=2))
    elif not quiet:
        size = f"{sidecar['width']} x {sidecar['height']} px"
        click.echo(f"{sidecar['output']}: {size}, {sidecar['seconds']:.0f} s, seam score {sidecar['seam_score']:.2f}")


@main.command()
@picture_options
def plan(as_json: bool, **options: Any) -> None:
    """Tell what `render` with the same options would do and take, without doing it."""
    from muralist.pipeline.estimate import estimate, table

    brief = _brief(**options)
    _show_notices(brief)
    found = estimate(brief)
    click.echo(json.dumps(found, indent=2) if as_json else table(found))


@main.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON: with a name, all settings it results in.")
def presets(name: str | None, as_json: bool) -> None:
    """List the presets, or show the one called NAME."""
    from muralist.pipeline.presets import load_settings, preset_names, preset_text

    if name is None:
        firsts = {each: preset_text(each).partition("\n")[0].lstrip("# ") for each in preset_names()}
        click.echo(json.dumps(list(firsts), indent=2) if as_json else "\n".join(firsts.values()))
    elif as_json:
        click.echo(load_settings(name).model_dump_json(indent=2))
    else:
        load_settings(name)  # a preset that does not work is refused, not shown
        click.echo(preset_text(name).rstrip())


@main.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_context
def networks(ctx: click.Context, as_json: bool) -> None:
    """List the networks, where their weights are looked for, and how to get those that are missing."""
    from muralist.model.weight_files import installed

    if ctx.invoked_subcommand is None:
        rows = installed()
        click.echo(json.dumps(rows, indent=2) if as_json else "\n\n".join(_network_text(row) for row in rows))


@networks.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--network", help="Network it holds, if its tensors alone do not tell.")
@click.option("--overwrite", is_flag=True, help="Replace an existing target.")
def convert(source: Path, target: Path, network: str | None, overwrite: bool) -> None:
    """Write the convolutions of the weight file SOURCE as a safetensors file, which is small and quick to load."""
    from muralist.model.conversion import convert

    facts = convert(source, target, network, overwrite=overwrite)
    click.echo(f"{target}: {facts['network']}, from {facts['source']} ({facts['format']}), licence {facts['licence']}")


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
        f"file      {file['place']}: {'there' if file['there'] else 'not there'}",
        f"format    {file['format']}",
        f"licence   {file['licence']}",
        *(() if file["there"] else (get,)),
    )
    return "\n    ".join(facts)
