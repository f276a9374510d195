"""The faulty link does what it says: else the tests behind it prove nothing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.client.link import Faults, Link


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that sends back what it gets."""
    server = socket.create_server(("127.0.0.1", 0))

    def talk(connection: socket.socket) -> None:
        with connection:
            try:
                while piece := connection.recv(65536):
                    connection.sendall(piece)
            except OSError:
                return

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    server.close()


def heard(port: int, said: bytes, seconds: float = 5) -> bytes:
    """What comes back until the connection ends, is reset, or keeps silent."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        try:
            connection.sendall(said)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                answer += piece
        except OSError:
            pass
    return answer


def test_a_good_link_passes_all(echo: int) -> None:
    said = bytes(range(256)) * 2000
    with Link("127.0.0.1", echo) as link:
        assert heard(link.port, said) == said
        assert not link.happened


def test_it_refuses_and_comes_up_again(echo: int) -> None:
    with Link("127.0.0.1", echo) as link:
        link.down()
        assert heard(link.port, b"word") == b""
        link.up()
        assert heard(link.port, b"word") == b"word"
        link.faults = Faults(drop=1)
        assert heard(link.port, b"word") == b""
        assert link.happened["refused"] == 2


def test_it_cuts_in_the_middle_of_what_is_said(echo: int) -> None:
    said = b"x" * 100_000
    with Link("127.0.0.1", echo, seed=1, faults=Faults(cut=1)) as link:
        assert len(heard(link.port, said)) < 20_000
        assert link.happened["cut"] == 1


def test_it_swallows_large_frames_in_silence(echo: int) -> None:
    with Link("127.0.0.1", echo, faults=Faults(swallow_over=1_000)) as link:
        assert heard(link.port, b"small") == b"small"
        assert heard(link.port, b"x" * 5_000, seconds=0.3) == b""
        assert link.happened["swallowed"] == 1


def test_a_later_connection_may_overtake(echo: int) -> None:
    order: list[bytes] = []

    def ask(word: bytes) -> None:
        order.append(heard(link.port, word))

    with Link("127.0.0.1", echo, faults=Faults(reorder=1)) as link:
        first = threading.Thread(target=ask, args=(b"first",))
        first.start()
        while not link.happened["overtaken"]:
            time.sleep(0.01)
        link.faults = Faults()
        ask(b"second")
        first.join()
    assert order == [b"second", b"first"]
