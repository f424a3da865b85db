"""Renders templates to self-contained pages. The only module that uses jinja2.

Scripts and styles are inline, and the page's content security policy allows only these, by their hashes. So anything
else that gets into a page, such as the name of a file, stays text. A page loads only pictures that are stored with it.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from xstatic.pkg import leaflet

from ...model.errors import printable
from ...model.regular_file import open_regular

HERE: Final = Path(__file__).resolve().parent
LEAFLET: Final = Path(leaflet.BASE_DIR)
GENERATOR: Final = '<meta name="generator" content="muralist">'
FROM_DISK: Final = "'self' file: data:"  # "self" is not a file to every browser


def render_page(
    template: str,
    scripts: tuple[str, ...],
    data: Mapping[str, Any],
    *,
    images: str = FROM_DISK,
    connect: str = "'none'",
    **facts: Any,
) -> bytes:
    """Fill a template in.

    Parameters
    ----------
    template : str
        File in `templates/`.
    scripts : tuple of str
        Files in `static/`, or of Leaflet, to run in this order.
    data : mapping
        For the scripts, which find it as JSON in the element `data`.
    images, connect : str
        Sources in the sense of a content security policy.
    **facts
        For the template, which escapes all texts.
    """
    code = [Markup(_asset(name)) for name in scripts]
    sheets = [name.replace(".js", ".css") for name in scripts if name == "leaflet.js"]
    style = Markup("".join(map(_asset, [*sheets, "page.css"])))
    policy = "; ".join(
        [
            "default-src 'none'",
            f"img-src {images}",
            f"connect-src {connect}",
            f"script-src {' '.join(map(_hash, code))}",
            f"style-src {_hash(style)}",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    page = _ENVIRONMENT.get_template(template).render(
        policy=Markup(policy), generator=Markup(GENERATOR), code=code, style=style, data=_as_json(data), **facts
    )
    return page.encode()


def is_our_page(path: Path) -> bool:
    """Say whether a file is a page that muralist wrote; one that cannot be read is not."""
    try:
        with open_regular(path) as file:
            return GENERATOR.encode() in file.read(4096)
    except (OSError, ValueError):  # not there, or no name that a file can have
        return False


def _asset(name: str) -> str:
    """Text of a script or style; what would end its element early is not in any."""
    folder = LEAFLET if name.startswith("leaflet") else HERE / "static"
    text = (folder / name).read_text(encoding="utf-8")
    return text.replace("//# sourceMappingURL=leaflet.js.map", "")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _as_json(data: Mapping[str, Any]) -> Markup:
    """JSON in which no `<` can begin a tag."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


_ENVIRONMENT: Final = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    finalize=lambda value: printable(value) if type(value) is str else value,
)
