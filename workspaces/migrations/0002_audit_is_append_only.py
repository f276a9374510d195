"""PostgreSQL itself keeps the audit trail as it was written."""

from django.db import migrations

APPEND_ONLY = """
CREATE FUNCTION workspaces_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is only ever added to';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON workspaces_auditentry
    FOR EACH ROW EXECUTE FUNCTION workspaces_append_only();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON workspaces_auditentry
    FOR EACH STATEMENT EXECUTE FUNCTION workspaces_append_only();
"""
ANYTHING = """
DROP TRIGGER append_only ON workspaces_auditentry;
DROP TRIGGER never_emptied ON workspaces_auditentry;
DROP FUNCTION workspaces_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("workspaces", "0001_initial")]

    operations = [migrations.RunSQL(APPEND_ONLY, ANYTHING)]
