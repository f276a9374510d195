"""One round: send what changed here, take what changed there, prove that both are equal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from logomesh_client.file import LogoMeshFile, Push, State
from logomesh_client.file.links import ROLLED_BACK
from logomesh_client.sync.proving import Verdict, prove
from logomesh_client.sync.states import ONLINE, Standing, after
from logomesh_client.sync.turns import turn
from logomesh_client.wire.errors import CutOff, Problem, TimedOut, WireError
from logomesh_client.wire.feed import PushAnswer, Scope

_MOST_TURNS = 4
"""How often a round sends again what the pull set free, before it leaves the rest to the next round."""
_MOST_CUTS = 4
"""How often in a round a pull is begun again, each time with an eighth of the page."""
_WORTH_WORKING_AHEAD = 50
"""Changes in a push during which the next one is worked out; over a bad line there are few, and time."""
_TOO_MUCH = frozenset({"push-too-large", "body-too-large", "malformed"})


class Pull(Protocol):
    """What `Server.changes` gives: the changes, and at their end where they lead."""

    cursor: str
    head: int
    epoch: str
    more: bool

    def begin(self) -> None: ...

    def close(self) -> None: ...

    def __iter__(self) -> Iterator[dict[str, Any]]: ...


class Server(Protocol):
    """What a round asks of a server; `logomesh_client.wire.Server` has it."""

    def changes(self, space: str, cursor: str | None = None, *, scope: Scope = None) -> Pull: ...

    def push(self, space: str, epoch: str | None, seen: int, changes: list[dict[str, Any]]) -> PushAnswer: ...

    def fetch(self, space: str, ids: list[tuple[str, str]]) -> list[dict[str, Any]]: ...

    def digest(self, space: str, sector: int | None = None, *, scope: Scope = None) -> dict[str, Any]: ...


@dataclass
class SpaceReport:
    """What a round did for one space."""

    space: str
    sent: int = 0
    merged: int = 0
    conflicts: int = 0
    refused: int = 0
    received: int = 0
    proved: bool | None = None
    """Whether the copies proved equal; None: not compared, something is still under way."""
    state: State = State.ONLINE
    reason: str = ""
    request_id: str = ""
    """Of the request that went wrong: it finds what happened in the server's log."""
    retry_after: float | None = None
    sign_in: bool = False
    """Whether the token does not count any more."""
    put_aside: int = 0


@dataclass
class Report:
    spaces: list[SpaceReport] = field(default_factory=list)

    @property
    def state(self) -> State:
        """The worst state of all spaces."""
        order = list(State)
        return max((space.state for space in self.spaces), key=order.index, default=State.ONLINE)

    @property
    def proved(self) -> bool:
        """Whether every space was compared with the server's and is equal."""
        return bool(self.spaces) and all(space.proved for space in self.spaces)

    @property
    def got_through(self) -> bool:
        """Whether any space could be exchanged in full."""
        return any(space.state in (State.ONLINE, State.ATTENTION) for space in self.spaces)

    @property
    def received(self) -> int:
        return sum(space.received for space in self.spaces)

    @property
    def sent(self) -> int:
        return sum(space.sent for space in self.spaces)


def sync_once(
    file: LogoMeshFile,
    server: Server,
    spaces: Iterable[str] | None = None,
    *,
    layout: bool = True,
    proof: bool = True,
    new_identity: Callable[[], Server] | None = None,
) -> Report:
    """Bring the spaces of a file (all that are not lost, unless named) in step with their server.

    Never raises for what a network or a server may do: each space's state says it, here and in the file.
    `layout=False` leaves mere moves for later. `new_identity` is called when the server finds that another
    copy of this file has used its token: it gives a server for a token of our own.
    """
    report = Report()
    named = None if spaces is None else set(spaces)
    with turn(file.file_id):
        file.refresh()
        for link in file.links():
            if link.state is State.ACCESS_LOST or (named is not None and link.space not in named):
                continue
            one = _Round(file, server, link.space, layout, proof, new_identity)
            report.spaces.append(one.run())
            server = one.server
    return report


_Asked = tuple[Pull, dict[str, Any]]
"""A page, and the filter that it was asked for with."""


class _Round:
    def __init__(
        self, file: LogoMeshFile, server: Server, space: str, layout: bool, proof: bool,
        new_identity: Callable[[], Server] | None,
    ) -> None:  # fmt: skip
        self.file, self.server, self.space = file, server, space
        self.layout, self.proof, self.new_identity = layout, proof, new_identity
        self.report = SpaceReport(space)
        self.verdict: Verdict | None = None
        self.limit = 1_000
        self._emptied = 0
        """How many pushes had room for more. After two, all that was noted before the round is sent."""
        self._following: _Asked | None = None
        """The next page, on its way already."""

    def run(self) -> SpaceReport:
        try:
            standing = self._patiently()
        except WireError as error:
            standing = after(error)
            self.report.request_id = error.request_id
            if standing.state is State.ACCESS_LOST:
                self.report.put_aside = self.file.put_aside(self.space, "access-revoked")
        self.file.set_state(self.space, standing.state, standing.reason, contact=standing.answered)
        self.report.state, self.report.reason = standing.state, standing.reason
        self.report.retry_after, self.report.sign_in = standing.retry_after, standing.sign_in
        return self.report

    def _patiently(self) -> Standing:
        """A round, with the one repair of a cursor that cannot be continued."""
        for _ in range(3):
            try:
                return self._turns()
            except Problem as problem:
                if problem.type != "cursor-expired":
                    raise
                self._repair(problem)
        return self._turns()

    def _repair(self, problem: Problem) -> None:
        reason = problem.reason or "foreign"
        if reason == "cloned" and self.file.is_ahead(self.space):
            self._have_forgotten()
            return
        if reason == "cloned" and self.new_identity is not None:
            self.server, self.new_identity = self.new_identity(), None
            return  # it goes on with its cursor and loses nothing
        if reason == ROLLED_BACK:
            self.file.resend(self.space)
        self.file.begin_anew(self.space, reason)

    def _have_forgotten(self) -> None:
        """No copy of the file was here before: we ended ourselves between two pages. A pull without a cursor
        has the server forget how far it was asked; then the file's cursor is good again."""
        pull = self.server.changes(self.space)
        next(iter(pull), None)
        pull.close()
        self.file.set_ahead(self.space, False)

    def _turns(self) -> Standing:
        trouble: Standing | None = None
        for _ in range(_MOST_TURNS):
            if self.file.link(self.space).pulled:
                trouble = self._push() or trouble
            self._pull()
            if self.file.link(self.space).anew:  # what the server lost, or forgot that it deleted
                prove(self.file, self.server, self.space)
            if trouble or self._next() is None:
                break
        settled = not (self.file.unsent(self.space) or self.file.scope_changed(self.space))
        if trouble is None and self.proof and settled:
            self.verdict = prove(self.file, self.server, self.space)
            self.report.proved = self.verdict.equal
        return trouble or self._standing()

    def _next(self) -> Push | None:
        """The next push, as large as the network bears.

        Moves that are made during the round wait for the next one: a canvas that never rests would keep this
        one from ending.
        """
        return self.file.pending(self.space, self._room(), self._moves)

    @property
    def _moves(self) -> bool:
        """Whether mere moves are sent now."""
        return self.layout and self._emptied < 2

    def _room(self) -> int:
        """How many changes a push may have."""
        pace = getattr(self.server, "push_pace", None)
        return min(self.limit, pace.size) if pace else self.limit

    def _standing(self) -> Standing:
        if self.verdict is not None and self.verdict.stuck:
            return Standing(
                State.ATTENTION,
                "This copy and the server's differ in the same place twice in a row. Nothing was changed;"
                " please report this, with what `logomesh doctor` says.",
            )
        refused = [one for one in self.file.waiting() if one.space == self.space and one.refused]
        if refused:
            first = refused[0]
            words = f"{first.type} {first.id!r}: {first.detail or first.reason}"
            more = f" ({len(refused) - 1} more)" if len(refused) > 1 else ""
            return Standing(State.ATTENTION, f"The server did not take a change. {words}{more}")
        return ONLINE

    # Sending

    def _push(self) -> Standing | None:
        """Send all that there is. Where the space takes nothing for now, pulling goes on: why is returned."""
        while (push := self._next()) is not None:
            room = self._room()
            try:
                answer = self._exchange(push)
            except Problem as problem:
                if problem.type in ("read-only", "space-archived"):
                    self.report.request_id = problem.request_id
                    return Standing(State.DEGRADED, str(problem))
                if problem.type not in _TOO_MUCH:
                    raise
                self._smaller(push, problem)
                continue
            self._take(push, answer.results)
            self._emptied += len(push.changes) < room
        return None

    def _exchange(self, push: Push) -> PushAnswer:
        """Send; where more will follow, work out meanwhile what that is."""
        most = getattr(getattr(self.server, "push_pace", None), "size", None)
        if most is None or len(push.changes) < max(most, _WORTH_WORKING_AHEAD):
            return self.server.push(push.space, push.epoch, push.seen, push.changes)
        with ThreadPoolExecutor(1, "sending") as other:
            sending = other.submit(self.server.push, push.space, push.epoch, push.seen, push.changes)
            self.file.prepare(self.space, len(push.changes) + most, self._moves)
            return sending.result()

    def _smaller(self, push: Push, problem: Problem) -> None:
        """A push that the server takes as a whole for too much: less at once, down to the change it is."""
        if len(push.changes) > 1:
            self.limit = max(1, len(push.changes) // 4)
            self.file.split(self.space)
            return
        error = {"type": problem.type, "title": problem.title, "detail": problem.detail}
        change = push.changes[0]
        self._take(push, [{"change_id": change["change_id"], "status": "rejected", "error": error}])

    def _take(self, push: Push, results: list[dict[str, Any]]) -> None:
        self.file.answered(self.space, push, results)
        for result in results:
            self.report.sent += 1
            self.report.merged += result["status"] == "merged"
            self.report.conflicts += result["status"] == "conflict"
            self.report.refused += result["status"] == "rejected"

    # Receiving

    def _pull(self) -> None:
        """Take all that is new. Where a page does not come through, the next ones are smaller."""
        cut = 0
        try:
            while True:
                link = self.file.link(self.space)
                pull, scope = self._following or self._ask(link.cursor)
                self._following = None
                try:
                    self.report.received += self.file.apply(
                        self.space, self._asking_on(pull), anew=bool(link.anew)
                    )
                except (CutOff, TimedOut) as error:
                    cut += 1
                    if cut > _MOST_CUTS or (isinstance(error, TimedOut) and not error.connected):
                        raise
                    continue
                self.file.advance(
                    self.space, cursor=pull.cursor, epoch=pull.epoch, head=pull.head, more=pull.more,
                    scope=scope,
                )  # fmt: skip
                if not pull.more:
                    return
        finally:
            if self._following is not None:
                self._following[0].close()
                self._following = None

    def _ask(self, cursor: str | None) -> _Asked:
        wanted = self.file.link(self.space).scope
        scope: Scope = wanted or None
        if cursor is not None and not self.file.scope_changed(self.space):
            scope = None  # the cursor has its own
        elif cursor is not None and scope is None:
            scope = "all"
        return self.server.changes(self.space, cursor, scope=scope), wanted

    def _asking_on(self, pull: Pull) -> Iterator[dict[str, Any]]:
        """The changes of a page; at its end the next one is asked for, while the file takes this one."""
        yield from pull
        if pull.more:
            if not self.file.is_ahead(self.space):
                self.file.set_ahead(self.space, True)
            self._following = self._ask(pull.cursor)
            self._following[0].begin()
