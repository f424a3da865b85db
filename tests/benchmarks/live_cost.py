"""Live cost: what does a page that shows a painting while it grows cost the painting?

Paints the same picture without `--live`, with it, and with a page open in Chromium, in turn. Whatever a page costs is
done by threads of the driver's process that serve it. Their processor time is what muralist counts itself, to stay
within its limit; the driver's as a whole is compared as well, which also has what painting notes for pages, but varies
by more than a page costs with what else the machine does. What Chromium takes is not counted. Wanted: below 1 % of the
processor time that the painting takes.
"""

import logging
import resource
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
from machine import Pair, apart, enlarge, input_of, pair_options, results_option, set_option, table, write_result

LIMIT = 0.01
WAYS = ("without", "live", "live, a page open")
FACTS = ("seconds", "driver", "workers", "served")
SWITCHES = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--window-size=1280,800")


@contextmanager
def page_open(address: str) -> Iterator[None]:
    """Have a page open in a browser of its own while a block lasts."""
    with tempfile.TemporaryDirectory() as profile:
        command = [shutil.which("chromium") or "chromium", *SWITCHES, f"--user-data-dir={profile}", address]
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            browser.terminate()
            browser.wait()


def paint(paths: tuple[Path, Path, Path], way: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Paint in this process and its workers; give the sidecar, and seconds of processor time."""
    from machine import render

    from muralist.pipeline.viewer import live

    class Counted(live.Budget):
        """Is found again afterwards."""

        def __init__(self) -> None:
            super().__init__()
            budgets.append(self)

    budgets = list[live.Budget]()
    live.Budget = Counted
    with ExitStack() as browsers:

        class Opener(logging.Handler):
            """Opens the page once its address is logged."""

            def emit(self, record: logging.LogRecord) -> None:
                if way == WAYS[2] and record.msg == "live at %s":
                    browsers.enter_context(page_open(record.getMessage().removeprefix("live at ")))

        logger, opener = logging.getLogger("muralist"), Opener()
        logger.setLevel(logging.INFO)
        logger.addHandler(opener)
        browsers.callback(logger.removeHandler, opener)
        sidecar = render(*paths, overwrite=True, live=None if way == WAYS[0] else 0, **settings)
        driver, workers = (sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    served = sum(budget.spent for budget in budgets)
    facts = {"seconds": sidecar["seconds"], "driver": driver, "workers": workers, "served": served}
    return {"way": way, "sidecar": sidecar, **facts}


def as_text(runs: list[dict[str, Any]]) -> str:
    """Lay the medians out for people."""
    turns = {way: [run for run in runs if run["way"] == way] for way in WAYS}
    rows = []
    for way, made in turns.items():
        pairs = list(zip(made, turns[WAYS[0]], strict=True))
        costs = [run["served"] / (bare["driver"] + bare["workers"]) for run, bare in pairs]
        drivers = [(run["driver"] - bare["driver"]) / (bare["driver"] + bare["workers"]) for run, bare in pairs]
        medians = {name: statistics.median(run[name] for run in made) for name in FACTS}
        rows.append(
            {
                "": way,
                "painted in, s": medians["seconds"],
                "processor time of the driver, s": medians["driver"],
                "of workers, s": medians["workers"],
                "of serving, s": medians["served"],
                "serving costs": f"{statistics.median(costs):.2%}",
                "from, to": f"{min(costs):.2%}, {max(costs):.2%}",
                f"below {LIMIT:.0%}": statistics.median(costs) < LIMIT,
                "more of the driver's": f"{statistics.median(drivers):.2%}",
            }
        )
    return table(rows)


@click.command()
@pair_options("green_park")
@click.option("--megapixels", default=2.0, show_default=True, help="Size of photograph and painting.")
@click.option("--repeats", default=5, show_default=True, help="Turns.")
@set_option
@results_option
def main(pair: Pair, megapixels: float, repeats: int, settings: dict[str, Any], results: Path) -> None:
    """Say what a page costs the painting that it shows."""
    if shutil.which("chromium") is None:
        raise click.UsageError("wanted Chromium to open pages: apt-get install chromium")
    source, painted = pair
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        photograph = Path(folder, "photograph.jpg")
        enlarge(source, megapixels, photograph)
        for turn in range(repeats):
            for way in WAYS:
                runs.append(apart(paint, (photograph, painted, Path(folder, "painting.png")), way, settings))
                numbers = {name: round(runs[-1][name], 2) for name in FACTS}
                click.echo(f"turn {turn + 1}/{repeats}, {way}: {numbers}")
    sidecars = [run.pop("sidecar") for run in runs]
    result = {"inputs": {"style": input_of(sidecars[0], "style")}, "settings": sidecars[0]["settings"], "runs": runs}
    write_result(results, "live-cost", sidecars[0], result, as_text(runs))


if __name__ == "__main__":
    main()
