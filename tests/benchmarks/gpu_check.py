"""GPU check: one command, `make gpu-check`, that proves the GPU part and measures it within minutes.

One part after the other, as far as the time allows: the tests that need a GPU; what a step costs by network, tile and
way to compute, and in batches; what several tiles under way at a time are worth; posters from end to end; the kernels
that a step spends its time in; tests that paint whole pictures. What was found is written down after every part, so
that nothing is lost if the machine is; a part that fails says so, and the next one is done. `--quick` does the same
with small sizes, on a CPU as well, which shows that the check works before a GPU is at hand; `--part steps --part
posters` does some parts only.

Ways are those of `model/ways.py`; "fast" is what `--fast` does. The summary says which is fastest, and what was missed.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from machine import HERE, enlarge, render, results_option, table, write_result
from safetensors.torch import save_file
from torch.profiler import ProfilerActivity, profile

from muralist.model.architecture import architecture
from muralist.model.graphs import Graphs, cuda_graphs
from muralist.model.network import Network
from muralist.model.ops import gradient_at
from muralist.model.statistics import as_tensor
from muralist.model.ways import Ways, usual_ways
from muralist.pipeline import render as rendering
from muralist.pipeline import tasks
from muralist.pipeline.bench import ITEM_BYTES
from muralist.pipeline.calibration import Calibration, random_network, tile_of_noise
from muralist.pipeline.errors import DeviceMemoryError
from muralist.pipeline.presets import load_settings
from muralist.pipeline.speeds import EVALUATION_STEPS
from muralist.pipeline.workers.devices import choose_algorithms, memory_errors

ROOT = HERE.parents[1]
PICTURE, STYLE = (ROOT / "examples" / name for name in ("coffee-painted.jpg", "painting.jpg"))
TESTS = ("tests/model/test_transfer.py", "tests/model/test_network.py", "tests/pipeline/test_tasks.py")
TESTS += ("tests/pipeline/test_calibration.py",)
WHOLE_TESTS = ("tests/pipeline/test_gpu.py",)  # which start workers a dozen times
NETWORKS = ("compact", "vgg19")
LOOK_SECONDS = 0.1  # between two looks at how busy the GPU is
WARM_UPS = 2  # rounds that are not counted: the second is recorded
KERNELS = 12  # that are named

Row = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """What is measured.

    Attributes
    ----------
    compared : int
        Tile whose losses are compared with the CPU's, px.
    tiles : tuple of int
        Whose steps are measured, px.
    rounds : int
        That are timed; the fastest counts.
    batches : tuple of (int, int)
        Tile in px, and how many are computed at once.
    threads : tuple of int
        Of one worker, with a tile each.
    shared : (float, dict)
        Megapixels of the picture that they paint, and settings.
    profiled : int
        Tile whose kernels are named, px.
    posters : tuple of (str, float, dict, float)
        Network, megapixels, settings, and the seconds it is thought to take.
    """

    compared: int = 128
    tiles: tuple[int, ...] = (512, 1024, 2048)
    rounds: int = 3
    batches: tuple[tuple[int, int], ...] = tuple((side, count) for side in (256, 512, 1024) for count in (1, 2, 4))
    threads: tuple[int, ...] = (1, 2, 4)
    shared: tuple[float, dict[str, Any]] = (6, {"base_size": 4000, "steps": 30})
    profiled: int = 1024
    posters: tuple[tuple[str, float, dict[str, Any], float], ...] = (
        ("compact", 24, {}, 25),
        ("compact", 100, {}, 60),
        ("vgg19", 24, {"base_size": 6000, "steps": 15}, 40),
        ("compact", 24, {"workers": 8, "threads": 1}, 25),
        ("compact", 24, {"workers": 8, "threads": 2}, 25),
        ("compact", 24, {"workers": 2, "threads": 2}, 30),
        ("compact", 24, {"workers": 1, "threads": 2}, 40),
        ("compact", 24, {"workers": 1, "threads": 1}, 50),
    )


QUICK = Sizes(
    64,
    (64,),
    1,
    ((64, 1), (64, 2)),
    (1, 2),
    (0.02, {"base_size": 192, "steps": 2, "tile": 128, "overlap": 16}),
    64,
    (("vgg19", 0.02, {"base_size": 192, "steps": 2, "workers": 1, "threads": 1}, 0),),
)


@dataclass
class Check:
    """The check under way: what was found, and how much time is left; without names of parts, all are done."""

    device: str
    sizes: Sizes
    seconds: float
    results: Path
    names: tuple[str, ...] = ()
    found: dict[str, Any] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.seconds - (time.perf_counter() - self.began)

    def part(self, name: str, work: Callable[[], Any], needs: float) -> None:
        """Do a part, if the seconds that it needs are left, and write down what was found so far."""
        if not self.wants(name):
            return
        began = self.left
        self.found[name] = _attempted(work) if began >= needs else self.left_out
        took = self.found.setdefault("took, s", {})
        took[name] = round(took.get(name, 0) + began - self.left, 1)
        click.echo(f"{self.seconds - self.left:6.1f} s  {name}")
        self.write()

    def wants(self, name: str) -> bool:
        """Whether a part was asked for, by the beginning of its name."""
        return not self.names or name.startswith(("device", *self.names))

    @property
    def left_out(self) -> str:
        """Why something is not done."""
        return f"left out, for {self.left:.0f} s were left"

    def write(self) -> None:
        """Write everything that was found so far."""
        facts = Calibration(self.device, lambda: None).facts()
        kind = re.sub(r"\W+", "-", facts["name"].lower()).strip("-")
        ran = {
            "device": {"kind": kind, "name": facts["name"], "precision": facts["precision"]},
            "workers": {"count": "as told", "threads": "as told"},
            "network": {"name": " and ".join(NETWORKS)},
        }
        write_result(self.results, "gpu", ran, self.found, as_text(self.found))


def _attempted(work: Callable[[], Any]) -> Any:
    """Do some work; what goes wrong, whatever it is, is a result of the check."""
    try:
        return work()
    except Exception:
        return f"failed:\n{traceback.format_exc()}"


# ---------------------------------------------------------------------------------------------------------------- tests


def run_tests(check: Check, tests: Sequence[str]) -> Row:
    """Run tests that need a GPU."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "--tb=short", *tests]
    done = ran(command, check.left)
    lines = (done.stdout.strip() or done.stderr.strip() or "nothing was said").splitlines()
    return {"passed": done.returncode == 0, "summary": lines[-1], "output": "\n".join(lines[-200:])}


def ran(command: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a command for so many seconds at most."""
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=max(1, seconds))
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode(errors="replace")  # bytes, whatever was asked for
        return subprocess.CompletedProcess(command, 124, said, f"not done after {seconds:.0f} s")


# ---------------------------------------------------------------------------------------------------------------- steps


def measure_device(check: Check) -> Row:
    """Measure what the device can do at best."""
    choose_algorithms(fast=False)
    calibration = Calibration(check.device, lambda: None)
    precision = calibration.facts()["precision"]
    rates = {"TFLOP/s": calibration.matmul_rate(precision) / 1e12, "copied, GB/s": calibration.copy_rate() / 1e9}
    return calibration.facts() | rates | {"torch": torch.__version__}


def compare_losses(check: Check) -> list[Row]:
    """Compare the losses after a round with those in float32 on a CPU, where they began alike."""
    rows: list[Row] = []
    for network in NETWORKS:
        settings, reference = load_settings("default", {"network": network}), dict[str, float]()
        precision = check.found["device"]["precision"]
        for device, number in (("cpu", "float32"), (check.device, "float32"), (check.device, precision)):
            torch.manual_seed(0)
            tile_optimizer, (state, *others) = tile_of_noise(settings, device, number, check.sizes.compared)
            upside_down = state[:, ::-1].copy()  # or else what is lost of the photograph were next to nothing
            losses = tile_optimizer.objective.losses(tile_optimizer.paint(upside_down, *others)[1])
            reference = reference or losses
            differ = {name: abs(losses[name] / value - 1) for name, value in reference.items() if value}
            rows.append({"network": network, "device": device, "precision": number} | differ)
    return rows


def ways_to_try(device: str) -> dict[str, tuple[Ways, bool]]:
    """Name ways to compute; of each, whether libraries may take the quickest of theirs."""
    usual = usual_ways(device)
    eager, padded, masked, wide = (
        replace(usual, **change)
        for change in ({"graphs": False}, {"first_layer": "padded"}, {"first_layer": "masked"}, {"gram": "float32"})
    )
    return {
        "usual": (usual, False),
        "eager": (eager, False),
        "padded": (padded, False),
        "masked": (masked, False),
        "Gram in float32": (wide, False),
        "fast": (usual, True),
        "fast, padded": (padded, True),
    }


def measure_steps(check: Check, network: str) -> list[Row]:
    """Measure what a step costs, by tile and way."""
    ways = ways_to_try(check.device).items()
    return [measure_step(check, network, side, name, *way) for side in check.sizes.tiles for name, way in ways]


def measure_step(check: Check, network: str, side: int, name: str, ways: Ways, fast: bool) -> Row:
    """Measure a round on one tile in one way, with and without the copies to and from the device."""
    row: Row = dict.fromkeys(("network", "tile", "way", "ms a step", "of matmul", "of copy", "copies", "peak GiB"))
    row |= {"network": network, "tile": side, "way": name}
    settings, facts = load_settings("default", {"network": network}), check.found["device"]
    choose_algorithms(fast)
    forget_memory(check.device)
    try:
        with memory_errors(f"a tile of {side} px", check.device):
            tile_optimizer, arguments = tile_of_noise(settings, check.device, facts["precision"], side, ways)
            whole = fastest_of(check, partial(tile_optimizer.paint, *arguments))
            key, work, given = tile_optimizer.round_of(*arguments)
            steps = arguments[-1]
            given["numbers"] = as_tensor(np.array(steps.numbers(steps.learning_rate)), tile_optimizer.like)
            inside = fastest_of(check, partial(tile_optimizer.graphs.run, tile_optimizer, key, work, given))
    except DeviceMemoryError as error:
        return row | {"error": str(error)}
    finally:
        choose_algorithms(fast=False)
    pixels, row_of = side**2 * (steps.count + EVALUATION_STEPS) / inside, architecture(network)
    traffic = row_of.traffic(settings.layers, ITEM_BYTES[facts["precision"]])
    return row | {
        "ms a step": 1e3 * inside / (steps.count + EVALUATION_STEPS),
        "of matmul": pixels * row_of.operations(settings.layers) / facts["TFLOP/s"] / 1e12,
        "of copy": pixels * traffic / facts["copied, GB/s"] / 1e9,
        "copies": whole / inside - 1,
        "peak GiB": peak_memory(check.device),
        "trouble": tile_optimizer.graphs.trouble,
    }


def fastest_of(check: Check, run: Callable[[], object]) -> float:
    """Seconds of the fastest of some rounds."""
    return min([timed(check.device, run) for _ in range(WARM_UPS + check.sizes.rounds)][WARM_UPS:])


def timed(device: str, run: Callable[[], object]) -> float:
    """Seconds of a run that ends when the device does."""
    began = time.perf_counter()
    run()
    if device != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter() - began


def forget_memory(device: str) -> None:
    """Give memory back, and begin to look for its peak anew."""
    tasks.graphs(device).clear()
    if device != "cpu":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_memory(device: str) -> float | None:
    """Most memory that was taken on the device, GiB."""
    return None if device == "cpu" else torch.cuda.max_memory_reserved() / 2**30


def measure_kernels(check: Check, network: str) -> list[Row]:
    """Name the kernels that a round, started operation by operation, spends most of the device's time in."""
    settings, ways = load_settings("default", {"network": network}), replace(usual_ways(check.device), graphs=False)
    precision = check.found["device"]["precision"]
    tile_optimizer, arguments = tile_of_noise(settings, check.device, precision, check.sizes.profiled, ways)
    on_cpu = check.device == "cpu"
    tile_optimizer.paint(*arguments)
    with profile(activities=[ProfilerActivity.CPU if on_cpu else ProfilerActivity.CUDA]) as profiled:
        timed(check.device, partial(tile_optimizer.paint, *arguments))
    spent = {
        event.key: (event.self_cpu_time_total if on_cpu else event.self_device_time_total, event.count)
        for event in profiled.key_averages()
    }
    total = sum(time for time, _ in spent.values())
    most = sorted(spent, key=lambda name: -spent[name][0])[:KERNELS]
    return [{"kernel": name[:90], "calls": spent[name][1], "share": spent[name][0] / total} for name in most]


# --------------------------------------------------------------------------------------------------- several at a time


def measure_batches(check: Check, name: str) -> list[Row]:
    """Measure what features and their gradient cost for several tiles at once, as one recording."""
    settings, precision = load_settings("default", {"network": name}), check.found["device"]["precision"]
    network = random_network(settings).prepared(check.device, tasks.DTYPES[precision], usual_ways(check.device))
    rows: list[Row] = []
    for side, count in check.sizes.batches:
        forget_memory(check.device)
        graphs = cuda_graphs(check.device) if usual_ways(check.device).graphs else Graphs()
        picture = torch.rand(count, 3, side, side, device=check.device).contiguous(memory_format=torch.channels_last)
        work = partial(features_and_gradient, network, settings.layers)
        seconds = fastest_of(check, partial(graphs.run, network, (side, count), work, {"picture": picture}))
        rows.append({"tile": side, "at once": count, "ms a tile": 1e3 * seconds / count, "trouble": graphs.trouble})
        graphs.clear()
    alone = {row["tile"]: row["ms a tile"] for row in rows if row["at once"] == 1}
    return [row | {"of one by one": row["ms a tile"] / alone[row["tile"]]} for row in rows]


def features_and_gradient(
    network: Network, layers: tuple[str, ...], given: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Go through the network and back."""
    leaf = given["picture"].detach().requires_grad_()
    with torch.enable_grad():
        features = network(leaf, layers)
    return {"gradient": gradient_at(leaf, features, {layer: f.detach() for layer, f in features.items()})}


class OneWorker:
    """Stands in for the cluster: one worker, in this process, with some threads that have a tile each."""

    workers, tiles, lost, again = 1, 1, 0, 0
    notices: tuple[str, ...] = ()

    def __init__(self, check: Check, threads: int) -> None:
        self.threads, self.device = threads, check.device
        self.device_name, self.precision = (check.found["device"][key] for key in ("name", "precision"))
        self._pool = ThreadPoolExecutor(threads)

    def call(self, task: str, *arguments: Any, **_: Any) -> Any:
        """Run a task."""
        return next(self.map(task, [arguments]))

    def map(self, task: str, calls: Sequence[tuple[Any, ...]], **_: Any) -> Iterator[Any]:
        """Run a task for each tuple of arguments."""
        return self._pool.map(lambda arguments: getattr(tasks, task)(*arguments), calls)

    def peak_rss(self) -> int:
        """Not measured here."""
        return 0


def measure_threads(check: Check) -> list[Row]:
    """Measure what it is worth that a worker reads, copies and files other tiles while one is computed."""
    megapixels, settings = check.sizes.shared
    usual, rows = rendering.open_cluster, list[Row]()
    with tempfile.TemporaryDirectory() as folder:
        photograph, output = Path(folder, "photograph.jpg"), Path(folder, "painting.tif")
        enlarge(PICTURE, megapixels, photograph)
        for threads in check.sizes.threads:
            forget_memory(check.device)
            worker = OneWorker(check, threads)
            rendering.open_cluster = lambda *_, worker=worker: nullcontext(worker)
            try:
                sidecar = render(photograph, STYLE, output, device=check.device, overwrite=True, **settings)
            finally:
                rendering.open_cluster = usual
            level = sidecar["levels"][-1]
            count = level["rounds"] * level["tiles"]
            rows.append(
                {
                    "threads": threads,
                    "tiles": level["tiles"],
                    "ms a tile and round": 1e3 * level["seconds"] / count,
                    "in tasks": level["busy_seconds"] / level["seconds"],
                    "replayed": level["replayed"] / count,
                    "peak GiB": peak_memory(check.device),
                    "style": level["losses_last"]["style"],
                }
            )
    return rows


# -------------------------------------------------------------------------------------------------------------- posters


def add_poster(
    check: Check, posters: list[Row], network: str, megapixels: float, settings: dict[str, Any], needs: float
) -> list[Row]:
    """Render one more poster, if the seconds that it needs are left."""
    row: Row = {"network": network, "megapixels": megapixels, **dict.fromkeys(POSTER_KEYS)}
    row |= {key: value for key, value in settings.items() if key in POSTER_KEYS}
    enough = check.left >= needs
    forget_memory(check.device)  # which other processes need now
    posters.append(paint_poster(check, row, settings) if enough else row | {"error": check.left_out})
    return posters


def paint_poster(check: Check, row: Row, settings: dict[str, Any]) -> Row:
    """Render a poster by the command; say how long its parts took, and how busy the GPU was at full size."""
    network, megapixels = row["network"], row["megapixels"]
    with tempfile.TemporaryDirectory() as folder:
        photograph, output = Path(folder, "photograph.jpg"), Path(folder, "poster.tif")
        enlarge(PICTURE, megapixels, photograph)
        wanted = {"network": network, "device": check.device, "max_pixels": 10**9, **settings}
        if network == "vgg19":
            wanted["weights"] = str(random_weights(network, Path(folder, "weights.safetensors")))
        command = [sys.executable, "-c", "from muralist.cli import main; main()"]
        command += ["render", str(photograph), "-s", str(STYLE), "-o", str(output), "--quiet"]
        command += [part for key, value in wanted.items() for part in ("--set", f"{key}={value}")]
        with watched_gpu(check.device) as looks:
            began = time.time()
            done = ran(command, check.left)
            total = time.time() - began
        if done.returncode:
            return row | {"error": done.stderr[-2000:]}
        sidecar = json.loads(output.with_name(output.name + ".json").read_text())
    levels, workers = sidecar["levels"], sidecar["workers"]
    last, at_a_time = levels[-1], workers["count"] * (1 if check.device == "cpu" else workers["threads"])
    painted = began + total - (sidecar["seconds"] - sum(level["seconds"] for level in levels))
    busy = [share for moment, share in looks if painted - last["seconds"] < moment < painted]
    return row | {
        "workers": workers["count"],
        "threads": workers["threads"],
        "s": total,
        "painting, s": sidecar["seconds"],
        "levels, s": [level["seconds"] for level in levels],
        "full size, s": last["seconds"],
        "in tasks": last["busy_seconds"] / last["seconds"] / at_a_time,
        "replayed": last["replayed"] / max(1, last["rounds"] * last["tiles"]),
        "busy": sum(busy) / len(busy) if busy else None,
        "style": last["losses_last"]["style"],
        "content": last["losses_last"]["content"],
        "notices": sidecar["notices"],
    }


POSTER_KEYS = (
    "workers",
    "threads",
    "s",
    "painting, s",
    "full size, s",
    "in tasks",
    "replayed",
    "busy",
    "style",
    "content",
)


@contextmanager
def watched_gpu(device: str) -> Iterator[list[tuple[float, float]]]:
    """Look at how busy the GPU is: (time, share of the moments before in which a kernel ran), none on a CPU."""
    looks: list[tuple[float, float]] = []
    if device == "cpu" or shutil.which("nvidia-smi") is None:
        yield looks
        return
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    with subprocess.Popen(
        [*command, f"--loop-ms={1000 * LOOK_SECONDS:.0f}"], stdout=subprocess.PIPE, text=True
    ) as process:
        watcher = threading.Thread(
            target=lambda: looks.extend((time.time(), int(line) / 100) for line in process.stdout or ())
        )
        watcher.start()
        try:
            yield looks
        finally:
            process.terminate()
            watcher.join()


def random_weights(name: str, path: Path) -> Path:
    """Write a network's weights, drawn at random: what a step costs does not depend on them."""
    network = random_network(load_settings("default", {"network": name}))
    names = [(step, kind) for step in architecture(name).convolutions for kind in ("weight", "bias")]
    save_file({f"conv{step}.{kind}": network.get_buffer(f"conv{step}_{kind}") for step, kind in names}, path)
    return path


# ----------------------------------------------------------------------------------------------------------- in the end


def rows_of(found: dict[str, Any], *names: str) -> list[Row]:
    """Give the rows of some parts, of those that were measured, but for what failed."""
    rows = [row for name in names if isinstance(found.get(name), list) for row in found[name]]
    return [row for row in rows if "error" not in row]


def fastest_ways(found: dict[str, Any]) -> Row:
    """Say which way is fastest for every network and tile."""
    costs: dict[str, dict[str, float]] = {}
    for row in rows_of(found, *(f"steps of {network}" for network in NETWORKS)):
        costs.setdefault(f"{row['network']}, {row['tile']} px", {})[row["way"]] = row["ms a step"]
    best = {case: min(ways, key=lambda way: ways[way]) for case, ways in costs.items()}
    usual = {case: ways.get("usual", ways[best[case]]) / ways[best[case]] for case, ways in costs.items()}
    return {case: f"{way} ({usual[case]:.2f} times as fast as usual)" for case, way in best.items()}


def fastest_layouts(found: dict[str, Any]) -> Row:
    """Say how many threads of a worker, and how many workers with how many, paint soonest."""
    best: Row = {}
    if rows := rows_of(found, "threads of a worker"):
        best["one worker"] = f"{min(rows, key=lambda row: row['ms a tile and round'])['threads']} threads"
    cases: dict[str, dict[str, float]] = {}
    for row in rows_of(found, "posters"):
        layout = f"{row['workers']} workers with {row['threads']} threads"
        cases.setdefault(f"{row['network']}, {row['megapixels']} megapixels", {})[layout] = row["full size, s"]
    return best | {case: min(costs, key=lambda layout: costs[layout]) for case, costs in cases.items()}


def compare(found: dict[str, Any]) -> list[Row]:
    """Compare with what is wanted of one H100 or H200."""
    posters = rows_of(found, "posters")
    reached = {
        ("vgg19, share of matmul, at least", 0.45): [row["of matmul"] for row in rows_of(found, "steps of vgg19")],
        ("compact, share of copy, at least", 0.5): [row["of copy"] for row in rows_of(found, "steps of compact")],
        ("GPU busy at full size, at least", 0.9): [row["busy"] for row in posters if row["busy"] is not None],
        ("100 megapixels with compact, s, at most", 60): [
            -row["s"] for row in posters if (row["network"], row["megapixels"]) == ("compact", 100)
        ],
    }
    return [
        {
            "what": what,
            "wanted": wanted,
            "reached": abs(max(values)),
            "met": max(values) >= (wanted if max(values) > 0 else -wanted),
        }
        for (what, wanted), values in reached.items()
        if values
    ]


def as_text(found: dict[str, Any]) -> str:
    """Lay what was found out for people."""
    return "\n\n".join(f"## {name}\n\n{_laid_out(value)}" for name, value in found.items())


def _laid_out(value: Any) -> str:
    if isinstance(value, list) and value:
        plain = [key for key in value[0] if not any(isinstance(row.get(key), dict | list) for row in value)]
        troubles = [f"{row['error']}" for row in value if "error" in row]
        return "\n\n".join([table([{key: row.get(key) for key in plain} for row in value]), *troubles])
    if isinstance(value, dict):
        return "\n".join(
            f"- {key}: {each:.4g}" if isinstance(each, float) else f"- {key}: {each}" for key, each in value.items()
        )
    return str(value)


@click.command()
@click.option("--device", default="cuda", show_default=True, help="As of `muralist render`.")
@click.option("--quick", is_flag=True, help="Small sizes, and no tests: does the check work?")
@click.option("--seconds", default=230.0, show_default=True, help="What no longer fits into them is left out.")
@click.option("--part", "parts", multiple=True, help="Do only what begins like this, such as steps; repeatable.")
@results_option
def main(device: str, quick: bool, seconds: float, parts: tuple[str, ...], results: Path) -> None:
    """Prove and measure muralist on a GPU."""
    check = Check(device, QUICK if quick else Sizes(), seconds, results, parts)
    check.part("device", partial(measure_device, check), needs=0)
    if not quick:
        check.part("tests", partial(run_tests, check, TESTS), needs=30)
    check.part("differences of losses", partial(compare_losses, check), needs=10)
    for network in NETWORKS:
        check.part(f"steps of {network}", partial(measure_steps, check, network), needs=15)
    check.found["fastest ways"] = fastest_ways(check.found)
    check.part("threads of a worker", partial(measure_threads, check), needs=20)
    for network in NETWORKS:
        check.part(f"batches of {network}", partial(measure_batches, check, network), needs=5)
    posters: list[Row] = []
    for poster in check.sizes.posters:
        check.part("posters", partial(add_poster, check, posters, *poster), needs=0)
    check.found["fastest workers"] = fastest_layouts(check.found)
    for network in NETWORKS:
        check.part(f"kernels of {network}", partial(measure_kernels, check, network), needs=5)
    if not quick:
        check.part("tests of whole paintings", partial(run_tests, check, WHOLE_TESTS), needs=60)
    check.part("targets", partial(compare, check.found), needs=0)
    check.write()


if __name__ == "__main__":
    main()
