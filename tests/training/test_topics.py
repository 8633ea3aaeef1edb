"""Every setting of every kind of run stands under exactly one topic of the New-run form."""

import dataclasses

import pytest

from training.config import presets
from training.models import TrainingRun
from training.web.forms import NewRunForm
from training.web.topics import TOPICS, by_topic


@pytest.mark.parametrize("kind", TrainingRun.Kind.values)
def test_no_setting_is_lost_or_shown_twice(kind):
    topics = NewRunForm.settings(_Unbound(kind))

    shown = [setting["label"] for _, settings in topics for setting in settings]

    preset = next(iter(presets(kind).values()))
    wanted = {field.name for field in dataclasses.fields(preset)}
    assert sorted(shown) == sorted(wanted - {"kind"})


def test_topics_keep_their_order_and_unknown_names_come_last():
    folded = by_topic([{"label": "of_a_new_kind"}, {"label": "clip"}, {"label": "steps"}])

    assert [[each["label"] for each in settings] for _, settings in folded] == [
        ["steps"], ["clip"], ["of_a_new_kind"],
    ]  # fmt: skip


def test_no_name_is_claimed_by_two_topics():
    names = [name for _, claimed in TOPICS for name in claimed.split()]

    assert len(names) == len(set(names))


class _Unbound:
    """As much of a form as `settings` reads: no database is needed for it."""

    def __init__(self, kind):
        self.offered, self.typed, self.data, self.refused = presets(kind), {}, {}, ""
