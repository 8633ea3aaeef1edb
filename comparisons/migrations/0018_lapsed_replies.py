import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('comparisons', '0017_heeded_flags'),
    ]

    operations = [
        migrations.CreateModel(
            name='LapsedReply',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('shown_at', models.DateTimeField()),
                ('crowdworker', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='lapsed_replies', to='comparisons.crowdworker')),
                ('wanted', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='lapses', to='comparisons.wantedreply')),
            ],
        ),
    ]
