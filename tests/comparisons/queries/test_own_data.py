"""A person's own data: every column about them is in the file, or is left out for a reason named here."""

import json
import uuid

import pytest
from django.apps import apps
from django.core.serializers.json import DjangoJSONEncoder

from comparisons.queries.own_data import COLUMNS, own_data
from comparisons.services import flagging, judging, opinions, quality, undoing, wellbeing
from tests.comparisons.making import make_account
from tests.comparisons.talking import answered, begun, chosen, live_campaign, said

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]

NOT_ABOUT_A_PERSON = {
    "Campaign": "what is asked of everybody",
    "InstructionVersion": "read by everybody",
    "Invitation": "nobody keeps who used it",
    "ArrivalSource": "where a campaign recruits",
    "Qualification": "the practice of everybody",
    "QualificationItem": "the practice of everybody",
    "DatasetRelease": "made by staff of many people's work",
    "ReleaseComparison": "made by staff of many people's work",
    "ReleaseExport": "made by staff of many people's work",
    "Piece": "joins a payslip and what it pays; both are in the file",
    "RateWindow": "counts tries for an hour at most, and keeps a keyed hash for 30 days, then goes",
}
LEFT_OUT = {
    "whose row it is": """
        SignInLink.account ApiToken.account AuditEntry.actor Crowdworker.account
        ConsentRecord.crowdworker Assignment.crowdworker Conversation.crowdworker
        Showing.crowdworker Comparison.crowdworker ChoiceUndo.crowdworker Flag.crowdworker
        Response.author WantedReply.crowdworker PassedReply.crowdworker LapsedReply.crowdworker
        Payslip.crowdworker QualificationAttempt.crowdworker Turn.conversation""",
    "a secret, or what stands for one": """
        Account.password SignInLink.token_sha256 ApiToken.token_sha256
        Crowdworker.external_id_hash""",
    "Django's own rights, which the role decides here": """
        Account.is_staff Account.is_superuser Account.is_active""",
    "a hash or key that a program made, of what is in the file": """
        AuditEntry.previous_hash AuditEntry.hash Conversation.first_message_sha256
        Turn.message_sha256 Turn.message_key Response.public_id Response.text_sha256
        Response.prompt_sha256 Response.token_ids Comparison.choice_key""",
    "how models were drawn and wrote: people never learn which": """
        Turn.attempt Turn.lease_until Turn.is_held_back Turn.is_stop_requested
        Turn.slot_generation Turn.pairing_rule Turn.pair_probability Showing.side_a Showing.side_b
        Comparison.picked Comparison.other Comparison.tranche Response.deployment
        Response.edited_from Response.failure Response.attempt Response.tries Response.seed
        Response.sampling Response.pm_score Response.candidates Response.first_token_milliseconds
        Response.total_milliseconds""",
    "said in other words beside it": "Turn.continued_by WantedReply.response",
    "of imports, which are nobody's here": "Comparison.import_key Comparison.import_source",
    "when another person's prompt came in": "WantedReply.created_at",
}


def test_every_column_about_a_person_is_in_the_file_or_left_out_for_a_reason():
    left_out = {name for names in LEFT_OUT.values() for name in names.split()}
    models = {model.__name__: model for model in apps.get_app_config("comparisons").get_models()}
    in_the_file = {
        f"{model.__name__}.{column.split('__')[0]}"
        for model, columns in COLUMNS.items()
        for column in columns
    }
    kept = {
        f"{name}.{field.name}"
        for name, model in models.items()
        for field in model._meta.concrete_fields
        if name not in NOT_ABOUT_A_PERSON and not field.primary_key
    }

    assert {model.__name__ for model in COLUMNS} == set(models) - set(NOT_ABOUT_A_PERSON)
    assert in_the_file & left_out == set()
    assert in_the_file | left_out == kept


def texts_of(showing) -> dict[str, str]:
    return {"A": showing.side_a.text_sha256, "B": showing.side_b.text_sha256}


def test_the_file_holds_what_the_person_did_and_what_was_decided():
    campaign = live_campaign(second_opinion_percent=100)
    chosen(answered(said(begun(campaign))))
    conversation = begun(campaign)
    person = conversation.crowdworker
    turn = answered(said(conversation, "My message"))
    undone = chosen(turn, side="B", strength=2, reason_text="At first", reason_tags=["off_topic"])
    undoing.undo_choice(undone)
    chosen(turn, reason_text="On second thoughts")
    flagging.flag_turn(turn, person, kind="other", note="Look at this")
    judging.record_choice(
        showing := opinions.take(person), side="A", strength=3, choice_key=uuid.uuid4(),
        text_sha256=texts_of(showing), reason_text="Of another's",
    )  # fmt: skip
    wellbeing.set_cover(person, "never")
    quality.note_asked(person, reason="Why so fast?", actor=make_account("administrator"))

    data = own_data(person)

    assert [each["reason_text"] for each in data["choices"]] == [
        "At first", "On second thoughts", "Of another's",
    ]  # fmt: skip
    assert data["choices"][0]["reason_tags"] == ["off_topic"]
    assert [each["comparison_public_id"] for each in data["undone_choices"]] == [undone.public_id]
    assert [each["note"] for each in data["flags"]] == ["Look at this"]
    assert data["profile"]["cover_responses"] == "never"
    assert (data["account"]["language"], data["account"]["key_map"]) == ("", {})
    assert data["decisions"][-1]["detail"] == {"reason": "Why so fast?"}
    assert data["conversations"][0]["turns"][0]["message"] == "My message"
    assert "canary-" not in json.dumps(data, cls=DjangoJSONEncoder)  # models, and the outer id
