from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def mend_bounds(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Pay below nothing was no pay; work with a lease of no minutes was given back at once."""
    campaigns = apps.get_model("comparisons", "Campaign").objects
    campaigns.filter(pay_amount__lt=0).update(pay_amount=0)
    campaigns.filter(lease_minutes=0).update(lease_minutes=120)


class Migration(migrations.Migration):
    """Apart from the constraints: PostgreSQL changes no table whose rows the same transaction changed."""

    dependencies = [
        ('comparisons', '0013_counted_time'),
    ]

    operations = [
        migrations.RunPython(mend_bounds, migrations.RunPython.noop),
    ]
