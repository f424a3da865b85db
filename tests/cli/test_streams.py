"""Standard output and error that are full, closed or not read to the end."""

import os
import shlex
import subprocess
import sys

import pytest
from pictures import MURALIST, TINY, assignments
from PIL import Image

STREAMS = {
    "standard error is full": "2>/dev/full",
    "standard error is closed": "2>&-",
    "standard error and output are closed": "<&- >&- 2>&-",
    "the reader of standard error goes": "2> >(head -c 1 >&3)",
    "the reader of both goes": "2>&1 | head -c 1 >&3",
}


@pytest.mark.parametrize(
    ("command", "streams"), [*(("render", streams) for streams in STREAMS), ("batch", "the reader of both goes")]
)
def test_streams_that_break_stop_no_painting(folder, scheduler, command, streams):
    """Nobody reads of the progress, and the painting is made all the same; nothing is written into it."""
    settings = assignments(TINY | {"scheduler": scheduler, "base_size": 128, "steps": [1], "tile": 512})
    output = {"render": "out.png", "batch": "out"}[command]
    words = [*MURALIST, command, "photo.png", "-s", "style.png", "-o", output, *settings]
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; exec 3>/dev/null; {shlex.join(words)} {STREAMS[streams]}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    with Image.open(folder / ("out.png" if command == "render" else "out/photo.png")) as picture:
        picture.load()


@pytest.mark.integration
def test_names_that_standard_output_does_not_know_are_escaped():
    """A result with a name in letters of another alphabet is printed all the same."""
    script = "from muralist.program import _keep_streams, print_result; _keep_streams(); print_result('\\u7d75.png')"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (b"\\u7d75.png\n", b"")


@pytest.mark.integration
def test_processes_that_are_started_get_no_file_for_a_closed_stream():
    """Otherwise the first file of a worker would get the number of its standard error."""
    script = (
        "from muralist.program import _keep_streams; import subprocess, sys; _keep_streams(); "
        "sys.exit(subprocess.call([sys.executable, '-c', 'import os; os.fstat(1); os.fstat(2)'], close_fds=False))"
    )
    words = shlex.join([sys.executable, "-c", script])
    assert subprocess.run(["bash", "-c", f"{words} >&- 2>&-"], check=False).returncode == 0


@pytest.mark.integration
@pytest.mark.parametrize("words", [["presets"], ["networks", "--json"]])
def test_a_result_that_cannot_be_written_is_said(words):
    """In one line; a reader that has enough is no error worth a word."""
    for stream, said in (
        (
            ">/dev/full",
            "Error: standard output: the result could not be written (No space left on device); everything else ",
        ),
        ("| true", ""),
    ):
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {shlex.join([*MURALIST, *words])} {stream}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr.startswith(said)
        assert done.stderr.count("\n") == bool(said), done.stderr
        assert done.returncode == bool(said)
