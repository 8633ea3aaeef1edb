from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('comparisons', '0018_lapsed_replies'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='conversation',
            index=models.Index(fields=['finished_at'], name='conversations_finished'),
        ),
    ]
