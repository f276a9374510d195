"""How things stand after what just happened: one table, from an outcome to a state and its words."""

from __future__ import annotations

from dataclasses import dataclass

from logomesh_client.file.links import State
from logomesh_client.wire.errors import CutOff, Problem, Unreachable, WireError


@dataclass(frozen=True)
class Standing:
    """A state, why, and when it is worth trying again."""

    state: State
    reason: str = ""
    retry_after: float | None = None
    """Seconds that the server asks to wait."""
    sign_in: bool = False
    """Whether the token does not count any more."""

    @property
    def answered(self) -> bool:
        """Whether the server was reached."""
        return self.state is not State.OFFLINE


ONLINE = Standing(State.ONLINE)
_SIGN_IN = frozenset({"unauthenticated", "device-revoked"})


def after(error: WireError) -> Standing:
    """Where an error leaves a space. What was not sent stays in the file in each of them."""
    if isinstance(error, Problem):
        words = str(error)
        if error.type == "access-revoked":
            return Standing(State.ACCESS_LOST, words)
        if error.type in _SIGN_IN:
            return Standing(State.ATTENTION, f"Sign in again: {words}", sign_in=True)
        if error.status in (403, 404):
            return Standing(State.ATTENTION, words)
        return Standing(State.DEGRADED, words, error.retry_after)
    if isinstance(error, Unreachable | CutOff):
        return Standing(State.OFFLINE, str(error), error.retry_after)
    return Standing(State.DEGRADED, str(error))
