"""The HTTP face of sync. Each view decodes, calls and answers; the rules are elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import orjson
from django.db import transaction
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema

from sync import conflicts, digest, history, moving, searching, shapes, spaces
from sync.core.changes import CONFLICTS, time_in_feed_form
from sync.core.limits import DEFAULT_PAGE, MAX_CHANGES, MAX_INTEGER, MAX_PAGE
from sync.core.records import key_of
from sync.core.schema import RECORD_TYPES
from sync.models import Origin
from sync.problems import ChangeRejected, ConflictResolved, InvalidParameter, Malformed
from sync.pull import reading
from sync.pull.continuing import continued, forget
from sync.pull.cursors import Cursor, encode
from sync.pull.encoding import packed_answer, packed_stream
from sync.pull.scope import ALL, Scope
from sync.push import edit, push
from sync.push.announcing import answer
from sync.push.merging import Result
from sync.push.receiving import decode
from sync.push.storing import Stored
from sync.push.validating import Rejected
from sync.restoring import going_along
from sync.sql import cursor as sql_cursor
from sync.tables import TABLES
from sync.troubles import note_rejected, noting_refusals
from workspaces import actions
from workspaces.access import Caller, OpenSpace, open_space, visible_spaces
from workspaces.endpoint import BadRequest, Endpoint, choice_in, json_answer, json_body, text_in
from workspaces.ids import uuid7
from workspaces.models import SpaceKind, Workspace
from workspaces.problems import NotFound
from workspaces.roles import Act

NDJSON = "application/x-ndjson"
PROBLEM = OpenApiResponse(shapes.Problem, description="What went wrong, where, and what to do (RFC 9457).")
IN_SPACE = [
    OpenApiParameter("type", str, required=True, enum=[*RECORD_TYPES]),
    OpenApiParameter("id", str, required=True),
]
SCOPE = [
    OpenApiParameter("tag", str, many=True, description="Only thoughts with one of these tags, by id."),
    OpenApiParameter("cluster", str, many=True, description="Only thoughts with a segment of one of these."),
    OpenApiParameter("updated_after", str, description="Exclusive, ISO 8601."),
    OpenApiParameter("updated_before", str, description="Exclusive, ISO 8601."),
    OpenApiParameter("scope", str, enum=["all"], description="Leave the cursor's scope."),
]


class Changes(Endpoint):
    """The feed of a space, and the way into it."""

    @extend_schema(
        operation_id="pull",
        summary="Pull: what changed since a cursor",
        parameters=[
            OpenApiParameter(
                "cursor", str, description="As the last page gave it; left out on the first pull."
            ),
            OpenApiParameter(
                "limit", int, description=f"Records a page; {DEFAULT_PAGE} unless said, at most {MAX_PAGE}."
            ),
            OpenApiParameter("include", str, enum=["embeddings"]),
            *SCOPE,
        ],
        responses={200: shapes.Page, 400: PROBLEM, 401: PROBLEM, 403: PROBLEM, 404: PROBLEM, 410: PROBLEM},
    )
    @noting_refusals
    def get(self, request: HttpRequest, space: str) -> HttpResponse | StreamingHttpResponse:
        opened = self.open(space, Act.READ)
        embeddings = "embeddings" in request.GET.get("include", "").split(",")
        streamed = NDJSON in request.headers.get("Accept", "")
        limit = _limit(request, default=None if streamed else DEFAULT_PAGE)
        scope = scope_in(request)
        if text := request.GET.get("cursor"):
            cursor, head = continued(opened.id, self.caller.device_id, text)
            cursor = cursor if scope is None else reading.rescoped(cursor, scope)
        else:
            forget(opened.id, self.caller.device_id)
            head = reading.read_head(opened.id)
            cursor = reading.start(opened.id, head, scope or ALL)
        if streamed:
            lines = _lines(cursor, head, limit, embeddings)
            return packed_stream(request, lines, NDJSON)
        assert limit is not None
        page = reading.page(cursor, head.head, limit, embeddings=embeddings)
        frame = {"space": str(opened.id), **_end(page, head)}
        body = orjson.dumps(frame)[:-1] + b',"changes":[' + ",".join(page.changes).encode() + b"]}"
        return packed_answer(request, body, "application/json")

    @extend_schema(
        operation_id="push",
        summary="Push: a set of changes, in one transaction",
        request=shapes.Push,
        responses={
            200: shapes.PushAnswer,
            **dict.fromkeys([400, 401, 403, 404, 409, 410, 413, 415, 503], PROBLEM),
        },
    )
    @noting_refusals
    def post(self, request: HttpRequest, space: str) -> HttpResponse:
        opened = self.open(space, Act.WRITE)
        stored = push(self.caller, opened.id, request.body, request.headers.get("Content-Encoding", ""))
        note_rejected(self.caller, opened.id, stored)
        return json_answer(answer(stored))


class Fetch(Endpoint):
    @extend_schema(
        operation_id="fetch",
        summary="Fetch records by type and id, as the feed shows them",
        request=shapes.FetchRequest,
        responses={200: shapes.FetchAnswer, 400: PROBLEM, 404: PROBLEM},
    )
    def post(self, request: HttpRequest, space: str) -> HttpResponse:
        opened = self.open(space, Act.READ)
        wanted = _type_and_ids(decode(request.body))
        changes = [change for type_, ids in wanted.items() for change in _feed_forms(opened.id, type_, ids)]
        body = b'{"changes":[' + ",".join(changes).encode() + b"]}"
        return packed_answer(request, body, "application/json")


class Digest(Endpoint):
    @extend_schema(
        operation_id="digest",
        summary="Proof of convergence: the hash of a space, or the records of one sector",
        parameters=[OpenApiParameter("sector", int, description="0 to 255"), *SCOPE],
        responses={200: shapes.Digest, 400: PROBLEM, 404: PROBLEM},
    )
    def get(self, request: HttpRequest, space: str) -> HttpResponse:
        opened = self.open(space, Act.READ)
        scope = scope_in(request) or ALL
        if (text := request.GET.get("sector")) is not None:
            number = _whole_number(text, "sector", least=0, most=255)
            version, records = digest.sector(opened.id, number, scope)
            return json_answer({"sector": number, "version": version, "records": records})
        found = digest.digest(opened.id, scope)
        return json_answer(
            {
                "version": found.version,
                "epoch": str(found.epoch),
                "records": found.records,
                "digest": digest.as_hex(found.whole),
                "sectors": [digest.as_hex(sector) for sector in found.sectors],
            }
        )


class OneRecord(Endpoint):
    @extend_schema(
        operation_id="record",
        summary="One record, as in the feed",
        parameters=IN_SPACE,
        responses={200: shapes.FeedChange, 400: PROBLEM, 404: PROBLEM},
    )
    def get(self, request: HttpRequest, space: str) -> HttpResponse:
        opened = self.open(space, Act.READ)
        type_, id_ = _type_and_id(request.GET.get("type"), request.GET.get("id"))
        for change in _feed_forms(opened.id, type_, [id_]):
            return json_answer(change.encode())
        raise NotFound


class History(Endpoint):
    @extend_schema(
        operation_id="history",
        summary="Who changed which field of a record, newest first",
        parameters=[*IN_SPACE, OpenApiParameter("cursor", str), OpenApiParameter("limit", int)],
        responses={200: shapes.History, 400: PROBLEM, 404: PROBLEM},
    )
    def get(self, request: HttpRequest, space: str) -> HttpResponse:
        opened = self.open(space, Act.READ)
        type_, id_ = _type_and_id(request.GET.get("type"), request.GET.get("id"))
        limit = _limit(request, default=100) or 100
        entries = history.entries(opened.id, type_, id_)
        if (cursor := request.GET.get("cursor")) is not None:
            # How many are older: new entries come at the other end.
            left = _whole_number(cursor, "cursor", least=0, most=2**62)
            entries = entries[max(0, len(entries) - left) :]
        older = len(entries) - limit
        return json_answer({"entries": entries[:limit], "cursor": str(older) if older > 0 else None})


class Restore(Endpoint):
    @extend_schema(
        operation_id="restore",
        summary="Bring a record back to what it was after a version",
        request=shapes.Restore,
        responses={200: shapes.Changed, 400: PROBLEM, 403: PROBLEM, 404: PROBLEM},
    )
    def post(self, request: HttpRequest, space: str) -> HttpResponse:
        opened = self.open(space, Act.WRITE)
        body = json_body(request)
        type_, id_ = _type_and_id(body.get("type"), body.get("id"))
        version = _number_in(body, "version", 1)
        moves_ago = _number_in(body, "moves_ago", 0, default=0)
        base, to_set, unset = history.restoring_patch(opened.id, type_, id_, version, moves_ago)
        change = {
            "change_id": str(uuid7()),
            "type": type_,
            "id": id_,
            "base": base,
            "set": to_set,
            "unset": unset,
        }
        along = going_along(opened.id, type_, id_)
        return _changed(self, opened, [change, *along], Origin.RESTORE, type_, id_)


class Move(Endpoint):
    @extend_schema(
        operation_id="move",
        summary="Move thoughts, with all that hangs on them, to another space",
        request=shapes.Move,
        responses={200: shapes.Moved, **dict.fromkeys([400, 401, 403, 404, 409, 503], PROBLEM)},
    )
    def post(self, request: HttpRequest, space: str) -> HttpResponse:
        opened = self.open(space, Act.WRITE)
        body = json_body(request)
        thoughts = body.get("thoughts")
        if not isinstance(thoughts, list) or not 0 < len(thoughts) <= MAX_CHANGES:
            raise BadRequest(f"thoughts must list 1 to {MAX_CHANGES:,} ids.", pointer="/thoughts")
        ids = list(dict.fromkeys(_type_and_id("thoughts", id_)[1] for id_ in thoughts))
        target = open_space(self.caller, text_in(body, "to"), Act.WRITE)
        if target.id == opened.id:
            raise BadRequest("to must be another space.", pointer="/to")
        moved = moving.move(self.caller, opened.id, target.id, ids)
        return json_answer(
            {
                "version": moved.version,
                "to": {"space": str(target.id), "version": moved.arrived},
                "moved": moved.counts,
                "left": moved.left,
            }
        )


class Conflicts(Endpoint):
    @extend_schema(
        operation_id="conflicts",
        summary="The conflicts of a space",
        parameters=[
            OpenApiParameter("state", str, enum=["open", "resolved"]),
            OpenApiParameter("cursor", str),
            OpenApiParameter("limit", int),
        ],
        responses={200: shapes.Conflicts, 400: PROBLEM, 404: PROBLEM},
    )
    def get(self, request: HttpRequest, space: str) -> HttpResponse:
        opened = self.open(space, Act.READ)
        state = request.GET.get("state")
        if state not in (None, "open", "resolved"):
            raise InvalidParameter("state must be open or resolved.")
        after = request.GET.get("cursor")
        found, cursor = conflicts.listed(
            opened.id,
            state=state,
            after=None if after is None else _uuid(after, "cursor"),
            limit=_limit(request, default=100) or 100,
        )
        return json_answer({"conflicts": found, "cursor": None if cursor is None else str(cursor)})


class Resolve(Endpoint):
    @extend_schema(
        operation_id="resolve",
        summary="Resolve a conflict",
        request=shapes.Resolution,
        responses={200: shapes.Changed, 400: PROBLEM, 403: PROBLEM, 404: PROBLEM, 409: PROBLEM},
    )
    def post(self, request: HttpRequest, conflict: str) -> HttpResponse:
        space_id, version, found = _conflict(conflict)
        opened = open_space(self.caller, space_id, Act.WRITE)
        change = {
            "change_id": str(uuid7()),
            "type": CONFLICTS,
            "id": found["id"],
            "base": version,
            "set": decode(request.body),
        }
        return _changed(self, opened, [change], Origin.RESOLVE, found["record_type"], found["record_id"])


class Search(Endpoint):
    @extend_schema(
        operation_id="search",
        summary="Find thoughts and segments by their words, in what you may read",
        parameters=[
            OpenApiParameter(
                "q",
                str,
                required=True,
                description='Words; "words together", -without, or. The last one may be unfinished.',
            ),
            OpenApiParameter("space", str, description="Only in this space."),
            OpenApiParameter("limit", int, description="Results a page; 20 unless said, at most 100."),
            OpenApiParameter("cursor", str, description="As the last page gave it."),
        ],
        responses={200: shapes.Hits, 400: PROBLEM, 401: PROBLEM, 403: PROBLEM, 404: PROBLEM},
    )
    def get(self, request: HttpRequest) -> HttpResponse:
        if (space := request.GET.get("space")) is not None:
            readable = [open_space(self.caller, space, Act.READ)]
        else:
            readable = [found for found in visible_spaces(self.caller) if found.role is not None]
        text = _plain(request.GET.get("q", ""), "q")
        if not text.strip():
            raise InvalidParameter("q must hold the words to search for.")
        limit = min(_limit(request, default=searching.PAGE) or searching.PAGE, searching.MAX_PAGE)
        after = request.GET.get("cursor")
        offset = 0 if after is None else _whole_number(after, "cursor", least=0, most=2**31)
        hits, more = searching.search([found.id for found in readable], text, limit=limit, offset=offset)
        results = [
            {
                "type": hit.type,
                "id": hit.id,
                "space": str(hit.space_id),
                "version": hit.version,
                "thought": hit.thought_id,
                "title": hit.title,
                "snippet": hit.plain,
                "rank": hit.rank,
            }
            for hit in hits
        ]
        return json_answer({"results": results, "cursor": None if more is None else str(more)})


class Spaces(Endpoint):
    @extend_schema(
        operation_id="spaces",
        summary="The spaces that you may know of",
        responses={200: shapes.Spaces, 401: PROBLEM},
    )
    def get(self, request: HttpRequest) -> HttpResponse:
        return json_answer({"spaces": spaces.described(visible_spaces(self.caller))})

    @extend_schema(
        operation_id="create_space",
        summary="Make a private or a shared space",
        request=shapes.NewSpace,
        responses={201: shapes.Space, 400: PROBLEM, 403: PROBLEM, 404: PROBLEM},
    )
    def post(self, request: HttpRequest) -> HttpResponse:
        body = json_body(request)
        space = actions.create_space(
            _workspace(self.caller, text_in(body, "workspace")),
            text_in(body, "name"),
            choice_in(body, "kind", tuple(SpaceKind.values)),
            by=self.caller,
        )
        return _space_answer(self, space.pk, 201)


class OneSpace(Endpoint):
    @extend_schema(operation_id="space", summary="One space", responses={200: shapes.Space, 404: PROBLEM})
    def get(self, request: HttpRequest, space: str) -> HttpResponse:
        return json_answer(spaces.described([self.open(space, Act.KNOW)])[0])

    @extend_schema(
        operation_id="change_space",
        summary="Rename, archive or share a space",
        request=shapes.SpacePatch,
        responses={200: shapes.Space, 400: PROBLEM, 403: PROBLEM, 404: PROBLEM, 409: PROBLEM},
    )
    def patch(self, request: HttpRequest, space: str) -> HttpResponse:
        opened = self.open(space, Act.SHARE)
        body = json_body(request)
        if unknown := body.keys() - {"name", "kind", "archived"}:
            raise BadRequest(f"A space has no {min(unknown)[:60]} that could be changed.")
        name = text_in(body, "name") if "name" in body else None
        kind = choice_in(body, "kind", tuple(SpaceKind.values)) if "kind" in body else None
        archived = body.get("archived")
        if archived not in (None, True, False):
            raise BadRequest("archived must be true or false.", pointer="/archived")
        with transaction.atomic():
            if kind is not None and kind != opened.kind:
                becomes = actions.make_shared if kind == SpaceKind.SHARED else actions.make_private
                becomes(opened.id, by=self.caller)
            if name is not None and name != opened.name:
                actions.rename_space(opened.id, name, by=self.caller)
            if archived is not None and archived != opened.archived:
                (actions.archive_space if archived else actions.unarchive_space)(opened.id, by=self.caller)
        return _space_answer(self, opened.id, 200)

    @extend_schema(
        operation_id="archive_space",
        summary="Archive a space",
        responses={204: None, 403: PROBLEM, 404: PROBLEM},
    )
    def delete(self, request: HttpRequest, space: str) -> HttpResponse:
        opened = self.open(space, Act.SHARE)
        if not opened.archived:
            actions.archive_space(opened.id, by=self.caller)
        return HttpResponse(status=204)


def _end(step: reading.Step, head: reading.Head) -> dict[str, Any]:
    return {
        "epoch": str(head.epoch),
        "head": step.head,
        "cursor": encode(reading.dated(step.cursor)),
        "more": step.more,
    }


def _lines(cursor: Cursor, head: reading.Head, limit: int | None, embeddings: bool) -> Iterator[bytes]:
    """The feed, a change a line, and a last line that says where it ends."""
    step = None
    for step in reading.steps(cursor, head.head, limit, embeddings=embeddings):
        if step.changes:
            yield ("\n".join(step.changes) + "\n").encode()
    assert step is not None
    yield orjson.dumps({"end": _end(step, head)}) + b"\n"


def _feed_forms(space_id: UUID, type_: str, ids: list[str]) -> list[str]:
    """Records as the feed shows them, in no particular order; unknown ids are left out."""
    table = TABLES[type_]
    keys = [key_of(type_, id_) for id_ in ids]
    query = f"SELECT {table.feed_json} FROM {table.name} t WHERE t.space_id = %b AND t.key = ANY(%b)"
    return [change for (change,) in sql_cursor().execute(query, (space_id, keys), prepare=True)]


def _changed(
    view: Endpoint, space: OpenSpace, changes: list[Any], origin: Origin, type_: str, id_: str
) -> HttpResponse:
    """Take changes of this server's own making and answer with the record that they changed."""
    stored = edit(view.caller, space.id, changes, origin)
    _raise_rejection(stored, changes)
    shown = _feed_forms(space.id, type_, [id_])
    record = orjson.loads(shown[0]) if shown else {}
    return json_answer({"version": stored.version, "record": record.get("record", record)})


def _raise_rejection(stored: Stored, changes: list[Any]) -> None:
    result = stored.outcome.results[0]
    assert isinstance(result, Result | Rejected)
    if isinstance(result, Rejected):
        if result.error["type"] == ConflictResolved.type:
            raise ConflictResolved(result.error["detail"], extra={"wanted": changes[0]["set"]})
        raise ChangeRejected(result.error)


def _space_answer(view: Endpoint, space_id: UUID, status: int) -> HttpResponse:
    return json_answer(spaces.described([open_space(view.caller, space_id, Act.KNOW)])[0], status)


def _workspace(caller: Caller, named: str) -> UUID:
    """A workspace of the caller, by id or by name."""
    mine = Workspace.objects.filter(memberships__person=caller.person_id)
    try:
        found = mine.filter(pk=UUID(named)).first()
    except ValueError:
        found = mine.filter(name=named).first()
    if found is None:
        raise NotFound
    return found.pk


def _conflict(text: str) -> tuple[UUID, int, dict[str, Any]]:
    try:
        return conflicts.found(UUID(text))
    except ValueError:
        raise NotFound from None


def scope_in(request: HttpRequest) -> Scope | None:
    """The scope that a request asks for; None where it names none."""
    if request.GET.get("scope") not in (None, "all"):
        raise InvalidParameter("scope can only be all; use tag, cluster, updated_after, updated_before.")
    scope = Scope(
        tuple(sorted({_plain(tag, "tag") for tag in request.GET.getlist("tag")})),
        tuple(sorted({_plain(cluster, "cluster") for cluster in request.GET.getlist("cluster")})),
        _time(request, "updated_after"),
        _time(request, "updated_before"),
    )
    if "scope" in request.GET and scope:
        raise InvalidParameter("scope=all goes with no other filter.")
    return scope if scope or "scope" in request.GET else None


def _plain(text: str, name: str) -> str:
    if "\0" in text or not _is_encodable(text):
        raise InvalidParameter(f"{name} holds a character that no record can hold.")
    return text


def _time(request: HttpRequest, name: str) -> str | None:
    text = request.GET.get(name)
    if text is None:
        return None
    moment = time_in_feed_form(text)
    if moment is None:
        raise InvalidParameter(f"{name} must be a time such as 2025-06-08T09:30:00Z.")
    return moment


def _type_and_id(type_: Any, id_: Any) -> tuple[str, str]:
    if not isinstance(type_, str) or type_ not in RECORD_TYPES:
        raise InvalidParameter("type must be a type of record.", pointer="/type")
    if not isinstance(id_, str) or not id_ or "\0" in id_ or not _is_encodable(id_):
        raise InvalidParameter("id must be the id of a record.", pointer="/id")
    return type_, id_


def _type_and_ids(document: Any) -> dict[str, list[str]]:
    pairs = document.get("ids") if isinstance(document, dict) else None
    if not isinstance(pairs, list) or len(pairs) > MAX_CHANGES * 10:
        raise Malformed(
            f"ids must be a list of at most {MAX_CHANGES * 10:,} pairs [type, id].", pointer="/ids"
        )
    wanted: dict[str, list[str]] = {}
    for number, pair in enumerate(pairs):
        if not isinstance(pair, list) or len(pair) != 2:
            raise Malformed("Each entry of ids is a pair [type, id].", pointer=f"/ids/{number}")
        if pair[0] == CONFLICTS:
            continue  # conflicts come with the feed; they are outside the digest
        type_, id_ = _type_and_id(*pair)
        wanted.setdefault(type_, []).append(id_)
    return wanted


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _limit(request: HttpRequest, *, default: int | None) -> int | None:
    text = request.GET.get("limit")
    return default if text is None else min(_whole_number(text, "limit", least=1, most=10**18), MAX_PAGE)


def _whole_number(text: str, name: str, *, least: int, most: int) -> int:
    if text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most:
        return int(text)
    raise InvalidParameter(f"{name} must be a whole number from {least} to {most}.")


def _number_in(body: dict[str, Any], name: str, least: int, default: int | None = None) -> int:
    value = body.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MAX_INTEGER:
        raise BadRequest(f"{name} must be a whole number, {least} or more.", pointer=f"/{name}")
    return value


def _uuid(text: str, name: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidParameter(f"{name} is not one that this server gave.") from None
