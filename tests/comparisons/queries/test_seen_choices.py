"""What stood before a person who chose: for texts of their own, the pair that those took the place of."""

import uuid

import pytest
from django.urls import reverse

from comparisons.queries.seen_choices import last_choices
from comparisons.services import writing
from comparisons.services.turns import author_showing
from tests.comparisons.making import make_account
from tests.comparisons.talking import answered, begun, live_campaign, said

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


@pytest.mark.parametrize(
    ("is_edit", "words"),
    [(True, "own text, edited from response A"), (False, "own text, written anew")],
)
def test_a_text_of_ones_own_stands_below_the_pair_it_took_the_place_of(client, is_edit, words):
    turn = answered(said(begun(live_campaign(allows_edit=True, allows_write=True))))
    before = author_showing(turn)
    texts = {"A": before.side_a.text_sha256, "B": before.side_b.text_sha256}
    writing.prefer_own(
        before,
        side="A",
        text="Better.",
        is_edit=is_edit,
        text_sha256=texts,
        choice_key=uuid.uuid4(),
    )
    person = turn.conversation.crowdworker

    (seen,) = last_choices(person)
    client.force_login(make_account("administrator"))
    page = client.get(reverse("manage_person", args=[person.public_id])).content.decode()

    assert (seen.shown, seen.own_text, seen.own_words) == (before, "Better.", words)
    assert f" · {words}" in page
    pair = page.split('<div class="pair">')[1]
    places = [pair.index(each) for each in (before.side_a.text, before.side_b.text, "Better.")]
    assert places == sorted(places)
