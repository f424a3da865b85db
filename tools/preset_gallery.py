"""Paint the example photograph with every preset and bring docs/presets.md up to date.

usage: python tools/preset_gallery.py docs [PRESET ...]

Without names, paints what has no picture yet in docs/presets; named presets are painted anew. All are painted with the
network that comes with muralist; a preset that needs another one has no picture. The tables are made of the presets
themselves.
"""

import re
import sys
import tempfile
from pathlib import Path

from muralist.pipeline.presets import load_settings, preset_names
from muralist.pipeline.render import render
from muralist.pipeline.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
SIZE = 480
COLUMNS = 3
COMPACT = {"network": "compact"}
PUBLISHED_ELSEWHERE = ("gcucurull-alexnet",)  # layers that compact does not have
PRINTS = ("canvas", "fine-art", "mural")  # which paint as poster does
BOUND = ("pooling", "padding", "content_weight", "style_weight", "tv_weight")


def pictured() -> list[str]:
    """Presets that the bundled network can paint with, and that paint otherwise than others."""
    return [name for name in preset_names() if name not in (*PUBLISHED_ELSEWHERE, *PRINTS)]


def paint(preset: str, photograph: Path, target: Path) -> None:
    """Paint the example with a preset."""
    style = ROOT / "examples" / "painting.jpg"
    settings = load_settings(preset, {"size": SIZE, "quality": 88, **COMPACT})
    render(photograph, style, target, settings, overwrite=True)
    target.with_name(target.name + ".json").unlink()


def gallery() -> str:
    """Lay the pictures out in rows."""
    cells = [f"![{name}](presets/{name}.jpg)<br>`{name}`" for name in pictured()]
    rows = [cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)]
    lines = [f"| {' | '.join(row + [''] * (COLUMNS - len(row)))} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * COLUMNS, *lines[1:]]) + "\n"


def settings_table() -> str:
    """Lay the presets' settings out side by side."""
    head = ("preset", "network", "content", "style", "TV", "start", "optimizer", "steps", "with `compact`")
    lines = [head, ("---",) * len(head), *(_row(name) for name in preset_names())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _row(name: str) -> tuple[str, ...]:
    used = load_settings(name)
    return (
        f"`{name}`",
        f"{used.network}{f', `{used.weights}`' if used.weights else ''}, {used.pooling} pooling",
        _content(used),
        _term(used.style_weight, used.style_loss, used.style_layers),
        f"{used.tv_weight:g} {used.tv_loss}" if used.tv_weight else "",
        _start(used),
        _optimizer(used),
        _steps(used),
        _with_compact(name, used),
    )


def _content(used: Settings) -> str:
    if used.content_weight is None:
        return f"strength {used.strength:g}, {_term(1, used.content_loss, used.content_layers).partition(' ')[2]}"
    return _term(used.content_weight, used.content_loss, used.content_layers)


def _term(weight: float, formula: str, layers: dict[str, float]) -> str:
    if not weight:
        return ""
    even = len(set(layers.values())) == 1
    return f"{weight:g} {formula}: {', '.join(n if even else f'{n} {w:g}' for n, w in layers.items())}"


def _start(used: Settings) -> str:
    if not used.noise_ratio:
        return used.init
    rest = "" if used.noise_ratio == 1 else f", {1 - used.noise_ratio:g} {used.init}"
    return f"{used.noise_ratio:g} {used.noise} noise of {used.noise_amplitude:g}{rest}"


def _optimizer(used: Settings) -> str:
    rates = ", ".join(f"{rate:g}" for rate in used.learning_rate)
    if used.optimizer == "lbfgs":
        most = max(used.lbfgs_resolutions)
        seen = f", {most} resolutions" if most > 1 else ""
        return f"L-BFGS, {used.lbfgs_history} pairs{seen}"
    kept = ", the best" if used.iterate == "best" else f", average {used.ema_decay:g}" if used.ema_decay else ""
    return f"Adam {rates}{kept}"


def _steps(used: Settings) -> str:
    all_levels, finest = (", ".join(map(str, steps)) for steps in (used.steps, used.finest_steps))
    return f"{all_levels}{f' (finest level: {finest})' if finest != all_levels else ''} from {used.base_size} px"


def _with_compact(name: str, used: Settings) -> str:
    if name in PUBLISHED_ELSEWHERE:
        return "not possible"
    changed = load_settings(name, COMPACT).model_dump(include=set(BOUND))
    before = used.model_dump(include=set(BOUND))
    return ", ".join(f"{key} {value}" for key, value in changed.items() if value != before[key])


def updated(page: str) -> str:
    """Put gallery and table between their markers in a page."""
    for marker, text in (("gallery", gallery()), ("presets", settings_table())):
        between = re.compile(rf"(?<=<!-- {marker} -->\n).*?(?=<!-- /{marker} -->)", re.DOTALL)
        page = between.sub(lambda _, text=text: text, page)
    return page


def main(docs: str, *again: str) -> None:
    """Paint what is missing or named, and rewrite the page."""
    from example_photograph import main as save_photograph

    with tempfile.TemporaryDirectory() as folder:
        photograph = Path(folder, "coffee.png")
        save_photograph(str(photograph))
        for preset in pictured():
            target = Path(docs, "presets", f"{preset}.jpg")
            if preset in again or not target.exists():
                paint(preset, photograph, target)
    page = Path(docs, "presets.md")
    page.write_text(updated(page.read_text()))


if __name__ == "__main__":
    main(*sys.argv[1:])
