"""The page of a painting under way: who may see it, what it shows of which canvas, and that it stops nothing else."""

import http.client
import io
import json
import logging
import os
import signal
import threading
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlsplit
from urllib.request import urlopen

import numpy as np
import pytest
from browser import chromium, needs_chromium, visit
from facts import having
from pictures import TINY, painting, photograph, save
from PIL import Image
from rendering import render

from muralist.pipeline.errors import OutputError, SettingsError
from muralist.pipeline.levels import plan_levels
from muralist.pipeline.presets import load_settings
from muralist.pipeline.progress import Progress, level_work
from muralist.pipeline.records.batch_report import Result
from muralist.pipeline.records.losses import LossRecord
from muralist.pipeline.viewer import server as module
from muralist.pipeline.viewer.live import Board, Budget
from muralist.pipeline.viewer.server import is_open, open_live, served, shown_live

pytestmark = pytest.mark.integration

SETTINGS = load_settings(overrides={"base_size": 300, "level_ratio": 4, "steps": [20, 10]})
LEVELS = plan_levels(900, 1200, [], SETTINGS, 16, 64)


class Canvas:
    """Pixels that are read as those of a canvas."""

    def __init__(self, level, made):
        self.pixels = painting(level.height, level.width, seed=made)
        self.shape = self.pixels.shape
        self.read_pixels = 0

    def read(self, box):
        self.read_pixels += box.shape[0] * box.shape[1]
        return self.pixels[slice(*box.rows), slice(*box.cols)]


class Workers:
    """Two workers, of which one paints."""

    notices = ("a <b>notice</b>",)

    def at_work(self):
        return {"worker 1": ("paint_tile", ("run", 1, 0, 4)), "worker 2": None}


@contextmanager
def under_way(total=1):
    """A painting under way with a page: the board, the painting, and the page's address."""
    board = Board("poster.tif", total)
    with served(board, 0) as address, shown_live(board, "poster.tif", LEVELS, Progress(), Workers()) as picture:
        canvases = {}
        picture.watch(lambda level, made: canvases.setdefault((level.index, made), Canvas(level, made)), [])
        picture.canvases = canvases
        yield board, picture, address


def paint_round(picture, number, made):
    """Tell of a round as a painting does."""
    level = LEVELS[number]
    if made == 0:
        picture.start_level(level)
    else:
        picture.advance(level_work(level) // 4)
    losses, weights = {"style": 0.1 / (made + 1), "content": 0.2, "tv": 0.3}, {"style": 1000, "content": 2, "tv": 50}
    picture.show_losses(LossRecord(number + 1, made * 5, losses, weights, 10 / (made + 1), made * 3.0))
    picture.show_canvas(level, made)


def ask(address, path="", method="GET", **headers):
    """Status and body of an answer; headers replace those of a browser that asks for its own page."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    usual = {"Host": parts.netloc, "Origin": f"http://{parts.netloc}", "Sec-Fetch-Site": "same-origin"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    for name in [name for name, value in (usual | named).items() if value is None]:
        usual.pop(name, None)
        named.pop(name)
    connection.request(method, parts.path + path, headers=usual | named)
    answer = connection.getresponse()
    try:
        return answer.status, answer.read()
    finally:
        connection.close()


def test_the_usual_port_is_left_out():
    """On port 80 browsers name the host alone, and so does the address."""
    try:
        with served(Board("a.tif"), 80) as address:
            assert address.startswith("http://127.0.0.1/")
            assert ask(address)[0] == ask(address, Host="localhost", Origin="http://localhost")[0] == 200
            assert ask(address, Host="localhost:81")[0] == 403
    except SettingsError:
        pytest.skip("port 80 is not ours, or taken")


def test_only_our_own_page_gets_an_answer():
    """Without the token, under another name, from another page, and for anything else, a request is refused."""
    with under_way() as (board, _, address):
        origin = address.rsplit("/", 2)[0]
        assert ask(address)[0] == 200
        assert ask(address, Origin=None, Sec_Fetch_Site="none")[0] == 200  # typed in
        assert ask(f"{origin}/")[0] == ask(f"{origin}/{'x' * 32}/")[0] == ask(f"{origin}/%C3%A9/")[0] == 403
        assert ask(address, Host="evil.example")[0] == 403  # a name of theirs that leads here
        assert ask(address, Origin="http://evil.example")[0] == 403
        assert ask(address, Sec_Fetch_Site="cross-site")[0] == 403
        assert ask(address, "stop", "POST", Origin=None)[0] == 403
        assert ask(address, "stop", "POST", Origin="null")[0] == 403
        for path in (
            "..",
            "tile/1/1/0/0_9.jpg",
            "tile/1/x/0/a_b.jpg",
            "tile/1/1/9/0_0.jpg",
            "losses/7",
            "picture/x",
            "a/b",
        ):
            assert ask(address, path)[0] == 404, path
        assert ask(address, "start", "POST")[0] == 404
        assert ask(address, "", "PUT")[0] == 501
        assert not board.stopping


def test_answers_are_not_kept_and_not_framed():
    """Headers forbid caches, frames and guessing of types; the page's policy is as strict as that of others."""
    with under_way() as (_, picture, address):
        paint_round(picture, 0, 0)
        with urlopen(address) as answer:
            page = answer.read().decode()
            found = {
                name: answer.headers[name] for name in ("Cache-Control", "X-Frame-Options", "X-Content-Type-Options")
            }
        assert found == {"Cache-Control": "no-store", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff"}
        assert "default-src 'none'; img-src 'self' data:; connect-src 'self'; script-src 'sha256-" in page


def test_tiles_are_those_of_the_newest_canvas():
    """A tile has the pixels of the newest canvas; that of a coarse level is enlarged to the painting's size."""
    with under_way() as (_, picture, address):
        paint_round(picture, 1, 3)
        status, stored = ask(address, "tile/1/1/2/1_0.jpg")
        shown = np.asarray(Image.open(io.BytesIO(stored))).astype(int)
        assert (status, shown.shape) == (200, (514, 516, 3))  # laps over its neighbors
        assert abs(shown - painting(900, 1200, seed=3)[:514, 510:1026]).mean() < 6
        paint_round(picture, 0, 1)
        edge = np.asarray(Image.open(io.BytesIO(ask(address, "tile/1/1/2/2_1.jpg")[1])))
        assert edge.shape == (390, 178, 3)
        coarse = Image.fromarray(painting(LEVELS[0].height, LEVELS[0].width, seed=1)).resize((1200, 900))
        assert abs(edge.astype(int) - np.asarray(coarse)[510:, 1022:]).mean() < 12


def test_a_whole_canvas_is_looked_at_once_a_round(monkeypatch):
    """What is too large for a tile comes from an overview, which reads a few rows, once."""
    for room in ("live", "overview"):
        monkeypatch.setattr(f"muralist.pipeline.viewer.{room}.LARGEST", 600)
    with under_way() as (_, picture, address):
        paint_round(picture, 1, 2)
        monkeypatch.setattr("muralist.pipeline.viewer.live.OVERVIEW", 300)
        whole = np.asarray(Image.open(io.BytesIO(ask(address, "tile/1/1/0/0_0.jpg")[1])))
        assert whole.shape == (225, 300, 3)
        small = np.asarray(Image.fromarray(painting(900, 1200, seed=2)).resize((300, 225), Image.Resampling.BOX))
        assert abs(whole.astype(int).mean((0, 1)) - small.mean((0, 1))).max() < 3
        ask(address, "tile/1/1/1/0_0.jpg")
        assert picture.canvases[1, 2].read_pixels == 225 * 1200


def test_a_small_canvas_is_read_once_a_round():
    """All tiles of a canvas that is no larger than its overview come from that, with all its pixels."""
    with under_way() as (board, picture, address):
        paint_round(picture, 0, 2)
        before = board.budget.spent
        tiles = [ask(address, f"tile/1/1/2/{col}_{row}.jpg") for col in (0, 1, 2) for row in (0, 1)]
        assert {status for status, *_ in tiles} == {200}
        assert picture.canvases[0, 2].read_pixels == 225 * 300
        corner = np.asarray(Image.open(io.BytesIO(tiles[0][1]))).astype(int)
        wanted = Image.fromarray(painting(225, 300, seed=2)).resize((1200, 900), Image.Resampling.BILINEAR)
        assert abs(corner - np.asarray(wanted)[:514, :514]).mean() < 4
        assert board.budget.spent > before  # whatever is served counts


def test_a_canvas_that_was_removed_is_no_error():
    """A tile of a canvas whose files are gone is not found, and the page goes on."""
    with under_way() as (_, picture, address):
        paint_round(picture, 0, 0)
        picture.read_canvas = lambda *_: (_ for _ in ()).throw(FileNotFoundError())
        assert ask(address, "tile/1/1/0/0_0.jpg")[0] == 404
        assert ask(address)[0] == 200


def test_the_budget_counts_the_time_of_the_processor(monkeypatch):
    """Beyond a hundredth of the time, and some seconds, canvases are not told any more."""
    budget = Budget()
    assert budget.left
    with budget.counted():
        np.linalg.svd(np.random.default_rng(0).random((60, 60)))
    assert budget.left
    assert budget.spent > 0
    monkeypatch.setattr("muralist.pipeline.viewer.live.GRACE_SECONDS", 0)
    monkeypatch.setattr("muralist.pipeline.viewer.live.SHARE", 1e-9)
    assert not budget.left
    with under_way() as (board, picture, _):
        board.pages.add(1)
        with board.budget.counted():
            sum(range(10_000))
        paint_round(picture, 0, 0)
        paint_round(picture, 0, 1)
        assert picture.state()["version"] == 1  # the first, which a page cannot do without
        monkeypatch.setattr("muralist.pipeline.viewer.live.SHARE", 1)
        paint_round(picture, 0, 2)
        assert picture.state()["version"] == 2
        board.pages.clear()
        paint_round(picture, 0, 3)
        assert picture.state()["version"] == 2  # nobody looks


def test_time_left_is_told_level_by_level():
    """What is left of each level follows from how fast the work so far was done; what an earlier run did is not new."""
    with under_way() as (_, picture, _):
        assert picture.state()["left"] == [None, None]
        picture.skip(level_work(LEVELS[0]))  # by an earlier run
        paint_round(picture, 1, 0)
        assert picture.state()["left"] == [None, None]
        picture.pace._began -= 10
        picture.advance(level_work(LEVELS[1]) // 2)
        done, left = picture.state()["left"]
        assert done == 0
        assert left == pytest.approx(10, rel=0.1)


def test_buttons_end_a_level_or_the_command():
    """A level's rest is left out if it is still that level; the command ends after a round as by Ctrl-C."""
    with under_way() as (board, picture, address):
        paint_round(picture, 0, 0)
        assert ask(address, "leave/1/1", "POST")[0] == 204  # not the one that is painted
        assert not picture.ends_level(LEVELS[0])
        paint_round(picture, 0, 1)
        picture.pace._began -= 10
        rest, later = picture.state()["left"]
        assert rest == pytest.approx(30, rel=0.1)
        assert ask(address, "leave/1/0", "POST")[0] == 204
        assert picture.ends_level(LEVELS[0])
        assert picture.state()["left"] == [0, pytest.approx(later, rel=0.1)]
        picture.skip(level_work(LEVELS[0]) * 3 // 4)
        assert picture.state()["left"] == [0, pytest.approx(later, rel=0.1)]  # the rest was not quick, but left out
        assert not picture.ends_level(LEVELS[1])
        assert ask(address, "stop", "POST")[0] == 204
        assert board.stopping
        with pytest.raises(KeyboardInterrupt):
            paint_round(picture, 0, 1)
        paint_round(picture, 0, 2)  # of another picture, while the command ends: nothing interrupts that


def test_the_button_ends_a_command_that_ignores_ctrl_c(monkeypatch):
    """A command in the background of a script ignores SIGINT; it gets SIGTERM."""
    sent = []
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_IGN)
    monkeypatch.setattr(os, "kill", lambda process, number: sent.append((process, number)))
    board = Board("b")
    board.end_command()
    board.end_command()
    assert sent == [(os.getpid(), signal.SIGTERM)]


def serve(port, host="127.0.0.1"):
    """Serve a page for a moment."""
    with served(Board("b"), port, host):
        pass


def test_a_port_in_use_is_told():
    """A port that is taken, and a host that is not here, are errors with what to do."""
    with served(Board("a"), 0) as address:
        port = urlsplit(address).port
        with pytest.raises(SettingsError, match=rf"--live: .*port {port} .*; name another port", check=having(OSError)):
            serve(port)
    with pytest.raises(SettingsError, match=r"--live: .*port 0 of 192\.0\.2\.1 .*--live-host$"):
        serve(0, "192.0.2.1")
    with pytest.raises(SettingsError, match=r"--live: .*port 0 of here\\x00", check=having(TypeError)):
        serve(0, "here\0")


def test_what_others_can_reach_is_warned_of(monkeypatch, caplog):
    """Addresses beyond this machine are told as such; without a port nothing is served."""
    assert [is_open(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "10.1.2.3", "here.example")] == [
        *(False, False, False),
        *(True, True, True),
    ]
    caplog.set_level("INFO", "muralist")
    monkeypatch.setattr(module, "is_open", lambda host: True)
    with open_live("a", 0, "127.0.0.1") as board:
        assert board.title == "a"
    assert caplog.messages[0].startswith("live at http://127.0.0.1:")
    assert caplog.messages[1].startswith("anybody who can reach 127.0.0.1 and knows this address can see the paintings")
    with open_live("a", None, "127.0.0.1") as board:
        assert board is None
    assert len(caplog.messages) == 2


def test_a_render_is_shown_while_it_paints(scheduler, tmp_path, caplog):
    """While a painting is painted its page is there, with its canvas; a level left early is in the record."""
    save(tmp_path / "photo.png", photograph())
    save(tmp_path / "style.png", painting())
    seen = {}

    def look(address):
        with urlopen(f"{address}events/1", timeout=60) as events:
            for line in events:
                state = json.loads(line[6:]) if line.startswith(b"data: {") else {}
                picture = state.get("picture")
                if picture and picture["version"] and "tile" not in seen:
                    seen["tile"] = ask(address, "tile/1/1/0/0_0.jpg")
                    seen["workers"] = state["workers"]
                    seen["left"] = ask(address, f"leave/1/{picture['level']}", "POST")[0]
                if line.startswith(b"event: end"):
                    seen["ended"] = True

    threads = []

    class Told(logging.Handler):
        def emit(self, record):
            if record.msg == "live at %s":
                threads.append(threading.Thread(target=look, args=record.args))
                threads[0].start()

    caplog.set_level("INFO", "muralist")
    logger, told = logging.getLogger("muralist"), Told()
    logger.addHandler(told)
    settings = TINY | {"scheduler": scheduler, "steps": [200, 2], "steps_per_round": 2}
    try:
        sidecar = render(tmp_path / "photo.png", tmp_path / "style.png", tmp_path / "out.png", live=0, **settings)
    finally:
        logger.removeHandler(told)
    threads[0].join(60)
    assert (seen["tile"][0], seen["left"], seen["ended"]) == (200, 204, True)
    assert np.asarray(Image.open(io.BytesIO(seen["tile"][1]))).shape == (96, 128, 3)
    assert len(seen["workers"]) == 1
    assert (sidecar["levels"][0]["ended"], sidecar["levels"][1]["ended"]) == ("asked", "steps")
    assert sidecar["levels"][0]["steps"] < 200


@needs_chromium
def test_the_page_in_a_browser():
    """Before the first canvas the page waits; then it shows each new one, losses, levels, workers and notices."""
    with under_way() as (board, picture, address), chromium() as browser, visit(browser, address) as seen:
        page = seen.page
        page.get_by_text("Reading and measuring.").wait_for()
        paint_round(picture, 0, 0)
        page.locator("#map img.leaflet-tile-loaded").first.wait_for()
        paint_round(picture, 0, 1)
        paint_round(picture, 0, 2)
        page.locator("#chart path.total").first.wait_for()
        page.locator(f"#map img[src*='tile/1/{picture.state()['version']}/']").first.wait_for()
        page.get_by_text("worker 1: paints tile 5 of level 2").wait_for()
        assert page.inner_text("#notices") == "a <b>notice</b>"
        assert "% painted, about" in page.inner_text("#left")
        assert page.locator("#level-rows tr.now th").inner_text() == "300 x 225"
        shown = seen.pixels((300, 200, 8, 8)).astype(int)
        assert shown.std() > 1
        page.get_by_role("button", name="Finish this level now").click()
        page.get_by_role("button", name="Finishing this level").wait_for()
        assert picture.ends_level(LEVELS[0])
        page.get_by_role("button", name="Stop after this round").click()
        page.get_by_role("button", name="Stopping after this round").wait_for()
        assert board.stopping
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280


@pytest.mark.parametrize(
    ("total", "error", "told"),
    [
        (1, None, "The painting is finished."),
        (3, None, "This command has ended."),
        (1, KeyboardInterrupt(), "This command was stopped. Run it again to resume."),
        (1, SystemExit(130), "This command was stopped. Run it again to resume."),
        (3, OutputError("out: the disk is full"), "This command has failed: out: the disk is full"),
        (1, ZeroDivisionError("by\n0"), "This command has failed: by 0"),
    ],
)
def test_pages_say_how_a_command_ended(total, error, told):
    """Whether it is done, was stopped or failed."""
    with (
        suppress(KeyboardInterrupt, SystemExit, OutputError, ZeroDivisionError),
        under_way(total=total) as (_, _, address),
    ):
        events = urlopen(f"{address}events/1", timeout=60)
        if error is not None:
            raise error
    with events:
        last = [line for line in events if line.startswith(b"data: ")][-1]
    assert json.loads(last[6:]) == {"outcome": told}


@needs_chromium
def test_a_lost_connection_is_told():
    """A page whose command was killed or is out of reach says so, until it answers again."""
    with chromium() as browser, under_way() as (_, picture, address), visit(browser, address) as seen:
        page, events = seen.page, "**/events/1"
        paint_round(picture, 0, 0)
        page.route(events, lambda route: route.fulfill(content_type="text/event-stream", body="retry: 100\n\n"))
        page.reload()
        page.get_by_text("No connection to the command").wait_for()
        assert [page.locator(button).is_disabled() for button in ("#leave", "#stop")] == [True, True]
        page.unroute(events)
        page.get_by_text("No connection to the command").wait_for(state="hidden")
        assert [page.locator(button).is_disabled() for button in ("#leave", "#stop")] == [False, False]


@needs_chromium
def test_a_page_stays_when_its_command_has_ended():
    """It shows what there was, without buttons, times left or links that nobody would answer."""
    with chromium() as browser, ExitStack() as command:
        _, picture, address = command.enter_context(under_way(total=3))
        paint_round(picture, 0, 0)
        with visit(browser, address) as seen:
            page = seen.page
            page.locator("#pictures-under-way a").wait_for()
            page.locator("#map img.leaflet-tile-loaded").first.wait_for()
            command.close()
            page.get_by_text("This command has ended").wait_for()
            assert page.locator("a").count() == 0
            assert page.locator("#panel button:visible").count() == 0
            assert set(page.locator("#level-rows td:last-child").all_inner_texts()) == {""}
            assert page.locator("#pictures-under-way li").count() == 1


@needs_chromium
def test_the_page_of_a_batch_in_a_browser():
    """The page of a batch counts its pictures, and goes on to the next one when its own has ended."""
    with under_way(total=5) as (board, first, address), chromium() as browser:
        phone = {"width": 390, "height": 844, "color_scheme": "dark"}
        with visit(browser, address, **phone) as seen:
            board.tell(Result("a", "b", "failed"))
            paint_round(first, 0, 0)
            with shown_live(board, "second.png", LEVELS, Progress(), Workers(), 2) as second:
                second.watch(Canvas, [])
                paint_round(second, 0, 1)
                seen.page.get_by_text("1 failed · 2 under way · 2 waiting").wait_for()
                names = seen.page.locator("#pictures-under-way a").all_inner_texts()
                assert [name.split(",")[0] for name in names] == ["poster.tif", "second.png"]
                seen.page.locator("#map img.leaflet-tile-loaded").first.wait_for()
                board.remove(first)
                seen.page.get_by_role("heading", name="second.png").wait_for()
                seen.page.locator("#map img.leaflet-tile-loaded").first.wait_for()
                assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390
