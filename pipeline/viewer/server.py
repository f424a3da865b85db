"""Serves the live page to browsers on this machine that know its address.

The address contains a random token. Requests without it, from other sites' pages (judged by `Origin`, `Sec-Fetch-Site`
and `Host`) and for anything else are refused. Changes are sent as server-sent events, at most once a second.
"""

import errno
import ipaddress
import json
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from socketserver import TCPServer
from typing import Any, Final
from urllib.parse import urlsplit

from ...model.errors import printable
from ..complaints import one_line
from ..console import LOG
from ..errors import SettingsError
from ..levels import Level
from ..progress import Progress
from ..workers.cluster import Cluster
from .live import Board, LivePicture
from .pages import render_page
from .pyramid import OVERLAP, TILE, level_count

LOCAL: Final = "127.0.0.1"
SECOND: Final = 1.0  # between two looks at what changed
HEARTBEAT_SECONDS: Final = 15.0  # after which a page that is gone is found out
LONGEST_BODY: Final = 1024
HTTP_PORT: Final = 80  # which browsers leave out
SCRIPTS: Final = ("leaflet.js", "loupe.js", "chart.js", "live.js")
SCRIPTS_BEFORE: Final = ("chart.js", "live.js")  # while there is no canvas yet


@contextmanager
def served(board: Board, port: int, host: str = LOCAL) -> Iterator[str]:
    """Serve the page of a board while a block lasts; give its address.

    Parameters
    ----------
    port : int
        0 for any that is free.
    host : str
        Address of this machine to listen on; others than that of the machine itself are seen from outside.

    Raises
    ------
    SettingsError
        If the port is in use, or the host is not this machine's or no name of one.
    """
    try:
        server = _Server(host, port, board)
    except (OSError, OverflowError, TypeError) as error:  # TypeError: no name, such as one with NUL
        number = getattr(error, "errno", None)
        reason = "it is in use" if number == errno.EADDRINUSE else getattr(error, "strerror", None) or error
        advice = "name another port, or none for a free one"
        if isinstance(error, TypeError) or number not in (None, errno.EADDRINUSE, errno.EACCES):
            advice = "name an address of this machine with --live-host"
        raise SettingsError(f"--live: cannot listen on port {port} of {host} ({reason}); {advice}") from error
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True)
    thread.start()
    try:
        yield f"http://{server.name}/{server.token}/"
    except (KeyboardInterrupt, SystemExit):
        board.outcome = "This command was stopped. Run it again to resume."
        raise
    except Exception as error:
        board.outcome = f"This command has failed: {printable(one_line(str(error)))}"
        raise
    finally:
        server.ending.set()
        server.shutdown()
        server.server_close()


@contextmanager
def open_live(title: str, port: int | None, host: str, total: int = 1) -> Iterator[Board | None]:
    """Serve a page of paintings under way while a block lasts, and log its address; nothing without a port.

    Raises
    ------
    SettingsError
        As `served`.
    """
    if port is None:
        yield None
        return
    board = Board(title, total)
    with served(board, port, host) as address:
        LOG.info("live at %s", address)
        if is_open(host):
            LOG.warning(
                "anybody who can reach %s and knows this address can see the paintings and stop them; nothing is "
                "encrypted",
                host,
            )
        yield board


@contextmanager
def shown_live(
    board: Board | None, name: str, levels: Sequence[Level], inner: Progress, workers: Cluster, number: int = 1
) -> Iterator[Progress]:
    """Show a painting on a page while a block lasts, if there is one; give what the painting is to tell."""
    if board is None:
        yield inner
        return
    board.workers = workers
    picture = board.add(name, levels, inner, number)
    try:
        yield picture
    finally:
        board.remove(picture)


def is_open(host: str) -> bool:
    """Say whether other machines can reach what listens on a host's address."""
    with suppress(ValueError):
        return not ipaddress.ip_address(host).is_loopback
    return host != "localhost"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, port: int, board: Board) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)
        self.board, self.token, self.ending = board, secrets.token_urlsafe(24), threading.Event()
        shown = f"[{host}]" if ":" in host else host
        self.port = "" if self.server_address[1] == HTTP_PORT else f":{self.server_address[1]}"
        self.name = f"{shown}{self.port}"

    def server_bind(self) -> None:
        """Listen, without asking the network for this machine's name as `HTTPServer` does."""
        TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors: a browser that disconnects is not an error, and no request may stop a painting."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "muralist", ""
    timeout = 60
    server: _Server

    def log_message(self, *_: Any) -> None:
        """Say nothing: standard error belongs to the progress bars."""

    def do_GET(self) -> None:
        """Serve the page, its events, a tile, or the losses of a painting."""
        if (path := self._allowed()) is None:
            return
        match path.split("/"):
            case ["events", number] if number.isdigit():
                self._events(int(number))
            case parts:
                with self.server.board.budget.counted():
                    self._answer(parts)

    def _answer(self, parts: list[str]) -> None:
        match parts:
            case [""]:
                self._page(None)
            case ["picture", number] if number.isdigit():
                self._page(int(number))
            case ["losses", number] if number.isdigit() and int(number) in self.server.board.pictures:
                self._send("application/json", json.dumps(self.server.board.losses(int(number))).encode())
            case ["tile", number, _, zoom, name]:
                self._tile(number, zoom, name)
            case _:
                self._refuse(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """Do what a button says."""
        with suppress(ValueError):
            self.rfile.read(max(0, min(LONGEST_BODY, int(self.headers.get("Content-Length") or 0))))
        if (path := self._allowed()) is None:
            return
        board = self.server.board
        match path.split("/"):
            case ["stop"]:
                board.stopping = True
            case ["leave", number, level] if number.isdigit() and level.isdigit():
                if picture := board.pictures.get(int(number)):
                    picture.leave_level(int(level))
            case _:
                self._refuse(HTTPStatus.NOT_FOUND)
                return
        self._send("text/plain", b"", HTTPStatus.NO_CONTENT)

    def _allowed(self) -> str | None:
        """What is asked for, below the token; None, and refused, if it is not from our own page or address bar."""
        headers, ours = self.headers, self.server.name
        origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site")
        token, _, path = urlsplit(self.path).path.removeprefix("/").partition("/")
        hosts = {ours, f"localhost{self.server.port}"}
        from_us = headers.get("Host") in hosts or is_open(str(self.server.server_address[0]))
        from_us &= origin in (None, f"http://{headers.get('Host')}") and site in (None, "none", "same-origin")
        from_us &= self.command == "GET" or origin is not None
        if from_us and secrets.compare_digest(token.encode(), self.server.token.encode()):
            return path
        self._refuse(HTTPStatus.FORBIDDEN)
        return None

    def _refuse(self, status: HTTPStatus) -> None:
        self._send("text/plain", status.phrase.encode(), status)
        self.close_connection = True

    def _send(self, kind: str, body: bytes, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        self._send_rules()
        self.wfile.write(body)

    def _send_rules(self) -> None:
        """Send headers that restrict what browsers do with a response. The page has its own policy."""
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.end_headers()

    # ------------------------------------------------------------------------------------------------------- answers

    def _page(self, number: int | None) -> None:
        board = self.server.board
        found = board.pictures.copy()
        picture = found.get(number) if number is not None else next(iter(sorted(found.items())), (0, None))[1]
        data: dict[str, Any] = {"base": f"/{self.server.token}/", "number": picture.number if picture else 0}
        ready = picture is not None and picture.state()["version"] > 0
        if picture is not None:
            data |= _shown(picture, f"/{self.server.token}/")
        page = render_page(
            "live.html",
            SCRIPTS if ready else SCRIPTS_BEFORE,
            data,
            images="'self' data:",
            connect="'self'",
            title=f"{board.title} · muralist",
            name=board.title if picture is None else picture.name,
            levels=picture.levels if picture else [],
            ready=ready,
            labels=["Painting"],
            batch=board.total > 1,
            version=version("muralist"),
        )
        self._send("text/html; charset=utf-8", page)

    def _tile(self, number: str, zoom: str, name: str) -> None:
        col, _, row = name.removesuffix(".jpg").partition("_")
        picture = self.server.board.pictures.get(int(number)) if number.isdigit() else None
        if picture is None or not (zoom.isdigit() and row.isdigit() and col.isdigit()):
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        try:
            tile = picture.tile(int(zoom), int(row), int(col))
        except OSError:  # the canvas of a round that was removed meanwhile; the next one is told soon
            tile = None
        if tile is None:
            self._refuse(HTTPStatus.NOT_FOUND)
        else:
            self._send("image/jpeg", tile)

    def _events(self, number: int) -> None:
        """Tell what changes until the page is closed, or the command has ended."""
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self._send_rules()
        self.close_connection = True
        board, last, told = self.server.board, b"", time.monotonic()
        board.pages.add(threading.get_ident())
        try:
            while not self.server.ending.is_set():
                with board.budget.counted():
                    picture = board.pictures.get(number)
                    state = json.dumps({"picture": picture and picture.state(), **board.state()}).encode()
                if state != last or time.monotonic() - told > HEARTBEAT_SECONDS:
                    self.wfile.write(b"data: " + state + b"\n\n")
                    last, told = state, time.monotonic()
                self.server.ending.wait(SECOND)
            self.wfile.write(b"event: end\ndata: " + json.dumps({"outcome": board.outcome}).encode() + b"\n\n")
        finally:
            board.pages.discard(threading.get_ident())


def _shown(picture: LivePicture, base: str) -> dict[str, Any]:
    """What the viewer needs of a painting."""
    height, width = picture.size
    version = picture.state()["version"]
    tiles = {
        "path": f"{base}tile/{picture.number}/{version}",
        "extension": "jpg",
        "levels": level_count(height, width),
    }
    sizes = {"height": height, "width": width, "dpi": None, "tile": TILE, "overlap": OVERLAP}
    return {**sizes, "right": tiles, "left": None}
