from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('comparisons', '0020_platforms_of_submissions'),
    ]

    operations = [
        migrations.AddConstraint(
            model_name='assignment',
            constraint=models.UniqueConstraint(condition=models.Q(('external_platform__in', ['prolific', 'mturk']), models.Q(('external_submission_id', ''), _negated=True)), fields=('external_platform', 'external_submission_id'), name='one_assignment_per_submission_of_a_platform'),
        ),
    ]
