from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def note_heeded(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Which flags something was set aside for stands in the audit; releases that hold what came later are out of date."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("SET LOCAL statement_timeout = 0")
    flags = apps.get_model("comparisons", "Flag").objects
    releases = apps.get_model("comparisons", "DatasetRelease").objects
    decisions = apps.get_model("comparisons", "AuditEntry").objects.filter(action="flag.set_aside")
    for decision in decisions.order_by("pk").iterator():
        flag = flags.select_related("turn").filter(pk=int(decision.object_id)).first()
        if flag is None:
            continue
        flags.filter(pk=flag.pk).update(is_heeded=True)
        later = apps.get_model("comparisons", "Comparison").objects.filter(
            turn__conversation=flag.turn.conversation_id, turn__index__gte=flag.turn.index,
            set_aside_at__isnull=True,
        )
        releases.filter(
            members__comparison__in=later, state="frozen", stale_at__isnull=True
        ).update(stale_at=decision.at)


class Migration(migrations.Migration):

    dependencies = [
        ('comparisons', '0016_invitations_without_campaign'),
    ]

    operations = [
        migrations.AddField(
            model_name='flag',
            name='is_heeded',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.RunPython(note_heeded, migrations.RunPython.noop),
    ]
