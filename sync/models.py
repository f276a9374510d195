"""What a space holds: records, and what is remembered about their past.

The record tables mirror ``sync.core.schema`` field by field (a test compares them) and are
only ever written by `sync.storage`, inside a change set (`sync.writing`).
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models

from workspaces.ids import uuid7
from workspaces.models import Device, Person, Space


class SpaceHead(models.Model):
    """The counter of a space. Whoever changes records locks this row first and holds it to commit.

    A trigger on `workspaces_space` makes the row, so every space has exactly one.
    """

    space = models.OneToOneField(Space, models.CASCADE, primary_key=True, related_name="+")
    head = models.BigIntegerField(default=0)
    epoch = models.UUIDField(default=uuid7)
    """Random name of this life of the space: a restored backup gets another."""
    purged_before = models.BigIntegerField(default=0)
    """Tombstones of versions up to this one may be gone."""
    history_before = models.BigIntegerField(default=0, db_default=0)
    """History of versions up to this one may be gone."""
    counts = models.JSONField(default=dict)
    """Record type -> number of live records."""

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(head__gte=0), name="sync_spacehead_head"),
            models.CheckConstraint(
                condition=models.Q(purged_before__lte=models.F("head")), name="sync_spacehead_purged"
            ),
        ]


class Origin(models.TextChoices):
    PUSH = "push"
    IMPORT = "import"
    WEB = "web"
    RESOLVE = "resolve"
    RESTORE = "restore"
    MOVE = "move"


class ChangeSet(models.Model):
    """One transaction that changed a space: one version, and who made it."""

    pk = models.CompositePrimaryKey("space_id", "version")
    space = models.ForeignKey(Space, models.CASCADE, related_name="+", db_index=False)
    version = models.BigIntegerField()
    at = models.DateTimeField()
    person = models.ForeignKey(Person, models.PROTECT, related_name="+", db_index=False)
    device = models.ForeignKey(Device, models.SET_NULL, null=True, related_name="+", db_index=False)
    origin = models.CharField(max_length=8, choices=Origin.choices)


class Receipt(models.Model):
    """A change that was taken. It is what makes a change sent twice count once."""

    pk = models.CompositePrimaryKey("space_id", "person_id", "change_id")
    space = models.ForeignKey(Space, models.CASCADE, related_name="+", db_index=False, db_constraint=False)
    person = models.ForeignKey(Person, models.CASCADE, related_name="+", db_index=False, db_constraint=False)
    change_id = models.UUIDField()
    body_hash = models.BinaryField()
    version = models.BigIntegerField()
    conflict = models.UUIDField(null=True)


class History(models.Model):
    """What a change set overwrote in one record, as reverse deltas.

    Only old values are kept: what was written is the next entry's old value, or the record
    itself. So a record that was only ever created, as in an import, costs no row here.
    """

    pk = models.CompositePrimaryKey("space_id", "key", "version")
    space_id = models.UUIDField()
    key = models.BinaryField()
    version = models.BigIntegerField()
    old = models.JSONField(default=dict)
    """Path -> [value before], or [] where an object had no such key.

    Where entries were folded, `updated_at` is [before, earliest, latest of those passed through]."""
    lost = models.JSONField(default=dict)
    """Path -> value that a push wanted and a conflict did not take."""
    act = models.CharField(max_length=8)
    """edit, create (again, after a deletion), delete, revive"""


class Arrival(models.Model):
    """A record that came from another space: where its history before that can be read."""

    pk = models.CompositePrimaryKey("space_id", "key", "version")
    space_id = models.UUIDField()
    key = models.BinaryField()
    version = models.BigIntegerField()
    """The change set that brought it."""
    from_space_id = models.UUIDField()
    from_version = models.BigIntegerField()
    """The head of that space when the record left it: its history up to there belongs to the record."""

    class Meta:
        indexes = [models.Index(fields=["from_space_id", "key"], name="sync_arrival_from")]


class DeviceCursor(models.Model):
    """The last cursor that a device presented, to notice a copied client file or a restored server."""

    pk = models.CompositePrimaryKey("device_id", "space_id")
    device = models.ForeignKey(Device, models.CASCADE, related_name="+", db_index=False)
    space = models.ForeignKey(Space, models.CASCADE, related_name="+", db_index=False)
    version = models.BigIntegerField()
    key = models.BinaryField()
    seen_at = models.DateTimeField()


class DeviceTrouble(models.Model):
    """What a device was refused in a space: the kind of error, never what it had sent (`sync.troubles`)."""

    pk = models.CompositePrimaryKey("device_id", "space_id")
    device = models.ForeignKey(Device, models.CASCADE, related_name="+", db_index=False)
    space = models.ForeignKey(Space, models.CASCADE, related_name="+", db_index=False)
    kind = models.CharField(max_length=60)
    """The type of the last problem."""
    times = models.IntegerField()
    """How often, without a quiet week between."""
    at = models.DateTimeField()


class SpaceSize(models.Model):
    """How much room a shared space took when it was weighed (`sync.weighing`)."""

    space = models.OneToOneField(Space, models.CASCADE, primary_key=True, related_name="+")
    version = models.BigIntegerField()
    """The head of the space then."""
    bytes = models.BigIntegerField()
    at = models.DateTimeField()


class SearchIndex(models.Model):
    """How far the search index has followed a space (`sync.indexing`)."""

    space_id = models.UUIDField(primary_key=True)
    upto = models.BigIntegerField(default=0)
    """Version of the space up to which all records are indexed."""
    not_before = models.DateTimeField(null=True)
    """Until then somebody needs the processors for other work on this space."""


class SearchEntry(models.Model):
    """The words of one record, as they were at `version`. An entry that is behind its record is not used."""

    pk = models.CompositePrimaryKey("space_id", "key")
    space_id = models.UUIDField()
    key = models.BinaryField()
    type = models.TextField()
    version = models.BigIntegerField()
    document = SearchVectorField()
    """Its words, and the id of its space as one more word: so one index answers "in this space"."""

    class Meta:
        indexes = [GinIndex(fields=["document"], name="searchentry_document")]


class Record(models.Model):
    """What all record types have in common.

    No foreign key leads to the space or to a parent: checking one costs more than writing
    the row, every write holds the space's head, and parents may be tombstones.
    """

    pk: Any = models.CompositePrimaryKey("space_id", "key")
    space_id = models.UUIDField()
    key = models.BinaryField()
    """First 16 bytes of SHA-256 of "type/id": an id may be too long for an index row."""
    id = models.TextField()
    version = models.BigIntegerField()
    """The change set that last touched the record."""
    born = models.BigIntegerField()
    """The change set that first made it; fields not in `field_versions` date from then."""
    deleted = models.BooleanField(default=False, db_default=False)
    """A tombstone. Its values stay, so a revival brings them back."""
    cascaded = models.BooleanField(default=False, db_default=False)
    """Deleted only because something it hung on was."""
    field_versions = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))
    """Path -> version that last changed it, for what changed since `born`."""
    hash = models.BigIntegerField()
    """First 8 bytes of the SHA-256 of the canonical record, as a signed integer."""
    sector = models.SmallIntegerField()
    extra = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))
    """Fields that this server does not know, and `originals`: what LogoMesh had stored."""

    hangs_on: ClassVar[tuple[str, ...]] = ()

    class Meta:
        abstract = True
        indexes = [models.Index(fields=["space_id", "version", "key"], name="%(class)s_feed")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(born__gte=1, version__gte=models.F("born")), name="%(class)s_versions"
            ),
            models.CheckConstraint(
                condition=models.Q(cascaded=False) | models.Q(deleted=True), name="%(class)s_cascaded"
            ),
            models.CheckConstraint(
                condition=models.Q(sector__gte=0, sector__lte=255), name="%(class)s_sector"
            ),
        ]


def _text() -> Any:
    return models.TextField(null=True)


def _number() -> Any:
    return models.FloatField(null=True)


def _time() -> Any:
    return models.DateTimeField(null=True)


def _object() -> Any:
    return models.JSONField(default=dict)


def _parent() -> Any:
    """The key of the record named in the field beside it."""
    return models.BinaryField(null=True)


def _found_by(model: str, *parents: str) -> list[models.Index]:
    return [models.Index(fields=["space_id", parent], name=f"{model}_{parent}") for parent in parents]


def _tombstones(model: str) -> models.Index:
    """What was deleted, which is little: pages list it, and the purge looks for it."""
    return models.Index(
        fields=["space_id", "version"], name=f"{model}_tombstones", condition=models.Q(deleted=True)
    )


class Thought(Record):
    title = _text()
    description = _text()
    color = _text()
    position_x = _number()
    position_y = _number()
    fields = _object()
    metadata = _object()
    created_at = _time()
    updated_at = _time()

    class Meta(Record.Meta):
        db_table = "sync_thoughts"
        indexes = [
            *Record.Meta.indexes,
            _tombstones("thought"),
            models.Index(
                models.F("space_id"),
                models.F("updated_at").desc(nulls_last=True),
                models.F("key"),
                name="thought_newest",
                condition=models.Q(deleted=False),
            ),
        ]


class Segment(Record):
    thought_id = _text()
    thought_key = _parent()
    title = _text()
    content = _text()
    content_type = _text()
    asset_path = _text()
    abstraction_level = _text()
    local_priority = _number()
    cluster_id = _text()
    sort_order = _number()
    fields = _object()
    metadata = _object()
    created_at = _time()
    updated_at = _time()

    class Meta(Record.Meta):
        db_table = "sync_segments"
        indexes = [*Record.Meta.indexes, *_found_by("segment", "thought_key"), _tombstones("segment")]


class Tag(Record):
    name = _text()
    color = _text()
    created_at = _time()

    class Meta(Record.Meta):
        db_table = "sync_tags"


class ThoughtTag(Record):
    thought_id = _text()
    thought_key = _parent()
    tag_id = _text()
    tag_key = _parent()
    created_at = _time()

    class Meta(Record.Meta):
        db_table = "sync_thought_tags"
        indexes = [*Record.Meta.indexes, *_found_by("thoughttag", "thought_key", "tag_key")]


class SegmentTag(Record):
    segment_id = _text()
    segment_key = _parent()
    tag_id = _text()
    tag_key = _parent()
    created_at = _time()

    class Meta(Record.Meta):
        db_table = "sync_segment_tags"
        indexes = [*Record.Meta.indexes, *_found_by("segmenttag", "segment_key", "tag_key")]


class SegmentField(Record):
    segment_id = _text()
    segment_key = _parent()
    name = _text()
    value = _text()
    value_type = _text()
    created_at = _time()

    class Meta(Record.Meta):
        db_table = "sync_segment_fields"
        indexes = [*Record.Meta.indexes, *_found_by("segmentfield", "segment_key")]


class SegmentNeighbor(Record):
    source_id = _text()
    source_key = _parent()
    target_id = _text()
    target_key = _parent()
    relationship_type = _text()
    strength = _number()
    metadata = _object()
    created_at = _time()

    class Meta(Record.Meta):
        db_table = "sync_segment_neighbors"
        indexes = [*Record.Meta.indexes, *_found_by("segmentneighbor", "source_key", "target_key")]


class SegmentRelatedContext(Record):
    segment_id = _text()
    segment_key = _parent()
    context_type = _text()
    data = _text()
    source = _text()
    relevance = _number()
    expires_at = _time()
    created_at = _time()

    class Meta(Record.Meta):
        db_table = "sync_segment_related_context"
        indexes = [*Record.Meta.indexes, *_found_by("segmentcontext", "segment_key")]


class SegmentLlmHistory(Record):
    segment_id = _text()
    segment_key = _parent()
    prompt = _text()
    response = _text()
    llm_model = _text()
    interaction_type = _text()
    metadata = _object()
    created_at = _time()

    class Meta(Record.Meta):
        db_table = "sync_segment_llm_history"
        indexes = [*Record.Meta.indexes, *_found_by("segmentllm", "segment_key")]


class Embedding(Record):
    owner_type = _text()
    owner_id = _text()
    owner_key = _parent()
    model = _text()
    dimensions = _number()
    vector = models.BinaryField(null=True)

    class Meta(Record.Meta):
        db_table = "sync_embeddings"
        indexes = [*Record.Meta.indexes, *_found_by("embedding", "owner_key")]


class Conflict(models.Model):
    """What two people wrote into one place, kept until somebody decides. It travels in the feed."""

    pk = models.CompositePrimaryKey("space_id", "key")
    space_id = models.UUIDField()
    key = models.BinaryField()
    id = models.UUIDField(default=uuid7, unique=True)
    version = models.BigIntegerField()
    record_type = models.TextField()
    record_id = models.TextField()
    record_key = models.BinaryField()
    kind = models.CharField(max_length=6)
    """edit, delete or revive"""
    fields = models.JSONField(default=dict)
    """Path -> {base, server, client}"""
    proposal = models.JSONField(default=dict)
    """Path -> text merged word by word"""
    server = models.JSONField(default=dict)
    """{user, device, version, at} of the value that stayed"""
    client = models.JSONField(default=dict)
    """{user, device, at} of the value that did not"""
    state = models.CharField(max_length=8, default="open")
    resolution = models.JSONField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "sync_conflicts"
        indexes = [
            models.Index(fields=["space_id", "version", "key"], name="conflict_feed"),
            models.Index(fields=["space_id", "record_key"], name="conflict_record"),
        ]


RECORD_MODELS: dict[str, type[Record]] = {
    model._meta.db_table.removeprefix("sync_"): model for model in Record.__subclasses__()
}
"""Record type -> its model."""
