"""Make the audit's previous hash unique, so that two entries never follow the same one."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("comparisons", "0002_initial")]

    operations = [
        migrations.AlterField(
            model_name="auditentry",
            name="previous_hash",
            field=models.CharField(max_length=64, unique=True),
        ),
    ]
