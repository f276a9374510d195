import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("migration", "0003_import_undoing"),
    ]

    operations = [
        migrations.CreateModel(
            name="Divergence",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "imported_by_id",
                        "table",
                        "position",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "imported_by",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="divergences",
                        to="migration.import",
                    ),
                ),
                ("table", models.TextField()),
                ("position", models.BigIntegerField()),
                ("key", models.BinaryField()),
                ("version", models.BigIntegerField()),
                ("hash", models.BigIntegerField()),
                ("record", models.BinaryField(null=True)),
            ],
            options={
                "indexes": [models.Index(fields=["imported_by", "key"], name="divergence_of_key")],
            },
        ),
        migrations.AddField(
            model_name="import",
            name="began_at",
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="import",
            name="family",
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name="import",
            name="options",
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name="importchunk",
            name="taken_back",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddIndex(
            model_name="import",
            index=models.Index(fields=["space", "family"], name="import_family"),
        ),
    ]
