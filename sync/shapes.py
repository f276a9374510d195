"""The shapes of requests and answers, for the API's documentation. They decide nothing."""

from __future__ import annotations

from rest_framework import serializers as s

from sync.core.changes import CONFLICTS
from sync.core.schema import RECORD_TYPES
from workspaces.shapes import Problem as Problem

_TYPES = [*RECORD_TYPES, CONFLICTS]


class FeedChange(s.Serializer[None]):
    type = s.ChoiceField(_TYPES)
    id = s.CharField()
    version = s.IntegerField()
    record = s.DictField(required=False, help_text="type, id, version and every field of the type.")
    deleted = s.BooleanField(required=False)
    out_of_scope = s.BooleanField(required=False)


class Page(s.Serializer[None]):
    space = s.UUIDField()
    epoch = s.UUIDField()
    head = s.IntegerField()
    cursor = s.CharField()
    more = s.BooleanField()
    changes = FeedChange(many=True)


class Change(s.Serializer[None]):
    change_id = s.UUIDField()
    type = s.ChoiceField(_TYPES)
    id = s.CharField()
    base = s.IntegerField(min_value=0, default=0)
    set = s.DictField(required=False)
    unset = s.ListField(child=s.CharField(), required=False)
    delete = s.BooleanField(required=False)


class Push(s.Serializer[None]):
    epoch = s.UUIDField(required=False)
    seen = s.IntegerField(min_value=0, default=0)
    changes = Change(many=True)


class ChangeError(s.Serializer[None]):
    type = s.CharField()
    title = s.CharField()
    detail = s.CharField()
    pointer = s.CharField()


class Result(s.Serializer[None]):
    change_id = s.CharField(allow_null=True)
    status = s.ChoiceField(["applied", "merged", "conflict", "duplicate", "rejected"])
    version = s.IntegerField(required=False)
    record = s.DictField(required=False)
    conflict = s.UUIDField(required=False)
    error = ChangeError(required=False)


class PushAnswer(s.Serializer[None]):
    version = s.IntegerField()
    results = Result(many=True)


class FetchRequest(s.Serializer[None]):
    ids = s.ListField(child=s.ListField(child=s.CharField(), min_length=2, max_length=2))


class FetchAnswer(s.Serializer[None]):
    changes = FeedChange(many=True)


class Digest(s.Serializer[None]):
    version = s.IntegerField()
    epoch = s.UUIDField(required=False)
    digest = s.CharField(required=False, help_text="XOR of all hashes, 16 hex digits.")
    sectors = s.ListField(child=s.CharField(), required=False)
    sector = s.IntegerField(required=False)
    records = s.JSONField(help_text="How many; of one sector: its list of [type, id, version, hash].")


class HistoryEntry(s.Serializer[None]):
    version = s.IntegerField()
    at = s.DateTimeField()
    user = s.CharField()
    device = s.CharField(allow_null=True)
    origin = s.ChoiceField(["push", "import", "web", "resolve", "restore", "move"])
    act = s.ChoiceField(["create", "edit", "delete", "revive", "move"])
    changes = s.DictField()
    lost = s.DictField()
    deleted = s.BooleanField()
    moves_ago = s.IntegerField(required=False, help_text="How many moves between spaces lie in between.")


class History(s.Serializer[None]):
    entries = HistoryEntry(many=True)
    cursor = s.CharField(allow_null=True)


class Restore(s.Serializer[None]):
    type = s.ChoiceField([*RECORD_TYPES])
    id = s.CharField()
    version = s.IntegerField(min_value=1)
    moves_ago = s.IntegerField(min_value=0, default=0)


class Move(s.Serializer[None]):
    thoughts = s.ListField(child=s.CharField(), help_text="Ids; at most 1,000.")
    to = s.UUIDField(help_text="The space that they go to.")


class Moved(s.Serializer[None]):
    version = s.IntegerField(help_text="Of the space that they left.")
    to = s.DictField(help_text="The other space, and its version.")
    moved = s.DictField(child=s.IntegerField(), help_text="Record type and how many of it.")
    left = s.ListField(
        child=s.ListField(child=s.CharField(), min_length=2, max_length=2),
        help_text="Type and id of links that lead to something that stays, so they are deleted.",
    )


class Changed(s.Serializer[None]):
    version = s.IntegerField()
    record = s.DictField()


class Conflicts(s.Serializer[None]):
    conflicts = s.ListField(child=s.DictField())
    cursor = s.CharField(allow_null=True)


class Resolution(s.Serializer[None]):
    take = s.ChoiceField(["server", "client", "proposal", "both"], required=False)
    set = s.DictField(required=False)


class Hit(s.Serializer[None]):
    type = s.ChoiceField(["thoughts", "segments"])
    id = s.CharField()
    space = s.UUIDField()
    version = s.IntegerField()
    thought = s.CharField(allow_null=True, help_text="Id of the thought that it is or belongs to.")
    title = s.CharField(allow_null=True)
    snippet = s.CharField(help_text="What of the text matches, as plain text.")
    rank = s.FloatField()


class Hits(s.Serializer[None]):
    results = Hit(many=True)
    cursor = s.CharField(allow_null=True)


class Space(s.Serializer[None]):
    id = s.UUIDField()
    workspace = s.UUIDField()
    name = s.CharField()
    kind = s.ChoiceField(["private", "shared"])
    role = s.ChoiceField(["owner", "editor", "viewer"], allow_null=True)
    head = s.IntegerField(allow_null=True)
    epoch = s.UUIDField(allow_null=True)
    counts = s.DictField(child=s.IntegerField())
    archived = s.BooleanField()


class Spaces(s.Serializer[None]):
    spaces = Space(many=True)


class NewSpace(s.Serializer[None]):
    workspace = s.CharField(help_text="Id or name of one of your workspaces.")
    name = s.CharField(max_length=200)
    kind = s.ChoiceField(["private", "shared"])


class SpacePatch(s.Serializer[None]):
    name = s.CharField(max_length=200, required=False)
    kind = s.ChoiceField(["private", "shared"], required=False)
    archived = s.BooleanField(required=False)
