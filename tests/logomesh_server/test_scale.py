"""What docs/scale.md promises of the tables: they could be spread over several databases by space."""

from __future__ import annotations

import pytest
from django.db import connection

ALONE = {"sync_conflicts_id_key"}
"""Unique indexes without the space; docs/scale.md names each."""


@pytest.mark.django_db
def test_every_hot_table_carries_its_space_in_every_key() -> None:
    with connection.cursor() as cursor:
        cursor.execute("""
            SELECT c.relname, i.indexrelid::regclass::text, EXISTS (
                SELECT FROM pg_attribute a
                WHERE a.attrelid = c.oid AND a.attname = 'space_id' AND a.attnum = ANY (i.indkey))
            FROM pg_class c LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisunique
            WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace AND c.relname ~ '^sync_'
            """)
        found = cursor.fetchall()
    assert len({table for table, _, _ in found}) > 15
    assert {index for _, index, carries in found if not carries} == ALONE
