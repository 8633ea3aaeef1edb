from django.db import migrations

OURS = (
    'given up after too many attempts',
    'the reply is empty',
    'the reply has no end',
    'the reply is endless',
    'the reply has no finish reason',
    'the response has no deployment',
)


def forget_words(apps, schema_editor):
    """What an endpoint said may quote the prompt; only words of our own stay."""
    responses = apps.get_model('comparisons', 'Response').objects.using(schema_editor.connection.alias)
    responses.exclude(failure='').exclude(failure__in=OURS).update(failure='')


class Migration(migrations.Migration):

    dependencies = [
        ('comparisons', '0021_one_assignment_per_submission'),
    ]

    operations = [
        migrations.RunPython(forget_words, migrations.RunPython.noop),
    ]
