"""Uploaded files and what became of them. The truth of every job stands here, not in a queue."""

from __future__ import annotations

from django.db import models

from workspaces.ids import uuid7
from workspaces.models import Device, Person, Space


class Upload(models.Model):
    """Bytes on their way in (tus 1.0)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    person = models.ForeignKey(Person, models.CASCADE, related_name="+")
    file_name = models.TextField(blank=True)
    role = models.CharField(max_length=7, default="file")
    """file, wal or journal"""
    set = models.TextField(blank=True)
    """Uploads of one set belong together: a file and its journal."""
    length = models.BigIntegerField()
    offset = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return str(self.id)


class State(models.TextChoices):
    UPLOADED = "uploaded"
    ASSESSING = "assessing"
    READY = "ready"
    COPYING = "copying"
    VERIFYING = "verifying"
    DONE = "done"
    PAUSED = "paused"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNDONE = "undone"


WORKING = (State.UPLOADED, State.ASSESSING, State.COPYING, State.VERIFYING)
"""States in which a job has something to do."""


class Import(models.Model):
    """The migration of one file into one space, and its job."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    space = models.ForeignKey(Space, models.CASCADE, related_name="imports")
    person = models.ForeignKey(Person, models.PROTECT, related_name="+")
    device = models.ForeignKey(Device, models.SET_NULL, null=True, related_name="+")
    file_name = models.TextField(blank=True)
    path = models.TextField()
    """The file as it was uploaded; what lies beside it in its folder belongs to this import."""
    size = models.BigIntegerField()
    sha256 = models.BinaryField(max_length=32)

    state = models.CharField(max_length=9, choices=State, default=State.UPLOADED)
    paused_in = models.CharField(max_length=9, blank=True)
    """The state to which `resume` returns."""
    strategy = models.CharField(max_length=7, default="full")
    filters = models.JSONField(default=dict)
    options = models.JSONField(default=dict)
    """What else was chosen: existing, orphans, missing_tags, ids."""
    family = models.UUIDField(null=True)
    """The same for all imports of this file, and of other copies of it, into this space: they build on each
    other. It names none of them, for members see it in the ids of what was made for rows to hang on."""
    began_at = models.BigIntegerField(null=True)
    """Head of the space when copying began."""
    dry_run = models.BooleanField(default=False)
    salvage = models.BooleanField(default=False)
    """Whether to take what can still be read of a damaged file."""
    undoing = models.BooleanField(default=False)
    """Whether what it brought is being taken back; then it is `undone`."""

    lease = models.UUIDField(null=True)
    """Who works on the job now. A worker that is killed loses it when it ends."""
    leased_until = models.DateTimeField(null=True)
    attempts = models.IntegerField(default=0)
    """How often a worker took the job since it last got further."""
    checkpoint = models.JSONField(default=dict)
    """How far copying got, written in the transaction of each chunk: exactly once."""
    progress = models.JSONField(default=dict)
    assessment = models.JSONField(null=True)
    report = models.JSONField(null=True)
    problem = models.JSONField(null=True)
    """Why it failed: {"type", "detail"}."""

    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["person", "-created_at"], name="import_of_person"),
            models.Index(fields=["space", "family"], name="import_family"),
            models.Index(fields=["leased_until"], name="import_to_do", condition=models.Q(state__in=WORKING)),
        ]
        constraints = [
            models.CheckConstraint(condition=models.Q(state__in=State.values), name="import_state"),
        ]

    def __str__(self) -> str:
        return self.file_name or str(self.id)


class ImportChunk(models.Model):
    """The change set in which an import brought some records, or an undo took some back."""

    pk = models.CompositePrimaryKey("imported_by_id", "version")
    imported_by = models.ForeignKey(Import, models.CASCADE, related_name="chunks", db_index=False)
    version = models.BigIntegerField()
    rows = models.IntegerField()
    taken_back = models.BooleanField(default=False, db_default=False)

    def __str__(self) -> str:
        return f"version {self.version}"


class SetAsideRow(models.Model):
    """A row of the file that could not become a record, kept byte by byte."""

    pk = models.CompositePrimaryKey("imported_by_id", "table", "position")
    imported_by = models.ForeignKey(Import, models.CASCADE, related_name="set_aside", db_index=False)
    table = models.TextField()
    position = models.BigIntegerField()
    """Its rowid; in a table without rowids its place."""
    reason = models.TextField()
    missing = models.TextField(blank=True)
    """The id of what it hangs on and the file does not have."""
    columns = models.BinaryField()
    """JSON: column -> {"type", "base64" or "value"}."""

    def __str__(self) -> str:
        return f"{self.table} {self.position}"


class Divergence(models.Model):
    """A row of the file that the space holds otherwise than the file: both were merged, or one was kept."""

    pk = models.CompositePrimaryKey("imported_by_id", "table", "position")
    imported_by = models.ForeignKey(Import, models.CASCADE, related_name="divergences", db_index=False)
    table = models.TextField()
    position = models.BigIntegerField()
    key = models.BinaryField()
    version = models.BigIntegerField()
    """The head of the space just afterwards."""
    hash = models.BigIntegerField()
    """Of the record as the space held it then."""
    record = models.BinaryField(null=True)
    """JSON: the record as the file has it, on which the next copy of the file builds. None: it is no
    other than before."""

    class Meta:
        indexes = [models.Index(fields=["imported_by", "key"], name="divergence_of_key")]

    def __str__(self) -> str:
        return f"{self.table} {self.position}"


class Deviation(models.Model):
    """A cell that is not in the record as the file had it; the original stands in the record's `extra`."""

    pk = models.CompositePrimaryKey("imported_by_id", "table", "position", "column", "kind")
    imported_by = models.ForeignKey(Import, models.CASCADE, related_name="deviations", db_index=False)
    table = models.TextField()
    position = models.BigIntegerField()
    record_id = models.TextField()
    column = models.TextField()
    kind = models.TextField()

    def __str__(self) -> str:
        return f"{self.table} {self.position} {self.column}: {self.kind}"
