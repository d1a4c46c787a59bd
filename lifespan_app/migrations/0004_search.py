from typing import Any

from django.db import migrations, models


BATCH = 2_000


def fill_short_id(apps: Any, schema_editor: Any) -> None:
    """Give each run the short form of its UUID, in batches."""
    runs = apps.get_model("lifespan_app", "LifespanRun").objects.using(
        schema_editor.connection.alias
    )
    without = runs.filter(short_id="").order_by("pk")
    while batch := list(without.only("pk", "uuid")[:BATCH]):
        for run in batch:
            run.short_id = str(run.uuid)[:8]
        runs.bulk_update(batch, ["short_id"], batch_size=BATCH)


class Migration(migrations.Migration):

    dependencies = [
        ('lifespan_app', '0002_leases'),
        ('lifespan_app', '0003_readiness_and_jobs'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='lifespanrun',
            options={'ordering': ['-started_at', '-id'], 'verbose_name': 'run', 'verbose_name_plural': 'runs'},
        ),
        migrations.RemoveIndex(
            model_name='lifespanrun',
            name='lifespan_run_launch',
        ),
        migrations.RemoveIndex(
            model_name='lifespanrun',
            name='lifespan_run_mode',
        ),
        migrations.RemoveIndex(
            model_name='lifespanrun',
            name='lifespan_run_service_type',
        ),
        migrations.RemoveIndex(
            model_name='lifespanrun',
            name='lifespan_run_status',
        ),
        migrations.RemoveIndex(
            model_name='lifespanrun',
            name='lifespan_run_host',
        ),
        migrations.RemoveIndex(
            model_name='lifespanrun',
            name='lifespan_run_release',
        ),
        migrations.RemoveIndex(
            model_name='lifespanrun',
            name='lifespan_run_fingerprint',
        ),
        migrations.AddField(
            model_name='lifespanrun',
            name='error_class',
            field=models.CharField(blank=True, db_default='', default='', max_length=100, verbose_name='class of the error'),
        ),
        migrations.AddField(
            model_name='lifespanrun',
            name='left_out',
            field=models.JSONField(blank=True, db_default=[], default=list, verbose_name='left out by LIFESPAN_SKIP'),
        ),
        migrations.AddField(
            model_name='lifespanrun',
            name='short_id',
            field=models.CharField(blank=True, db_default='', default='', max_length=8, verbose_name='id'),
        ),
        migrations.AlterField(
            model_name='lifespanrun',
            name='started_at',
            field=models.DateTimeField(verbose_name='started'),
        ),
        migrations.AddIndex(
            model_name='lifespanrun',
            index=models.Index(fields=['started_at', 'id'], name='lifespan_run_started'),
        ),
        migrations.AddIndex(
            model_name='lifespanrun',
            index=models.Index(fields=['launch', 'started_at', 'id'], name='lifespan_run_launch'),
        ),
        migrations.AddIndex(
            model_name='lifespanrun',
            index=models.Index(fields=['mode', 'started_at', 'id'], name='lifespan_run_mode'),
        ),
        migrations.AddIndex(
            model_name='lifespanrun',
            index=models.Index(fields=['service_type', 'started_at', 'id'], name='lifespan_run_service_type'),
        ),
        migrations.AddIndex(
            model_name='lifespanrun',
            index=models.Index(fields=['status', 'started_at', 'id'], name='lifespan_run_status'),
        ),
        migrations.AddIndex(
            model_name='lifespanrun',
            index=models.Index(fields=['short_id'], name='lifespan_run_short_id'),
        ),
        migrations.AddIndex(
            model_name='lifespanrun',
            index=models.Index(fields=['pid', 'started_at', 'id'], name='lifespan_run_pid'),
        ),
        migrations.AddIndex(
            model_name='lifespanrun',
            index=models.Index(fields=['error_class', 'started_at', 'id'], name='lifespan_run_error'),
        ),
        migrations.AddIndex(
            model_name='lifespanrun',
            index=models.Index(fields=['host', 'started_at', 'id'], name='lifespan_run_host', opclasses=['varchar_pattern_ops', 'timestamptz_ops', 'int8_ops']),
        ),
        migrations.AddIndex(
            model_name='lifespanrun',
            index=models.Index(fields=['release', 'started_at', 'id'], name='lifespan_run_release', opclasses=['varchar_pattern_ops', 'timestamptz_ops', 'int8_ops']),
        ),
        migrations.AddIndex(
            model_name='lifespanrun',
            index=models.Index(fields=['fingerprint', 'started_at', 'id'], name='lifespan_run_fingerprint'),
        ),
        migrations.RunPython(fill_short_id, migrations.RunPython.noop, elidable=True),
    ]
