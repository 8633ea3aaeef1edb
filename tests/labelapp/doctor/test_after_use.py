"""What people may do at any time leaves the doctor content: skipping, withdrawing, importing."""

import json
import uuid

import pytest

from comparisons.core.splits import split_of
from comparisons.models import ReleaseComparison
from comparisons.queries.releases import first_messages, rows_of
from comparisons.services import judging, opinions, replies, turns, withdrawal
from comparisons.services.importing import import_lines
from comparisons.services.releasing import cut_release
from labelapp.doctor import artefacts, dialogues
from tests.comparisons.conftest import bell  # noqa: F401 -- a fixture
from tests.comparisons.making import make_comparison, make_conversation
from tests.comparisons.talking import agreed_person, answered, begun, chosen, live_campaign, said

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]

HALF = 50
TRAIN, TEST = (
    next(m for m in map(str, range(50)) if split_of(m, test_percent=HALF) == split)
    for split in ("train", "test")
)


def found() -> list[str]:
    """What the checks of texts, splits and releases find."""
    looks = (
        dialogues.texts_are_unchanged, artefacts.splits_hold, artefacts.first_messages_are_hashed,
        artefacts.releases_are_whole,
    )  # fmt: skip
    return [finding.what for look in looks for finding in look()]


def skipped_first(*, skipped: str, then: str):
    """A dialogue whose first turn was skipped: what came after it is how it begins."""
    conversation = begun(live_campaign())
    turns.skip_turn(answered(said(conversation, skipped)))
    return chosen(answered(said(conversation, then)))


def imported(first: str) -> None:
    """A dialogue that begins on the assistant's side."""
    said = [{"role": "assistant", "content": first}, {"role": "user", "content": "Hello"}]
    ends = {side: [{"role": "assistant", "content": side}] for side in ("chosen", "rejected")}
    line = json.dumps({"prompt": said, **ends})
    report = import_lines([(1, line)], reader="trl", objective="helpful", tranche="base")
    assert report.imported == 1


def test_a_skipped_first_turn_does_not_decide_the_split():
    skipped_first(skipped=TRAIN, then=TEST)
    skipped_first(skipped=TRAIN, then=TRAIN)

    cut_release("r-1", test_percent=HALF)

    assert found() == []


def test_a_comparison_in_the_wrong_split_is_found():
    skipped_first(skipped=TRAIN, then=TEST)
    cut_release("r-1", test_percent=HALF)

    ReleaseComparison.objects.update(split="train")

    assert [each.what for each in artefacts.splits_hold()] == [
        f"release r-1: in the wrong split: {ReleaseComparison.objects.get().comparison_id}"
    ]


def test_first_messages_are_those_of_the_released_rows():
    skipped_first(skipped=TRAIN, then=TEST)
    conversation = make_conversation(first="One")
    for message in ("One", "Two", "Three"):
        make_comparison(conversation, message=message)
    for first in (TRAIN, TEST, "7", "null", '"quoted"'):
        imported(first)
    release = cut_release("r-1", test_percent=HALF)
    released = [member.comparison for member in release.members.order_by("pk")]

    read = {comparison: message for comparison, _split, message in first_messages(release)}

    assert read == {key: row.messages[0]["content"] for key, row in rows_of(released)}
    assert found() == []


def test_a_reply_of_a_writer_who_withdrew_is_blank_by_right():
    campaign = live_campaign(human_reply_percent=100)
    chosen(answered(said(begun(campaign)), a="model one", b="model two"), side="A")
    writer, judge = agreed_person(campaign), agreed_person(campaign)
    replies.write(replies.take(writer), writer, text="Written by hand")
    item = opinions.take(judge)
    shown = {"A": item.side_a.text_sha256, "B": item.side_b.text_sha256}
    judging.record_choice(item, side="A", strength=3, choice_key=uuid.uuid4(), text_sha256=shown)

    withdrawal.withdraw(writer)

    assert found() == []
