from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import OuterRef, Subquery


def note_judged(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Second opinions that were stored before say when; with many of them that takes its time."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("SET LOCAL statement_timeout = 0")
    comparisons = apps.get_model("comparisons", "Comparison").objects.filter(
        showing=OuterRef("pk"), superseded_at__isnull=True
    )
    showings = apps.get_model("comparisons", "Showing").objects.filter(purpose="second_opinion")
    showings.update(judged_at=Subquery(comparisons.values("created_at")[:1]))


class Migration(migrations.Migration):

    dependencies = [
        ('comparisons', '0009_pay_by_the_piece'),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name='showing',
            name='showing_held',
        ),
        migrations.AddField(
            model_name='showing',
            name='judged_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddIndex(
            model_name='showing',
            index=models.Index(condition=models.Q(('judged_at__isnull', True), ('replaced_at__isnull', True)), fields=['crowdworker', 'lease_until'], name='showing_held'),
        ),
        migrations.RunPython(note_judged, migrations.RunPython.noop),
    ]
