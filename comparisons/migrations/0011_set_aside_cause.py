from typing import Any

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Q


def note_causes(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Say why each comparison was set aside; what a flag left out and was taken back goes out again."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("SET LOCAL statement_timeout = 0")
    comparisons = apps.get_model("comparisons", "Comparison").objects
    aside = comparisons.filter(set_aside_at__isnull=False)
    gone = Q(set_aside_reason="withdrawn") | Q(turn__conversation__is_withdrawn=True)
    for person in ("crowdworker", "turn__conversation__crowdworker", "picked__author", "other__author"):
        gone |= Q(**{f"{person}__standing": "withdrawn"})
    aside.filter(gone).update(set_aside_cause="withdrawn")
    decisions = apps.get_model("comparisons", "AuditEntry").objects.filter(action="flag.set_aside")
    for decision in decisions.order_by("pk").iterator():
        _note_flag(apps, decision)
    aside.filter(set_aside_cause="").update(set_aside_cause="person")


def _note_flag(apps: Apps, decision: Any) -> None:
    flags = apps.get_model("comparisons", "Flag").objects.select_related("turn")
    flag = flags.filter(pk=int(decision.object_id)).first()
    if flag is None:
        return
    reach = apps.get_model("comparisons", "Comparison").objects.filter(
        turn__conversation=flag.turn.conversation_id, turn__index__gte=flag.turn.index,
        created_at__lte=decision.at,
    ).exclude(set_aside_cause="withdrawn")
    back = reach.filter(set_aside_at__isnull=True)
    apps.get_model("comparisons", "DatasetRelease").objects.filter(
        members__comparison__in=back, state="frozen", stale_at__isnull=True
    ).update(stale_at=decision.at)
    reason = str(decision.detail.get("reason", ""))[:200]
    back.update(set_aside_at=decision.at, set_aside_reason=reason)
    reach.update(set_aside_cause="flag")


class Migration(migrations.Migration):

    dependencies = [
        ('comparisons', '0010_judged_items'),
    ]

    operations = [
        migrations.AddField(
            model_name='comparison',
            name='set_aside_cause',
            field=models.CharField(blank=True, choices=[('person', "the person's work was set aside"), ('flag', 'a flag was heeded'), ('withdrawn', 'withdrawn')], db_default='', default='', max_length=12),
        ),
        migrations.RunPython(note_causes, migrations.RunPython.noop),
    ]
