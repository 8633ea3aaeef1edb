"""What a campaign may not be, said at the field and held by the database."""

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from comparisons.models import Campaign
from tests.comparisons.making import make_campaign

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("field", "value", "is_held"),
    [
        ("pay_amount", "-5.00", True),
        ("lease_minutes", 0, True),
        ("opinion_pay", "-0.001", True),
        ("reply_pay", "-0.001", True),
        ("pay_amount", "0.00", False),
        ("lease_minutes", 1, False),
    ],
)
def test_pay_and_lease_stay_within_their_bounds(field, value, is_held):
    campaign = make_campaign(pay_amount="7.50", lease_minutes=30, opinion_pay="1", reply_pay="1")
    rows = Campaign.objects.filter(pk=campaign.pk)
    setattr(campaign, field, value)

    if not is_held:
        campaign.full_clean()
        assert rows.update(**{field: value}) == 1
        return
    with pytest.raises(ValidationError) as refusal:
        campaign.full_clean(validate_constraints=False)
    assert list(refusal.value.message_dict) == [field]
    with pytest.raises(IntegrityError), transaction.atomic():
        rows.update(**{field: value})


@pytest.mark.parametrize(
    ("field", "refused", "taken"),
    [
        ("conversations_per_assignment", (0, 101), (1, 100)),
        ("turns_suggested", (0, 101), (1, 100)),
        ("max_message_characters", (0, 49, 100_001), (50, 100_000)),
        ("lease_minutes", (0, 2_000_000_000), (1, 43_200)),
        ("undo_seconds", (2_147_483_647,), (0, 86_400)),
        ("second_opinion_percent", (101,), (0, 100)),
        ("human_reply_percent", (101,), (0, 100)),
        ("red_team_daily_cap", (0, 10_001), (1, 10_000)),
        ("pay_currency", ("abc", "US", "U$D", ""), ("EUR",)),
    ],
)
def test_rules_that_would_stop_the_work_are_refused_at_their_field(field, refused, taken):
    campaign = make_campaign()

    for value in refused:
        setattr(campaign, field, value)
        with pytest.raises(ValidationError) as refusal:
            campaign.full_clean(validate_constraints=False)
        assert list(refusal.value.message_dict) == [field], value
        assert len(refusal.value.message_dict[field]) == (2 if value == "" else 1)
    for value in taken:
        setattr(campaign, field, value)
        campaign.full_clean()
