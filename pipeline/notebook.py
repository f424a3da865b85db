"""Progress in a notebook: the current picture above a line with the progress and the losses.

    render("photo.jpg", "painting.jpg", "out.png", on_progress=notebook())

The only module that uses IPython, which comes with `pip install 'muralist[notebook]'`.
"""

from collections.abc import Callable
from io import BytesIO
from typing import Final

import numpy as np
import PIL.Image

from .errors import PipelineError
from .events import Event
from .viewer.live import Budget
from .words import spent

SIDE: Final = 768  # px, long side of the picture


def notebook(side: int = SIDE) -> Callable[[Event], None]:
    """Return a callable for `on_progress` that shows the painting below the notebook cell; for one call of `render`.

    The text is updated after every round, and so is the picture while that takes less than a hundredth of the time.

    Parameters
    ----------
    side : int
        Long side of the picture, px.

    Raises
    ------
    PipelineError
        If IPython is not installed, or this is no notebook.
    """
    try:
        from IPython.core.getipython import get_ipython
        from IPython.display import Image, display
    except ImportError as error:
        raise PipelineError(
            "notebook(): IPython is not installed, wanted it to show a painting; pip install 'muralist[notebook]'"
        ) from error
    if get_ipython() is None:
        raise PipelineError("notebook(): got plain Python, wanted a notebook; leave on_progress out, or use live=0")
    line, picture = display(display_id=True), display(display_id=True)
    budget = Budget()

    def show(event: Event) -> None:
        line.update({"text/plain": told(event)}, raw=True)
        if event.step == 0 or event.share == 1 or budget.left:
            with budget.counted():
                picture.update(Image(_jpeg(event.pixels(side)), format="jpeg", alt=event.name))

    return show


def told(event: Event) -> str:
    """Tell an event in a line.

    >>> event = Event("a.png", 2, 4, 300, 400, 20, 80, 0.25, 754, {"style": 0.0123, "total": 12.3}, _read=None)
    >>> told(event)
    'a.png: 25 % painted, about 13 min left · level 2/4, 400 x 300 px, step 20/80 · style 0.0123, total 12.3'
    """
    left = "" if event.seconds_left is None else f", about {spent(event.seconds_left)} left"
    losses = ", ".join(f"{name} {value:.3g}" for name, value in event.losses.items())
    level = f"level {event.level}/{event.levels}, {event.width} x {event.height} px, step {event.step}/{event.steps}"
    return f"{event.name}: {100 * event.share:.0f} % painted{left} · {level} · {losses}"


def _jpeg(pixels: np.ndarray) -> bytes:
    stored = BytesIO()
    PIL.Image.fromarray(pixels).save(stored, "jpeg", quality=90, subsampling=0)
    return stored.getvalue()
