from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Count


def merge_doubles(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Of several open flags of one kind, by one person on one turn, the first stays, with every note."""
    flags = apps.get_model("comparisons", "Flag").objects.filter(resolved_at__isnull=True)
    same = ("turn_id", "crowdworker_id", "kind")
    doubled = flags.order_by().values(*same).annotate(count=Count("pk")).filter(count__gt=1)
    for each in list(doubled.values(*same)):
        first, *others = flags.filter(**each).order_by("pk")
        first.note = "\n".join(dict.fromkeys(flag.note for flag in (first, *others) if flag.note))
        first.save(update_fields=["note"])
        flags.filter(pk__in=[flag.pk for flag in others]).delete()


class Migration(migrations.Migration):

    dependencies = [
        ('comparisons', '0011_set_aside_cause'),
    ]

    operations = [
        migrations.RunPython(merge_doubles, migrations.RunPython.noop),
        migrations.AddConstraint(
            model_name='flag',
            constraint=models.UniqueConstraint(condition=models.Q(('resolved_at__isnull', True)), fields=('turn', 'crowdworker', 'kind'), name='one_open_flag_per_turn_crowdworker_and_kind'),
        ),
    ]
