"""What PostgreSQL itself keeps true, and how it stores long texts."""

from django.db import migrations

HEAD_OF_EACH_SPACE = """
CREATE FUNCTION sync_open_head() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO sync_spacehead (space_id, head, epoch, purged_before, counts)
    VALUES (NEW.id, 0, gen_random_uuid(), 0, '{}');
    RETURN NULL;
END $$;
CREATE TRIGGER sync_open_head AFTER INSERT ON workspaces_space
    FOR EACH ROW EXECUTE FUNCTION sync_open_head();
ALTER TABLE sync_spacehead SET (fillfactor = 50);
"""
NO_HEADS = """
DROP TRIGGER sync_open_head ON workspaces_space;
DROP FUNCTION sync_open_head();
"""

RECORD_TABLES = [
    "thoughts", "segments", "tags", "thought_tags", "segment_tags", "segment_fields",
    "segment_neighbors", "segment_related_context", "segment_llm_history", "embeddings",
]  # fmt: skip

# Kinto's purge once deleted live records: here PostgreSQL refuses to.
ONLY_TOMBSTONES = """
CREATE FUNCTION sync_only_tombstones() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a live record is never removed, only marked as deleted';
END $$;
""" + "".join(
    f"CREATE TRIGGER only_tombstones BEFORE DELETE ON sync_{table}"
    " FOR EACH ROW WHEN (NOT OLD.deleted) EXECUTE FUNCTION sync_only_tombstones();\n"
    for table in RECORD_TABLES
)
ANYTHING = (
    "".join(f"DROP TRIGGER only_tombstones ON sync_{table};\n" for table in RECORD_TABLES)
    + "DROP FUNCTION sync_only_tombstones();"
)

# Segments that were moved to another thought may take it out of a scope (`sync.pull.scope`).
MOVED_SEGMENTS = (
    "CREATE INDEX sync_history_moved ON sync_history (space_id, version) WHERE old ? 'thought_id'"
)

LONG_TEXTS = {
    "sync_thoughts": ["description"],
    "sync_segments": ["content"],
    "sync_segment_fields": ["value"],
    "sync_segment_related_context": ["data"],
    "sync_segment_llm_history": ["prompt", "response"],
    "sync_embeddings": ["vector"],
}


def store_long_texts(apps, schema_editor):
    """lz4 where this PostgreSQL has it, else uncompressed.

    The default, pglz, makes loading 2.19 GB of prose take 47 s instead of 10 s (lz4) or 8 s.
    """
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_settings"
            " WHERE name = 'default_toast_compression' AND 'lz4' = ANY(enumvals))"
        )
        (has_lz4,) = cursor.fetchone()
        way = "COMPRESSION lz4" if has_lz4 else "STORAGE EXTERNAL"
        for table, columns in LONG_TEXTS.items():
            for column in columns:
                cursor.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET {way}")


class Migration(migrations.Migration):
    dependencies = [("sync", "0001_initial")]

    operations = [
        migrations.RunSQL(HEAD_OF_EACH_SPACE, NO_HEADS),
        migrations.RunSQL(ONLY_TOMBSTONES, ANYTHING),
        migrations.RunSQL(MOVED_SEGMENTS, "DROP INDEX sync_history_moved"),
        migrations.RunPython(store_long_texts, migrations.RunPython.noop),
    ]
