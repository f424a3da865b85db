"""What is said about settings that are wrong."""

import pytest

from muralist.pipeline.errors import SettingsError
from muralist.pipeline.presets import (
    load_settings,
)


def complaint(*arguments, **sources):
    """The one-line message about some wrong sources."""
    with pytest.raises(SettingsError) as caught:
        load_settings(*arguments, **sources)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message
