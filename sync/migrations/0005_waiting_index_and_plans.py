"""The search index can wait for other work, and no plan takes a new space for an empty one.

With statistics about `space_id`, a space that was filled after the last ANALYZE counts as having one
row: asking for a record by key then reads the whole space, for every key. Without them every space
counts as a part of its table, and such a question goes to the primary key.
"""

from contextlib import suppress

from django.db import NotSupportedError, migrations, models, transaction

RECORD_TABLES = [
    "thoughts", "segments", "tags", "thought_tags", "segment_tags", "segment_fields",
    "segment_neighbors", "segment_related_context", "segment_llm_history", "embeddings",
]  # fmt: skip


def set_statistics(target):
    return "".join(
        f"ALTER TABLE sync_{table} ALTER COLUMN space_id SET STATISTICS {target};\n"
        for table in RECORD_TABLES
    )


def forget_statistics(apps, schema_editor):
    """Those made before would stay for ever. Only PostgreSQL 18 can be asked to forget them.

    Before, they go when a column is given a type, be it its own: rows and whole indexes stay where they are.
    Where somebody's view reads the column that is refused. Then they stay: plans are as they were.
    """
    connection = schema_editor.connection
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_proc WHERE proname = 'pg_clear_attribute_stats')")
        can_clear = cursor.fetchone()[0]
        for table in RECORD_TABLES:
            if can_clear:
                cursor.execute(
                    "SELECT pg_clear_attribute_stats(current_schema(), %s, 'space_id', false)",
                    [f"sync_{table}"],
                )
                continue
            with suppress(NotSupportedError), transaction.atomic(connection.alias):
                cursor.execute(f"ALTER TABLE sync_{table} ALTER COLUMN space_id TYPE uuid")


class Migration(migrations.Migration):
    dependencies = [("sync", "0004_search")]

    operations = [
        migrations.AddField("searchindex", "not_before", models.DateTimeField(null=True)),
        migrations.RunSQL(set_statistics(0), set_statistics(-1)),
        migrations.RunPython(forget_statistics, migrations.RunPython.noop),
    ]
