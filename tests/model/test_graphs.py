"""Rounds as one unit: they wait for nothing, so they can be recorded, and a replay paints any tile of the shape."""

import copy
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch
from pictures import FEW_LAYERS, MANY_LAYERS, photograph
from recorders import refusing, repeated, traced
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from muralist.model import graphs as module
from muralist.model.architecture import architecture
from muralist.model.errors import DivergedError
from muralist.model.graphs import MOST, SEEN, Graphs, cuda_graphs
from muralist.model.loading import load_network
from muralist.model.losses.means import MeansTerm
from muralist.model.losses.moments import MomentsTerm
from muralist.model.optimizers import StepSchedule
from muralist.model.statistics import TileSums, Window, total
from muralist.model.tile_optimizer import TileOptimizer, to_tensor
from muralist.model.ways import FirstLayer, Ways, usual_ways
from muralist.model.weight_files import find_weights
from muralist.pipeline.context import TunedWeights
from muralist.pipeline.loss_terms import objective
from muralist.pipeline.settings import Settings

pytestmark = pytest.mark.integration

LBFGS = StepSchedule(2, first=3, first_of_level=3, learning_rate=1.0, ema_decay=0.0, optimizer="lbfgs", resolutions=4)
ADAM = StepSchedule(2, first=3, first_of_level=3, learning_rate=0.02)
KINDS = MomentsTerm.kinds
GOALS = (
    {},
    {"style_loss": "w2"},
    {"style_loss": "spst"},
    {"normalize_gradients": True},
    {"tv_loss": "vectorial"},
    {"tv_loss": "l2-9point"},
    {"moments_weight": 30.0},
)


# Operations that wait for a device's numbers; the last three only on a real one.
READING = ("_local_scalar_dense", "_linalg_eigh", "_linalg_svd", "nonzero")


class Looks(TorchDispatchMode):
    """Counts what makes a program wait for a device, or a device for a program."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Note it if an operation reads a number, or moves one between devices."""
        result = func(*args, **(kwargs or {}))
        name, devices = (
            str(func),
            {each.device.type for each in (*args, result) if isinstance(each, Tensor) and each.dim()},
        )
        if any(each in name for each in READING) or len(devices) > 1:
            self.found.append(name)
        return result


def tile(seed: int) -> np.ndarray:
    """A part of the photograph: (48, 64, 3), float32, in [0, 1]."""
    return photograph()[seed : seed + 48, 2 * seed : 2 * seed + 64].astype(np.float32) / 255


def scene(ways: Ways | None = None, graphs: Graphs | None = None, **goal: object) -> TileOptimizer:
    """A tile optimizer with the bundled network in bfloat16, and style pictures' statistics drawn at random."""
    settings = Settings(**MANY_LAYERS | {"content_weight": 3.0} | goal)
    network = load_network("compact", find_weights(architecture("compact")), settings.layers)
    network = network.prepared("cpu", torch.bfloat16, ways)
    random, row = np.random.default_rng(5), network.architecture
    targets = {}
    for layer in settings.active_style_layers:
        features = random.random((3 * row.channels(layer), row.channels(layer)))
        targets[f"style gram {layer}"] = features.T @ features / len(features)
        targets[f"style mean {layer}"] = features.mean(0)
        targets |= {f"moments {kind} {layer}": (features / 4).mean(0) ** k for k, kind in enumerate(KINDS, 1)}
    goal = objective(settings, targets, 48, 128, TunedWeights(settings.content_weight), network.metric)
    return TileOptimizer(network, goal, graphs or Graphs())


def window() -> Window:
    """Weights that fall off to one side, as those of a tile that is blended."""
    return Window.of(np.ones(48, np.float32), np.linspace(1, 0.2, 64, dtype=np.float32))


def paint(
    tile_optimizer: TileOptimizer, seed: int, steps: StepSchedule, whole: TileSums | None = None
) -> tuple[np.ndarray, TileSums]:
    """A tile after a round."""
    content = tile_optimizer.content_features(to_tensor(tile(seed)))
    state = steps.layout.start(tile(seed) * 0.9)
    if steps.first_of_level and steps.optimizer == "lbfgs":
        state[-2] = 0.01 * (tile(seed + 1) - 0.5)
        state[-1] = 3 * state[-2]
    sums = tile_optimizer.measure(to_tensor(state[0]), content, window())
    return tile_optimizer.paint(state, content, window(), whole or total([sums, sums]), steps)


# ------------------------------------------------------------------------------------------------ nothing is waited for


@pytest.mark.parametrize("steps", [LBFGS, replace(LBFGS, first_of_level=0), ADAM])
@pytest.mark.parametrize("goal", GOALS, ids=str)
def test_a_round_waits_for_nothing(steps, goal):
    """From its first step to its sums, a round on a pretended device neither reads a number nor moves one.

    But for eigenvalues, which CUDA's libraries find with the host's help: such rounds are painted without a recording.
    """
    tile_optimizer = scene(**goal)
    content = tile_optimizer.content_features(to_tensor(tile(0)))
    whole = tile_optimizer.measure(to_tensor(tile(0)), content, window())
    given = tile_optimizer.round_of(steps.layout.start(tile(0)), content, window(), whole, steps)[2]
    given["numbers"] = torch.tensor(steps.numbers(1.0))
    pretended = {name: value.to("meta") for name, value in given.items()}
    there = replace(tile_optimizer, network=copy.deepcopy(tile_optimizer.network).prepared("meta", torch.bfloat16))
    there.network._normalization(pretended["state"])  # what is made once for all rounds
    assert all(term.distances for term in there.goal.terms if isinstance(term, MeansTerm))
    with Looks() as looks:
        found = there._round(pretended, whole=whole, steps=steps, consensus=True)
    waits = ["aten._linalg_eigh.default"] if goal.get("style_loss") == "w2" else []  # for whether it succeeded
    assert sorted(set(looks.found)) == waits
    assert tile_optimizer.objective.waits == bool(waits)
    assert {value.device.type for value in found.values()} == {"meta"}


def test_looks_are_noticed():
    """The test above would notice a number that is read, and one that is moved."""
    there = torch.zeros(3, device="meta")
    with Looks() as looks:
        torch.zeros(3).to("meta")
        assert "_to_copy" in looks.found[-1]
        with pytest.raises(RuntimeError, match="meta"):
            float(there.sum())
    with pytest.raises(RuntimeError, match="device"):
        there + torch.zeros(3)


# ------------------------------------------------------------------------------------------------------ and is replayed


@pytest.mark.parametrize("steps", [LBFGS, ADAM])
def test_a_replay_paints_any_tile(steps):
    """What was recorded on one tile paints another one, at other steps and another rate, to the last bit as usual."""
    later = replace(steps, first=13, first_of_level=8, learning_rate=steps.learning_rate / 2)
    plain, recorded = scene(), scene(graphs=Graphs(traced))
    whole, replayed = paint(plain, 3, steps)[1], []
    for seed, each in ((0, steps), (1, steps), (2, later)):
        (state, sums), (wanted, wanted_sums) = (
            paint(tile_optimizer, seed, each, whole) for tile_optimizer in (recorded, plain)
        )
        replayed.append(recorded.graphs.replayed)
        np.testing.assert_array_equal(state, wanted)
        for name, value in wanted_sums.items():
            np.testing.assert_array_equal(sums[name], value)
    assert replayed == [False, True, True]
    assert not plain.graphs.replayed


def test_what_is_no_tensor_is_not_taken_from_another_round():
    """Rounds of other kinds, or of another photograph, are recorded apart, and not where norms change every round."""
    tile_optimizer, replayed = scene(graphs=Graphs(repeated)), []
    whole = paint(tile_optimizer, 3, LBFGS)[1]
    energy = {name: 2 * value for name, value in whole.items() if "energy" in name}
    kinds = [
        (LBFGS, whole),
        (replace(LBFGS, count=1), whole),
        (replace(LBFGS, history=2), whole),
        (LBFGS, {**whole, **energy}),
    ]
    tile_optimizer.graphs.clear()
    for _ in range(2):
        for steps, sums in kinds:
            paint(tile_optimizer, 0, steps, sums)
            replayed.append(tile_optimizer.graphs.replayed)
    assert replayed == [False] * 4 + [True] * 4
    balanced = scene(graphs=Graphs(repeated), normalize_gradients=True)
    whole = paint(balanced, 3, ADAM)[1]
    for _ in range(3):
        paint(balanced, 0, ADAM, whole)
        assert not balanced.graphs.replayed


def doubled(given):
    """Some work."""
    return {"twice": given["once"] * 2}


def test_a_recording_that_fails_is_done_without():
    """Where a device refuses to record, work is done as usual from then on, and it is told why."""
    graphs, given = Graphs(refusing), {"once": torch.ones(2)}
    for _ in range(4):
        assert torch.equal(graphs.run(graphs, "key", doubled, given)["twice"], torch.full((2,), 2.0))
        assert not graphs.replayed
    assert graphs.trouble == "operation not permitted when stream is capturing"


def test_what_waits_is_not_recorded():
    """A recording that is sure to fail is not begun: torch may never give back what it took."""
    tile_optimizer = scene(graphs=Graphs(refusing), style_loss="w2", **FEW_LAYERS)
    whole = paint(tile_optimizer, 3, ADAM)[1]
    for _ in range(3):
        paint(tile_optimizer, 0, ADAM, whole)
    assert not tile_optimizer.graphs.replayed
    assert not tile_optimizer.graphs.trouble


def test_recordings_are_of_their_owners_and_not_too_many():
    """Levels that are painted side by side keep theirs; of too many, the one that was not used for longest goes."""
    graphs, given, owners = Graphs(traced), {"once": torch.ones(2)}, ("one", "two")
    for expected in (False, True, True):
        for owner in owners:
            graphs.run(owner, 0, doubled, given)
            assert graphs.replayed == expected
    for key in range(1, MOST):
        for _ in range(2):
            graphs.run("two", key, doubled, given)
        assert graphs.replayed
    assert len(graphs._recordings) == MOST
    assert (id("one"), 0) not in graphs._recordings
    for key in range(2 * SEEN):
        graphs.run("three", ("once", key), doubled, given)
    assert len(graphs._seen) == SEEN


@pytest.mark.parametrize("ended", [True, False])
def test_memory_that_is_too_small_to_record_is_told(ended):
    """Tiles are halved then, and those are recorded again; also where such a recording cannot be ended any more."""

    def exhausted():
        def record(work):
            try:
                raise torch.OutOfMemoryError("CUDA out of memory")
            finally:
                if not ended:
                    raise RuntimeError("CUDA error: operation failed due to a previous error during capture")

        return record

    graphs, given = Graphs(exhausted), {"once": torch.ones(2)}
    graphs.run("one", 0, doubled, given)
    with pytest.raises(torch.OutOfMemoryError):
        graphs.run("one", 0, doubled, given)
    assert not graphs.trouble
    graphs.recorder = traced
    assert [graphs.run("one", 0, doubled, given) and graphs.replayed for _ in range(3)] == [False, True, True]


def test_every_gpu_records_on_a_stream_of_its_own(monkeypatch):
    """Not on that of the GPU which recorded first; recordings of one GPU share memory, and for that the stream."""
    made = []

    def begin(graph, pool, stream, capture_error_mode):
        made.append((pool, stream))
        return nullcontext()

    monkeypatch.setattr(module, "_recorded_stream", lambda device: f"stream of {device}")
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: None, pool=lambda: "pool"))
    monkeypatch.setattr(torch.cuda, "graph", begin)
    for name in ("device", "stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, nullcontext)
    for device in ("cuda:0", "cuda:1"):
        graphs = cuda_graphs(device)
        for key in range(2):
            for expected in (False, True):
                graphs.run("one", key, doubled, {"once": torch.ones(2)})
                assert graphs.replayed == expected
    streams = [f"stream of cuda:{number}" for number in (0, 0, 1, 1)]
    assert made == list(zip([None, "pool"] * 2, streams, strict=True))


def test_what_a_replay_gives_stays():
    """The next replay overwrites what was recorded, but not what was returned."""
    graphs = Graphs(traced)
    found = [graphs.run("one", 0, doubled, {"once": torch.full((2,), float(n))})["twice"] for n in range(4)]
    assert [values.tolist() for values in found] == [[2.0 * n] * 2 for n in range(4)]


# ------------------------------------------------------------------------------------------------ several at a time


SIDE_BY_SIDE = (3, 1, 2, 0, 3, 1)


@pytest.mark.parametrize("graphs", [Graphs, lambda: Graphs(traced)], ids=["as usual", "recorded"])
def test_tiles_side_by_side_are_painted_as_one_after_the_other(graphs):
    """Threads with the same tile optimizer give the same bytes, whoever records, and tell their own replays."""
    tile_optimizer = scene(graphs=graphs(), **FEW_LAYERS)
    whole = paint(tile_optimizer, 3, LBFGS)[1]
    alone = scene(**FEW_LAYERS)
    wanted = {seed: paint(alone, seed, LBFGS, whole) for seed in set(SIDE_BY_SIDE)}
    tile_optimizer.graphs.clear()
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda seed: paint(tile_optimizer, seed, LBFGS, whole), SIDE_BY_SIDE))
    for seed, (state, sums) in zip(SIDE_BY_SIDE, found, strict=True):
        np.testing.assert_array_equal(state, wanted[seed][0])
        assert all((value == sums[name]).all() for name, value in wanted[seed][1].items())
    assert not tile_optimizer.graphs.replayed


@pytest.mark.parametrize("graphs", [Graphs, lambda: Graphs(traced)], ids=["as usual", "recorded"])
def test_a_tile_that_fails_leaves_the_others_alone(graphs):
    """One thread's pixels are no numbers, round after round; it is told so, and another's tiles are as if alone."""
    tile_optimizer = scene(graphs=graphs(), **FEW_LAYERS)
    whole = paint(tile_optimizer, 3, LBFGS)[1]
    wanted = paint(tile_optimizer, 0, LBFGS, whole)[0]

    def fail(_: int) -> None:
        content = tile_optimizer.content_features(to_tensor(tile(1)))
        with pytest.raises(DivergedError):
            tile_optimizer.paint(LBFGS.layout.start(tile(1) * np.nan), content, window(), whole, LBFGS)

    with ThreadPoolExecutor(2) as threads:
        failing = threads.map(fail, range(4))
        for state, _ in threads.map(lambda _: paint(tile_optimizer, 0, LBFGS, whole), range(4)):
            np.testing.assert_array_equal(state, wanted)
        list(failing)


# ------------------------------------------------------------------------------------------------------ ways to compute


@pytest.mark.parametrize("ways", [Ways(way, "bfloat16") for way in get_args(FirstLayer)], ids=str)
def test_all_ways_end_at_the_same_losses(ways):
    """Whatever the way, every loss that matters to the total ends within 3 % of the usual way's."""
    part = {"content_weight": 10_000.0}
    begun, whole = paint(scene(**part), 0, replace(LBFGS, count=3, first=0, first_of_level=0))

    def after(each: Ways) -> TileSums:
        tile_optimizer = scene(each, **part)
        content = tile_optimizer.content_features(to_tensor(tile(0)))
        return tile_optimizer.paint(begun, content, window(), total([whole, whole]), replace(LBFGS, count=10))[1]

    wanted, found = after(Ways()), after(ways)
    goal = scene(**part).objective
    assert {"style", "content"} < goal.losses(found).keys()
    assert goal.total(goal.losses(found)) == pytest.approx(goal.total(goal.losses(wanted)), rel=0.03)
    assert goal.losses(found) == pytest.approx(goal.losses(wanted), rel=0.03)


def test_usual_ways():
    """Rounds are recorded where there is something to record them, products are in half precision where it helps."""
    assert usual_ways("cpu") == usual_ways("mps") == Ways()
    assert usual_ways("cuda:1") == Ways(gram="bfloat16", graphs=True)


# --------------------------------------------------------------------------------------------------- memory is as it is


class Layouts(TorchDispatchMode):
    """Notes pictures and features that are made in another order than channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.seen = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Look at what is new: no view, and not changed in place."""
        result = func(*args, **(kwargs or {}))
        storages = {each.untyped_storage().data_ptr() for each in args if isinstance(each, Tensor)}
        if isinstance(result, Tensor) and result.dim() == 4 and result.shape[0] == 1 < result.shape[1]:
            new = result.untyped_storage().data_ptr() not in storages
            self.seen += new
            if new and not result.is_contiguous(memory_format=torch.channels_last):
                self.found.append(f"{func} {tuple(result.shape)} {result.stride()}")
        return result


@pytest.mark.parametrize("steps", [LBFGS, ADAM])
def test_pictures_and_features_stay_channels_last(steps):
    """From the state to the new state, nothing is turned over in memory on the way."""
    tile_optimizer = scene()
    with Layouts() as layouts:
        paint(tile_optimizer, 0, steps)
    assert layouts.found == []
    assert layouts.seen > 100
