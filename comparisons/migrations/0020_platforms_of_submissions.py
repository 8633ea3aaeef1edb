from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

AT_ONCE = 500


def name_platforms(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Of several assignments of one submission one stands for it: the first that was not given back."""
    arrivals = apps.get_model("comparisons", "Arrival").objects.values_list(
        "assignment__state", "assignment_id", "source__platform", "assignment__external_submission_id"
    )
    standing: dict[tuple[str, str], int] = {}
    by_platform: dict[str, list[int]] = {}
    rows = sorted((state == "returned", *rest) for state, *rest in arrivals)
    for _is_returned, assignment, platform, submission in rows:
        is_numbered = bool(submission) and platform in {"prolific", "mturk"}
        if not is_numbered or standing.setdefault((platform, submission), assignment) == assignment:
            by_platform.setdefault(platform, []).append(assignment)
    assignments = apps.get_model("comparisons", "Assignment").objects
    for platform, keys in by_platform.items():
        for begin in range(0, len(keys), AT_ONCE):
            some = assignments.filter(pk__in=keys[begin : begin + AT_ONCE])
            some.update(external_platform=platform)


class Migration(migrations.Migration):
    """Apart from the constraint: PostgreSQL changes no table whose rows the same transaction changed."""

    dependencies = [
        ('comparisons', '0019_conversations_finished'),
    ]

    operations = [
        migrations.AddField(
            model_name='assignment',
            name='external_platform',
            field=models.CharField(blank=True, default='', max_length=12),
            preserve_default=False,
        ),
        migrations.RunPython(name_platforms, migrations.RunPython.noop),
    ]
