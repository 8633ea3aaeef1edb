import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('comparisons', '0014_mend_campaign_bounds'),
    ]

    operations = [
        migrations.AlterField(
            model_name='campaign',
            name='lease_minutes',
            field=models.PositiveIntegerField(default=120, validators=[django.core.validators.MinValueValidator(1)]),
        ),
        migrations.AlterField(
            model_name='campaign',
            name='opinion_pay',
            field=models.DecimalField(db_default=0, decimal_places=3, default=0, max_digits=8, validators=[django.core.validators.MinValueValidator(0)]),
        ),
        migrations.AlterField(
            model_name='campaign',
            name='pay_amount',
            field=models.DecimalField(decimal_places=2, default=0, max_digits=8, validators=[django.core.validators.MinValueValidator(0)]),
        ),
        migrations.AlterField(
            model_name='campaign',
            name='reply_pay',
            field=models.DecimalField(db_default=0, decimal_places=3, default=0, max_digits=8, validators=[django.core.validators.MinValueValidator(0)]),
        ),
        migrations.AddConstraint(
            model_name='campaign',
            constraint=models.CheckConstraint(condition=models.Q(('lease_minutes__gte', 1)), name='a_lease_lasts_a_minute_at_least'),
        ),
        migrations.AddConstraint(
            model_name='campaign',
            constraint=models.CheckConstraint(condition=models.Q(('pay_amount__gte', 0)), name='the_pay_of_a_campaign_is_not_negative'),
        ),
    ]
