"""The shapes of requests and answers, for the API's documentation. They decide nothing."""

from __future__ import annotations

from rest_framework import serializers as s

from migration.choosing import EXISTING, IDS, MISSING_TAGS, ORPHANS, STRATEGIES
from migration.models import State


class NewImport(s.Serializer[None]):
    space = s.UUIDField()
    file = s.FileField(help_text="The SQLite file that LogoMesh wrote.")
    wal = s.FileField(required=False, help_text="The file of the same name that ends in -wal.")
    journal = s.FileField(required=False, help_text="The file of the same name that ends in -journal.")


class UploadedImport(s.Serializer[None]):
    space = s.UUIDField()
    upload = s.UUIDField(help_text="A complete upload of yours (tus, at /api/v1/uploads).")


class Upload(s.Serializer[None]):
    id = s.UUIDField()
    offset = s.IntegerField(help_text="Bytes that are here.")
    length = s.IntegerField()


class Filters(s.Serializer[None]):
    tags = s.ListField(child=s.CharField(), required=False, help_text="Ids or names: any of them.")
    clusters = s.ListField(child=s.CharField(), required=False, help_text="Any of them.")
    after = s.CharField(required=False, help_text="Thoughts changed after this time or day.")
    before = s.CharField(required=False, help_text="Thoughts changed before it.")


class Choices(s.Serializer[None]):
    strategy = s.ChoiceField(STRATEGIES, default="full")
    filters = Filters(required=False, help_text="Only for gradual; left out, it takes the rest of the file.")
    dry_run = s.BooleanField(default=False)
    existing = s.ChoiceField(
        EXISTING,
        required=False,
        help_text="What becomes of records that the space has already. Left out: merge where the file is a"
        " newer copy of one imported before, else keep.",
    )
    orphans = s.ChoiceField(ORPHANS, default="set-aside", help_text="Segments whose thought is missing.")
    missing_tags = s.ChoiceField(
        MISSING_TAGS, default="set-aside", help_text="Links to a tag that is not there."
    )
    ids = s.ChoiceField(IDS, default="keep", help_text="Rows whose id cannot be used: new gives them one.")


class Import(s.Serializer[None]):
    id = s.UUIDField()
    space = s.UUIDField()
    file = s.CharField()
    size = s.IntegerField(help_text="Bytes.")
    sha256 = s.CharField()
    state = s.ChoiceField(State.values)
    strategy = s.ChoiceField(STRATEGIES)
    filters = Filters()
    options = s.DictField(help_text="existing, orphans, missing_tags, ids")
    dry_run = s.BooleanField()
    undoing = s.BooleanField(help_text="Whether it is being taken back; then it is undone.")
    progress = s.DictField(help_text="rows, of, percent, seconds_left")
    assessment = s.DictField(allow_null=True, help_text="What was found in the file.")
    report = s.DictField(allow_null=True, help_text="What became of it, table by table, and the digests.")
    problem = s.DictField(allow_null=True, help_text="Why it failed: type, detail.")
    sync = s.DictField(
        allow_null=True,
        help_text="Once it is done, for a device that goes on in step with the space: space, epoch, head"
        " (when it was verified), file_sha256, file_digest (of the records that the file became), family.",
    )
    created_at = s.DateTimeField()
    started_at = s.DateTimeField(allow_null=True)
    finished_at = s.DateTimeField(allow_null=True)


class Imports(s.Serializer[None]):
    imports = Import(many=True)


class SetAsideRow(s.Serializer[None]):
    table = s.CharField()
    rowid = s.IntegerField()
    reason = s.CharField()
    missing = s.CharField(allow_null=True, help_text="The id of what it hangs on and the file does not have.")
    columns = s.DictField(help_text='Column -> {"type", "base64" or "value"}, byte by byte.')


class Deviation(s.Serializer[None]):
    table = s.CharField()
    rowid = s.IntegerField()
    id = s.CharField(help_text="Of the record.")
    column = s.CharField()
    what = s.CharField(help_text="What had to be done, such as nul or invalid-utf8.")


class Deviations(s.Serializer[None]):
    deviations = Deviation(many=True)
    cursor = s.CharField(allow_null=True)


class SetAside(s.Serializer[None]):
    rows = SetAsideRow(many=True)
    cursor = s.CharField(allow_null=True)
