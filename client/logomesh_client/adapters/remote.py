"""Thoughts in a space of a server, over REST. Nothing is kept on this machine: without a network it fails."""

from __future__ import annotations

import threading
import uuid
from collections import defaultdict
from typing import Any

from logomesh_client.adapters import entities
from logomesh_client.adapters.contract import (
    AlreadyThere,
    Health,
    NewSegment,
    NewThought,
    NoSuchThought,
    NotOpen,
    Segment,
    StorageAdapter,
    Tag,
    Thought,
)
from logomesh_client.records import CONFLICTS, TYPES, Record, compose_id, empty_record
from logomesh_client.wire import Problem, Server, WireError

_MAX_CHANGES = 1000


class Rejected(Exception):
    """The server did not take a change. `error` is what it said: type, title, detail, pointer."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error.get('title', error['type'])}. {error.get('detail', '')}".strip())
        self.error = error


class RemoteStorageAdapter(StorageAdapter):
    """A space of a server. Several threads may share one.

    It reads the whole space once and then, before each answer, only what has changed since. Every operation
    may raise what the wire raises (`WireError`), and `Rejected`.
    """

    def __init__(self, server: Server, space: str) -> None:
        self.server = server
        self.space = space
        self._lock = threading.RLock()
        self._is_open = False
        self._forget()

    def initialize(self) -> None:
        with self._lock:
            self._is_open = True
            try:
                self._refresh()
            except BaseException:
                self._is_open = False
                raise

    def close(self) -> None:
        with self._lock:
            self._is_open = False
            self._forget()

    def health_check(self) -> Health:
        if not self._is_open:
            return {"status": "error", "message": str(NotOpen())}
        try:
            self.get_all_thoughts()
        except WireError as error:
            return {"status": "error", "message": str(error)}
        return {"status": "ok"}

    # Reading

    def get_all_thoughts(self) -> list[Thought]:
        with self._lock:
            self._refresh()
            return [self._thought(id_) for id_, _ in entities.newest_first(self._items("thoughts"))]

    def get_thought_by_id(self, thought_id: str) -> Thought | None:
        with self._lock:
            self._refresh()
            return self._thought(thought_id) if thought_id in self._records["thoughts"] else None

    def get_segments_for_thought(self, thought_id: str) -> list[Segment]:
        with self._lock:
            self._refresh()
            return self._segments(thought_id)

    def get_segment_by_id(self, segment_id: str) -> Segment | None:
        with self._lock:
            self._refresh()
            return self._segment(segment_id) if segment_id in self._records["segments"] else None

    # Writing

    def create_thought(self, data: NewThought) -> Thought:
        record = entities.new_thought(data)
        id_ = data.get("id") or entities.NEW_IDS["S2x"][0]()
        with self._lock:
            self._refresh()
            if id_ in self._records["thoughts"]:
                raise AlreadyThere("thought", id_)
            changes = [self._set("thoughts", id_, _stated(record))]
            self._push(changes + self._tag_changes(id_, data.get("tags") or []))
            return self._thought(id_)

    def update_thought(self, thought_id: str, updates: NewThought) -> Thought | None:
        changes = entities.changes_of_thought(updates)
        with self._lock:
            self._refresh()
            if thought_id not in self._records["thoughts"]:
                return None
            if changes or "tags" in updates:
                tags = self._tag_changes(thought_id, updates["tags"] or []) if "tags" in updates else []
                self._push(
                    [self._set("thoughts", thought_id, changes | {"updated_at": entities.now()}), *tags]
                )
            return self._thought(thought_id) if thought_id in self._records["thoughts"] else None

    def delete_thought(self, thought_id: str) -> bool:
        with self._lock:
            self._refresh()
            if thought_id not in self._records["thoughts"]:
                return False
            self._push([self._removal("thoughts", thought_id)])
            return True

    def create_segment(self, thought_id: str, data: NewSegment) -> Segment:
        record = entities.new_segment(thought_id, data)
        id_ = data.get("id") or entities.NEW_IDS["S2x"][1]()
        with self._lock:
            self._refresh()
            if thought_id not in self._records["thoughts"]:
                raise NoSuchThought(thought_id)
            if id_ in self._records["segments"]:
                raise AlreadyThere("segment", id_)
            self._push([self._set("segments", id_, _stated(record))])
            return self._segment(id_)

    def update_segment(self, thought_id: str, segment_id: str, updates: NewSegment) -> Segment | None:
        changes = entities.changes_of_segment(updates)
        with self._lock:
            self._refresh()
            _, record = self._records["segments"].get(segment_id, (0, None))
            if record is None or record["thought_id"] != thought_id:
                return None
            if changes:
                removed = self._field_removals(segment_id) if "fields" in changes else []
                now = {"updated_at": entities.now()}
                if "fields" in changes or "metadata" in changes:
                    fields, metadata = entities.told_apart(record)
                    changes = {"fields": fields, "metadata": metadata} | changes
                self._push([self._set("segments", segment_id, changes | now), *removed])
            return self._segment(segment_id) if segment_id in self._records["segments"] else None

    def delete_segment(self, thought_id: str, segment_id: str) -> bool:
        with self._lock:
            self._refresh()
            _, record = self._records["segments"].get(segment_id, (0, None))
            if record is None or record["thought_id"] != thought_id:
                return False
            self._push([self._removal("segments", segment_id)])
            return True

    # What the server has

    def _forget(self) -> None:
        self._records: dict[str, dict[str, tuple[int, Record]]] = {name: {} for name in TYPES}
        self._hanging: dict[str, defaultdict[str, dict[str, None]]] = {
            name: defaultdict(dict) for name in ("segments", "thought_tags", "segment_fields")
        }
        self._cursor: str | None = None
        self._epoch: str | None = None
        self._seen = 0

    def _refresh(self) -> None:
        """Bring what is known up to date."""
        if not self._is_open:
            raise NotOpen
        try:
            self._pull()
        except Problem as problem:
            if problem.type != "cursor-expired":
                raise
            self._forget()
            self._pull()

    def _pull(self) -> None:
        more = True
        while more:
            pull = self.server.changes(self.space, self._cursor)
            changes = list(pull)
            for change in changes:
                self._take(change)
            self._cursor, self._epoch, self._seen = pull.cursor, pull.epoch, pull.head
            more = pull.more

    def _take(self, change: dict[str, Any]) -> None:
        type_, id_ = change["type"], change["id"]
        if type_ == CONFLICTS or type_ not in self._records:
            return
        _, old = self._records[type_].pop(id_, (0, None))
        parent = _PARENT.get(type_)
        if parent and old is not None:
            self._hanging[type_][old[parent]].pop(id_, None)
        if (record := change.get("record")) is not None:
            self._records[type_][id_] = (change["version"], record)
            if parent:
                self._hanging[type_][record[parent]][id_] = None

    def _items(self, type_: str) -> list[tuple[str, Record]]:
        return [(id_, record) for id_, (_, record) in self._records[type_].items()]

    def _under(self, type_: str, parent: str) -> list[tuple[str, Record]]:
        return [(id_, self._records[type_][id_][1]) for id_ in self._hanging[type_][parent]]

    def _thought(self, id_: str) -> Thought:
        links = [link for _, link in self._under("thought_tags", id_)]
        tags = entities.tags_in_order(links, dict(self._items("tags")))
        return entities.thought_of(id_, self._records["thoughts"][id_][1], tags, self._segments(id_))

    def _segments(self, thought_id: str) -> list[Segment]:
        return [self._segment(id_) for id_, _ in entities.in_order(self._under("segments", thought_id))]

    def _segment(self, id_: str) -> Segment:
        rows = [row for _, row in self._under("segment_fields", id_)]
        return entities.segment_of(id_, self._records["segments"][id_][1], rows)

    # Changes

    def _push(self, changes: list[dict[str, Any]]) -> None:
        """Send changes and read what became of them. Raises `Rejected` for the first that was not taken."""
        for start in range(0, len(changes), _MAX_CHANGES):
            part = changes[start : start + _MAX_CHANGES]
            answer = self.server.push(self.space, self._epoch, self._seen, part)
            for result in answer.results:
                if result["status"] == "rejected":
                    raise Rejected(result["error"])
        self._refresh()

    def _set(self, type_: str, id_: str, values: Record) -> dict[str, Any]:
        """A change that makes the record's fields be these. Objects are replaced key by key."""
        version, record = self._records[type_].get(id_, (0, None))
        to_set: Record = {}
        unset: list[str] = []
        for name, value in values.items():
            if not isinstance(value, dict) or record is None:
                to_set[name] = value
                continue
            to_set[name] = value
            unset += [f"{name}.{key}" for key in record[name] if key not in value]
        change = {**self._named(type_, id_, version), "set": to_set}
        return {**change, "unset": unset} if unset else change

    def _removal(self, type_: str, id_: str) -> dict[str, Any]:
        return {**self._named(type_, id_, self._records[type_][id_][0]), "delete": True}

    def _named(self, type_: str, id_: str, version: int) -> dict[str, Any]:
        return {"change_id": str(uuid.uuid4()), "type": type_, "id": id_, "base": version}

    def _tag_changes(self, thought_id: str, wanted: list[Tag]) -> list[dict[str, Any]]:
        """What makes the thought have just these tags."""
        ids = {record["name"]: id_ for id_, (_, record) in self._records["tags"].items()}
        taken = set(self._records["tags"])
        moment = entities.now()
        changes = []
        links: dict[str, None] = {}
        for tag in wanted:
            if (id_ := ids.get(tag["name"])) is None:
                id_ = ids[tag["name"]] = entities.tag_id(tag["name"], taken)
                taken.add(id_)
                color = tag.get("color") or entities.TAG_COLOR
                changes.append(
                    self._set("tags", id_, {"name": tag["name"], "color": color, "created_at": moment})
                )
            links[id_] = None
        had = {record["tag_id"]: id_ for id_, record in self._under("thought_tags", thought_id)}
        for id_ in links:
            if id_ not in had:
                values = {"thought_id": thought_id, "tag_id": id_, "created_at": moment}
                changes.append(self._set("thought_tags", compose_id((thought_id, id_)), values))
        changes += [self._removal("thought_tags", link) for tag, link in had.items() if tag not in links]
        return changes

    def _field_removals(self, segment_id: str) -> list[dict[str, Any]]:
        return [self._removal("segment_fields", id_) for id_, _ in self._under("segment_fields", segment_id)]


_PARENT = {"segments": "thought_id", "thought_tags": "thought_id", "segment_fields": "segment_id"}


def _stated(record: Record) -> Record:
    """The fields that say something."""
    blank = empty_record("segments" if "thought_id" in record else "thoughts")
    return {name: value for name, value in record.items() if value != blank.get(name)}
