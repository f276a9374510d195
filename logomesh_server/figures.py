"""What the database itself can tell for `/metrics`: numbers and ids, never a name or what somebody wrote."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.db import DatabaseError, connection

DEVICES: Final = 500  # the furthest behind; more would drown what watches them

_CONNECTIONS: Final = """
    SELECT coalesce(state, 'other'), count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' GROUP BY 1"""
_JOBS: Final = "SELECT state, count(*) FROM migration_import GROUP BY 1"
_CONFLICTS: Final = "SELECT state, count(*) FROM sync_conflicts GROUP BY 1"
# A device that was away for longer than deletions are remembered is behind in another way: it compares.
_LAG: Final = """
    SELECT c.device_id, max(greatest(h.head - c.version, 0)),
        extract(epoch FROM now() - coalesce(d.last_seen_at, max(c.seen_at)))::float8
    FROM sync_devicecursor c JOIN sync_spacehead h USING (space_id)
    JOIN workspaces_device d ON d.id = c.device_id
    WHERE d.revoked_at IS NULL AND c.seen_at > now() - make_interval(days => %s)
    GROUP BY c.device_id, d.last_seen_at ORDER BY 2 DESC LIMIT %s"""


def of_the_database() -> dict[str, float]:
    """Series -> value. While the database is away, only that."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_database_size(current_database())")
            figures = {"logomesh_database_up": 1.0, "logomesh_database_bytes": float(cursor.fetchone()[0])}
            for name, query in (
                ("logomesh_database_connections", _CONNECTIONS),
                ("logomesh_jobs", _JOBS),
                ("logomesh_conflicts", _CONFLICTS),
            ):
                cursor.execute(query)
                figures |= {f'{name}{{state="{state}"}}': float(count) for state, count in cursor.fetchall()}
            cursor.execute(_LAG, [settings.TOMBSTONE_DAYS, DEVICES])
            for device, versions, seconds in cursor.fetchall():
                figures[f'logomesh_device_lag_versions{{device="{device}"}}'] = float(versions)
                figures[f'logomesh_device_seen_seconds{{device="{device}"}}'] = seconds
    except DatabaseError:
        return {"logomesh_database_up": 0.0}
    return figures
