"""Turn photographs into paintings of any size, without seams.

    result = muralist.render("photo.jpg", "painting.jpg", "poster.tif", muralist.Settings(size=8000))

Names are imported on first use, so that `import muralist` is fast.
"""

import logging
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from .errors import MuralistError

if TYPE_CHECKING:
    from .pipeline.batch.run import render_batch
    from .pipeline.estimate import plan
    from .pipeline.events import Event
    from .pipeline.notebook import notebook
    from .pipeline.presets import load_settings
    from .pipeline.records.batch_report import Report
    from .pipeline.render import RenderResult, render
    from .pipeline.settings import Settings

    __version__: str

logging.getLogger("muralist").addHandler(logging.NullHandler())  # the caller decides what is shown

__all__ = [
    "Event",
    "MuralistError",
    "RenderResult",
    "Report",
    "Settings",
    "__version__",
    "load_settings",
    "notebook",
    "plan",
    "render",
    "render_batch",
]

_MODULES = {
    "Event": "events",
    "RenderResult": "render",
    "Report": "records.batch_report",
    "Settings": "settings",
    "load_settings": "presets",
    "notebook": "notebook",
    "plan": "estimate",
    "render": "render",
    "render_batch": "batch.run",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("muralist")
    if name not in _MODULES:
        raise AttributeError(f"module 'muralist' has no attribute {name!r}")
    return getattr(import_module(f"muralist.pipeline.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
