"""Options of the command line: generated from the roles of the settings, and shown by `--help` in groups."""

import re
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial, update_wrapper
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

import click
from click.shell_completion import CompletionItem

from .pipeline.console import ELSEWHERE, LOG, LogFile
from .pipeline.roles import LOOK, PICTURE, RUN, Group
from .pipeline.setting_types import Certificate, FileName, MaxFile, Memory, Profile, Start, spelled
from .pipeline.settings import Settings

T = TypeVar("T", bound=Callable[..., Any])

HELP_ALL: Final = "show_all"
COLUMN: Final = 24  # longest option, in characters, whose help text begins on the same line
DEVICES: Final = ("auto", "cpu", "cuda", "mps")


class Option(click.Option):
    """An option that knows its place in the help.

    Parameters
    ----------
    group : str
        Heading that the option is listed under.
    common : bool
        Whether `--help` shows it, or only `--help-all`.
    """

    def __init__(self, *args: Any, group: Group = RUN, common: bool = True, **options: Any) -> None:
        super().__init__(*args, **options)
        self.group, self.common = group, common


class Command(click.Command):
    """A command whose help groups its options: `--help` shows the common ones on one screen, `--help-all` all."""

    allow_extra_args = True  # `parse_args` refuses extra arguments with a better message

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        text = "Show all options and exit."
        self.params.append(
            Option(["--help-all", HELP_ALL], is_flag=True, is_eager=True, expose_value=False, callback=_show, help=text)
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments. Raises `click.UsageError`."""
        try:
            more = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name.lstrip("-").replace("-", "_")
            if name in Settings.model_fields and name not in Settings.flags():
                ctx.fail(f"got {error.option_name}, a setting that has no flag; write --set {name}=...")
            raise
        if more and not ctx.resilient_parsing:
            ctx.fail(
                f"got {' '.join(more)} beside the photograph, wanted one photograph: `muralist batch` paints several, "
                "and a painting to take the style from follows -s"
            )
        return more

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of every group below its heading."""
        everything = HELP_ALL in ctx.meta
        options = [each for each in self.get_params(ctx) if isinstance(each, click.Option)]
        shown = [each for each in options if everything or getattr(each, "common", True)]
        rows = [(getattr(each, "group", RUN), each.get_help_record(ctx)) for each in shown]
        width = max(len(row[0]) for _, row in rows if row and len(row[0]) <= COLUMN)
        for group in get_args(Group):
            said = [(row[0].ljust(width), row[1]) for each, row in rows if row and each == group]
            if said:
                with formatter.section(group.capitalize()):
                    said = said if everything else [(flag, _first_sentence(text)) for flag, text in said]
                    formatter.write_dl(said, col_max=width)


def _show(ctx: click.Context, option: click.Parameter, given: bool) -> None:
    if given and not ctx.resilient_parsing:
        ctx.meta[HELP_ALL] = True
        click.echo(ctx.get_help(), color=ctx.color)
        ctx.exit()


def _first_sentence(text: str) -> str:
    """Shorten a help text to its first sentence and the default.

    >>> _first_sentence("What to do. Or not: never.  [default: it]")
    'What to do.  [default: it]'
    """
    sentence, default = re.fullmatch(r"(.*?)(  \[.*\])?", text, re.DOTALL).groups()  # type: ignore[union-attr]
    return re.split(r"(?<=\.) ", sentence)[0] + (default or "")


class Words(click.Choice[str]):
    """Choices that are shown and completed, but not checked: `Settings` reports wrong ones with all other errors."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Take any text."""
        return value


def options(*each: Callable[[T], T]) -> Callable[[T], T]:
    """Combine several decorators into one; their options keep this order in the help."""

    def decorate(command: T) -> T:
        for option in reversed(each):
            command = option(command)
        return command

    return decorate


option = partial(click.option, cls=Option)


def also_taking(
    decorate: Callable[[click.Command], object], wanted: Collection[str]
) -> Callable[[click.Command], click.Command]:
    """Let a command accept another one's options, too: hidden, and ignored except for those in `wanted`."""

    def with_more(command: click.Command) -> click.Command:
        own = len(command.params)
        decorate(command)
        for each in command.params[own:]:
            each.expose_value = each.name in wanted
            each.hidden = True  # type: ignore[attr-defined]
        return command

    return with_more


def settings_options(*names: str, model: type[Settings] = Settings) -> Callable[[Callable[..., Any]], Any]:
    """Add the flags of some settings, or of all, to a command, which gets their values as the mapping `flags`."""
    chosen = {name: flag for name, flag in model.flags().items() if name in (names or model.flags())}
    hints = get_type_hints(model, include_extras=True)
    old = {was: f"--{was.replace('_', '-')}" for was, name in model.old_names().items() if name in chosen}
    old = {was: flag for was, flag in old.items() if flag not in chosen.values()}

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        def gathered(**given: Any) -> Any:
            return command(flags={name: given.pop(name) for name in (*chosen, *old)}, **given)

        hidden = [option(flag, was, default=None, hidden=True) for was, flag in old.items()]
        return options(*hidden, *(_setting_option(model, name, flag, hints[name]) for name, flag in chosen.items()))(
            update_wrapper(gathered, command)
        )

    return decorate


def _setting_option(model: type[Settings], name: str, flag: str, hint: Any) -> Callable[[T], T]:
    role, field = model.role(name), model.model_fields[name]
    default = spelled(field.default)
    text = f"{field.description}  [default: {default}]" if default else field.description
    how = _kind(name, hint)
    if role.repeatable or isinstance(how.get("type"), click.Path):
        how |= {"multiple": True, "callback": _none_if_empty if role.repeatable else _only_one}
    return option(flag, name, default=None, group=role.group, common=role.common, help=text, **how)


def _only_one(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> str | None:
    """Refuse a second file; otherwise it would silently replace the first."""
    if len(given) > 1:
        raise click.BadParameter(f"got {' and '.join(map(repr, given))}, wanted one file", context, option)
    return given[0] if given else None


def _none_if_empty(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> list[str] | None:
    return list(given) or None


def _kind(name: str, hint: Any) -> dict[str, Any]:
    """How click shows and completes values of a type. Values are checked by `Settings`."""
    parts = list(_parts(hint))
    words = [str(word) for part in parts if get_origin(part) is Literal for word in get_args(part)]
    if bool in parts:
        return {"type": bool}
    if words:
        return {"type": Words(words)}
    if name == "device":
        return {"type": Words(DEVICES)}  # cuda:N is accepted, too
    if name == "network":
        return {"shell_complete": completed(_network_names)}
    if name == "regions":
        return {"metavar": "MASK=STYLE", "shell_complete": _files}
    if {FileName, Certificate, Profile, Start} & set(parts):
        return {"type": click.Path()}
    if {Memory, MaxFile} & set(parts):
        return {"metavar": "BYTES"}
    number = "INTEGER" if int in parts else "NUMBER" if float in parts else "TEXT"
    return {"metavar": f"{number},..." if tuple in parts and number != "TEXT" else number}


def _parts(hint: Any) -> Iterator[Any]:
    """Yield a type and all types nested in it."""
    yield hint
    if get_origin(hint) is tuple:
        yield tuple
    if get_origin(hint) is not Literal:
        for part in get_args(hint):
            yield from _parts(part)


def completed(names: Callable[[], Iterable[str]]) -> Callable[..., list[CompletionItem]]:
    """Make a function that completes names in the shell; other texts are accepted as well."""

    def complete(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in names() if name.startswith(begun)]

    return complete


def _files(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    return [CompletionItem(begun, type="file")]


def _setting_names() -> Iterable[str]:
    return (f"{name}=" for name in Settings.model_fields)


def _network_names() -> Iterable[str]:
    from .model.architecture import ARCHITECTURES

    return ARCHITECTURES


def preset_names() -> Iterable[str]:
    """Give the names of the presets."""
    from .pipeline.presets import preset_names

    return preset_names()


# --- options of several commands ------------------------------------------------------------------


class FilePath(click.Path):
    """A path that is not empty: "" (such as an unset shell variable) would mean the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse an empty text."""
        if not value:
            self.fail("got '', wanted a path", param, ctx)
        return super().convert(value, param, ctx)


class Port(click.types.IntParamType):
    """The port of `--live`. Click takes the argument that follows `--live` for a port, so the error says what to do."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read a whole number."""
        text = str(value)
        if not re.fullmatch("[0-9]{1,5}", text) or int(text) > 65535:
            self.fail(f"got {text!r}, wanted a port up to 65535; for any port, write --live last, or --live=0")
        return int(text)


path = FilePath(path_type=Path)


def _set_loudness(ctx: click.Context, option: click.Parameter, given: bool) -> bool:
    console = ctx.find_root().obj
    setattr(console, str(option.name), given)
    if console.quiet and console.verbose:
        raise click.UsageError("--quiet and --verbose exclude each other", ctx)
    return given


def _add_log_file(ctx: click.Context, option: click.Parameter, file: Path | None) -> None:
    if file is not None:
        LOG.addHandler(LogFile(file))
        LOG.debug("muralist %s, %s", version("muralist"), ctx.info_name, extra=ELSEWHERE)


def _warn_of_old_name(ctx: click.Context, option: click.Parameter, given: bool) -> None:
    if given:
        ctx.meta["keep"] = True
        warnings.warn("--keep is called --keep-run now; write --keep-run", FutureWarning, stacklevel=1)


look_options = options(
    option(
        *("-s", "--style"),
        type=path,
        multiple=True,
        group=PICTURE,
        help="Painting to take the style from; repeatable. A folder of pictures counts as one.",
    ),
    option(
        *("-p", "--preset"),
        default="default",
        group=LOOK,
        metavar="NAME",
        shell_complete=completed(preset_names),
        help="Name of a preset, or a preset file.",
    ),
    settings_options(),
    option(
        *("--set", "assignments"),
        multiple=True,
        metavar="KEY=VALUE",
        group=LOOK,
        shell_complete=completed(_setting_names),
        help="Any other setting; repeatable.",
    ),
    option("--overwrite", is_flag=True, help="Replace existing files."),
)


def picture_options(*, output_required: bool) -> Callable[[T], T]:
    """Add the photograph, the output and the options about the look to a command."""
    return options(
        click.argument("photo", metavar="CONTENT", type=path),
        option(
            *("-o", "--output"),
            type=path,
            required=output_required,
            group=PICTURE,
            help="Painting to write. Format by extension: .jpg .png .webp .tif .avif .pdf.",
        ),
        look_options,
        option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
    )


run_options = options(
    option("--restart", is_flag=True, help="Discard an interrupted run and start over."),
    option(
        "--keep-run",
        is_flag=True,
        common=False,
        callback=lambda ctx, option, given: given or "keep" in ctx.meta,
        help="Keep the folder with intermediate canvases.",
    ),
    option("--keep", is_flag=True, is_eager=True, expose_value=False, hidden=True, callback=_warn_of_old_name),
    option("--report", is_flag=True, help="Also write a page to view in the browser."),
    option(
        "--live",
        type=Port(),
        is_flag=False,
        flag_value=0,
        metavar="[PORT]",
        help="Show progress in a browser. The address is printed.",
    ),
    option(
        "--live-host",
        default="127.0.0.1",
        show_default=True,
        common=False,
        help="Address to serve the page of --live on.",
    ),
    option("--quiet", is_flag=True, callback=_set_loudness, help="No progress bars and no summary."),
    option("--verbose", is_flag=True, common=False, expose_value=False, callback=_set_loudness, help="Show details."),
    option(
        "--log-file",
        type=path,
        expose_value=False,
        callback=_add_log_file,
        help="Append messages, with details, to a file.",
    ),
)
render_options = options(
    run_options,
    option("--loss-lines", is_flag=True, common=False, help="Print the losses after every round on standard error."),
    option("--loss-plot", type=path, common=False, help="Plot the losses into a .png, .svg or .pdf file."),
)
