"""What devices were refused lately, for those who look after them: kinds of errors, never what was sent."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, Final
from uuid import UUID

from django.db import Error, connection

from sync.push.storing import Stored
from sync.push.validating import Rejected
from workspaces.access import Caller, id_of
from workspaces.problems import NotFound, Problem

logger = logging.getLogger(__name__)

LATELY: Final = timedelta(days=7)

_NOTE: Final = """
    INSERT INTO sync_devicetrouble AS t (device_id, space_id, kind, times, at) VALUES (%s, %s, %s, %s, now())
    ON CONFLICT (device_id, space_id) DO UPDATE SET kind = excluded.kind, at = excluded.at,
        times = excluded.times + CASE WHEN t.at > excluded.at - interval '7 days' THEN t.times ELSE 0 END"""


def noting_refusals(view: Callable[..., Any]) -> Callable[..., Any]:
    """Around a view of a space: a refusal is noted at the device. That a space is not there is none."""

    @wraps(view)
    def noting(endpoint: Any, request: Any, space: str) -> Any:
        try:
            return view(endpoint, request, space)
        except NotFound:
            raise
        except Problem as problem:
            if problem.status < 500:
                _note(endpoint.caller, id_of(space), problem.type, 1)
            raise

    return noting


def note_rejected(caller: Caller, space_id: UUID, stored: Stored) -> None:
    """Note the changes of a push that could not be taken."""
    rejected = [result for result in stored.outcome.results if isinstance(result, Rejected)]
    if rejected:
        _note(caller, space_id, str(rejected[0].error["type"]), len(rejected))


def _note(caller: Caller, space_id: UUID, kind: str, times: int) -> None:
    """A push is committed by now, and a refusal stands: that it could not be noted changes no answer."""
    if caller.device_id is None:
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute(_NOTE, [caller.device_id, space_id, kind, times])
    except Error as error:
        logger.warning("A refusal could not be noted", exc_info=error)
