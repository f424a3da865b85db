"""Bring the table of settings in docs/settings.md up to date with the settings model.

usage: python tools/settings_table.py docs/settings.md
"""

import re
import sys
from pathlib import Path
from typing import Any, get_args

from muralist.pipeline.setting_types import spelled
from muralist.pipeline.settings import Settings

BETWEEN = re.compile(r"(?<=<!-- settings -->\n).*?(?=<!-- /settings -->)", re.DOTALL)


def table() -> str:
    """Lay out every setting: its name, its flag if it has one, its default and what it does."""
    rows = [_row(name, field) for name, field in Settings.model_fields.items()]
    return "\n".join(["| setting | flag | default | |", "|---|---|---|---|", *rows]) + "\n"


def _explained(field: Any) -> str:
    """Say what a setting does, and between which words it chooses if it does."""
    choices = [choice for choice in get_args(field.annotation) if isinstance(choice, str)]
    return f"{field.description} One of: {', '.join(choices)}." if len(choices) > 1 else str(field.description)


def _row(name: str, field: Any) -> str:
    flags = Settings.flags()
    flag = f"`{flags[name]}`" if name in flags else ""
    return f"| `{name}` | {flag} | {spelled(field.default)} | {_explained(field)} |"


def main(page: str) -> None:
    """Rewrite the table in place."""
    path = Path(page)
    path.write_text(BETWEEN.sub(lambda _: table(), path.read_text()))


if __name__ == "__main__":
    main(*sys.argv[1:])
