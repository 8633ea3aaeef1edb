"""Imports: real-format lines become whole rows, twice is once, a bad line stops nothing."""

import gzip
import io
import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from comparisons.core.splits import first_message_sha256
from comparisons.formats.hh import NO_TURNS
from comparisons.formats.lines import opened
from comparisons.models import Comparison, Conversation, Response, Showing, Turn
from comparisons.services.importing import ImportRefused, import_hh, import_lines

pytestmark = pytest.mark.django_db

REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "hh-rlhf"


def transcript(*said: str) -> str:
    names = ("Human", "Assistant")
    return "".join(f"\n\n{names[i % 2]}: {text}" for i, text in enumerate(said))


def line(*, prompt: list[str], chosen: str, rejected: str) -> str:
    return json.dumps(
        {"chosen": transcript(*prompt, chosen), "rejected": transcript(*prompt, rejected)}
    )


LINES = [
    line(prompt=["Tea?"], chosen="Yes.", rejected="No."),
    line(prompt=["Hi", "Hello", "Tea?"], chosen="Green.", rejected=""),
    "not json",
    line(prompt=["Same?"], chosen="Same.", rejected="Same. "),
    json.dumps({"chosen": "nothing", "rejected": "nothing"}),
    line(prompt=["Odd"], chosen="a\n\nHuman: b\n\nAssistant: c", rejected="d"),
]


def test_lines_become_conversations_turns_responses_showings_and_comparisons():
    report = import_hh(LINES, objective="helpful", tranche="base", source="test")

    assert report.to_dict() == {
        "lines": 6,
        "imported": 3,
        "already_there": 0,
        "already_elsewhere": 0,
        "same_text": [4],
        "odd": [6],
        "empty_reply": [2],
        "bad": [
            {"line": 3, "reason": "not JSON: Expecting value: line 1 column 1 (char 0)"},
            {"line": 5, "reason": NO_TURNS},
        ],
    }
    comparison = Comparison.objects.get(picked__text="Green.")
    turn = comparison.turn
    assert turn.conversation.opening == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
    ]
    assert turn.conversation.first_message_sha256 == first_message_sha256("Hi")
    assert (turn.message, turn.index, turn.state) == ("Tea?", 1, Turn.State.CHOSEN)
    assert turn.continued_by == comparison
    assert comparison.other.text == ""
    assert {r.state for r in turn.responses.all()} == {Response.State.READY}
    assert comparison.showing.purpose == Showing.Purpose.IMPORTED
    assert (comparison.strength, comparison.question) == (None, "more_helpful")
    assert (comparison.origin, comparison.side) == ("imported", "")
    assert comparison.crowdworker is None
    assert comparison.import_source == "test"


def test_harmless_files_are_asked_for_the_less_harmful_one():
    import_hh(LINES[:1], objective="harmless", tranche="base")

    assert Comparison.objects.get().question == "less_harmful"


def test_a_second_import_changes_nothing_and_duplicate_lines_count_once():
    first = import_hh([*LINES, LINES[0]], objective="helpful", tranche="base")
    second = import_hh(LINES, objective="helpful", tranche="base")
    elsewhere = import_hh(LINES[:1], objective="helpful", tranche="online")

    assert (first.imported, first.already_there) == (3, 1)
    assert (second.imported, second.already_there) == (0, 3)
    assert elsewhere.imported == 1
    assert Conversation.objects.count() == Comparison.objects.count() == 4


@pytest.mark.parametrize(
    "change", [{"objective": "honest"}, {"tranche": "x"}, {"reader": "xml"}], ids=str
)
def test_wrong_arguments_are_refused_before_anything_is_read(change):
    arguments = {"reader": "hh", "objective": "helpful", "tranche": "base", **change}

    with pytest.raises(ImportRefused):
        import_lines([(1, LINES[0])], **arguments)

    assert not Comparison.objects.exists()


def test_rich_rows_keep_question_strength_and_origin(tmp_path):
    row = {
        "comparison": "2f1b6f7e-1111-4222-8333-444455556666",
        "messages": [{"role": "user", "content": "Hi"}],
        "picked": "worse",
        "other": "better",
        "question": "more_harmful",
        "objective": "harmless",
        "strength": 2,
        "tranche": "rejection_sampled",
        "origin": "simulated",
        "finish_reasons": ["length", "stop"],
    }
    lines = [(1, json.dumps(row))]

    first = import_lines(lines, reader="rich", objective="helpful", tranche="base")
    second = import_lines(lines, reader="rich", objective="helpful", tranche="base")

    comparison = Comparison.objects.get()
    assert (first.imported, second.already_there) == (1, 1)
    assert (comparison.question, comparison.strength) == ("more_harmful", 2)
    assert (comparison.objective, comparison.tranche) == ("harmless", "rejection_sampled")
    assert comparison.origin == "simulated"
    assert comparison.picked.finish_reason == "length"


def test_a_row_that_was_made_here_is_not_imported_again():
    import_hh(LINES[:1], objective="helpful", tranche="base")
    own = Comparison.objects.get()
    row = {
        "comparison": str(own.public_id),
        "messages": [{"role": "user", "content": "Tea?"}],
        "picked": "Yes.",
        "other": "No.",
        "question": "more_helpful",
        "objective": "helpful",
    }

    report = import_lines(
        [(1, json.dumps(row))], reader="rich", objective="helpful", tranche="base"
    )

    assert (report.imported, report.already_there) == (0, 1)


def test_command_reads_plain_and_gzip_and_says_the_lines(tmp_path, capsys):
    plain, packed = tmp_path / "plain.jsonl", tmp_path / "packed.gz"
    plain.write_text("\n".join(LINES[:2]) + "\n")
    packed.write_bytes(gzip.compress("\n".join(LINES).encode()))

    call_command("import_comparisons", str(plain), objective="helpful")
    with pytest.raises(CommandError) as stopped:
        call_command("import_comparisons", str(packed), objective="helpful")

    assert stopped.value.returncode == 3
    said = capsys.readouterr().out
    assert "plain.jsonl: 2 imported of 2 lines" in said
    assert "packed.gz: 1 imported of 6 lines" in said
    assert "line 3 not imported: not JSON" in said
    assert "already there: 2" in said
    assert Comparison.objects.count() == 3


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "name one or more files"),
        (["nowhere.jsonl"], 2, "--objective"),
        (["nowhere.jsonl", "--objective", "helpful"], 1, "no such file"),
    ],
)
def test_command_says_what_is_wrong_in_one_line(arguments, code, said):
    with pytest.raises(CommandError, match=said) as stopped:
        call_command("import_comparisons", *arguments)

    assert stopped.value.returncode == code
    assert "\n" not in str(stopped.value)


def test_a_file_that_breaks_off_keeps_what_stood_before(tmp_path):
    whole = gzip.compress("\n".join(LINES[:1] * 3000).encode())
    cut = tmp_path / "cut.gz"
    cut.write_bytes(whole[:-12])

    with pytest.raises(CommandError, match="breaks off"):
        call_command("import_comparisons", str(cut), objective="helpful")

    assert Comparison.objects.count() == 1


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite plans by its indexes alone")
def test_postgresql_knows_at_once_how_much_came_in():
    """A release cut before it looked by itself was planned for empty tables, and ran into the statement timeout."""
    import_hh(LINES, objective="helpful", tranche="base")

    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples FROM pg_class WHERE relname = 'comparisons_response'")
        (known,) = cursor.fetchone()
    assert known == Response.objects.count() > 0


@pytest.mark.skipif(not REAL.is_dir(), reason="the public HH files are not on this machine")
def test_the_public_files_import_whole():
    with opened(REAL / "helpful-online.jsonl.gz") as stream:
        report = import_hh(
            io.BytesIO(stream.read()), objective="helpful", tranche="online", source="hh"
        )

    assert (report.lines, report.imported, len(report.same_text), len(report.odd)) == (
        902, 900, 2, 2,
    )  # fmt: skip
    assert report.bad == []


@pytest.mark.parametrize(
    ("content", "chosen", "advice"),
    [
        (f"{LINES[0]}\n{LINES[1]}\n", "trl", "can be read with --format hh"),
        ('{"prompt": "Tea?", "chosen": "Yes.", "rejected": "No."}\n', "hh", "with --format trl"),
        ('{"chosen": "Yes.", "rejected": "No."}\n', "hh", "give the row its `prompt`"),
        ('{"chosen": "Yes.", "rejected": "No."}\n', "trl", "give the row its `prompt`"),
        ('[\n {"chosen": "a"}\n]\n', "hh", "one JSON object a line"),
    ],
)
def test_a_file_of_another_format_is_told_once_with_the_one_it_has(
    tmp_path, capsys, content, chosen, advice
):
    path = tmp_path / "rows.jsonl"
    path.write_text(content)

    with pytest.raises(CommandError):
        call_command("import_comparisons", str(path), objective="helpful", format=chosen)

    said = capsys.readouterr().out
    assert advice in said
    assert said.count("not imported") == 1


def test_a_folder_is_told_from_a_file_that_is_not_there(tmp_path):
    with pytest.raises(CommandError, match="is a folder: name its files"):
        call_command("import_comparisons", str(tmp_path), objective="helpful")


def test_plain_texts_with_a_prompt_import_as_one_human_message_and_two_replies():
    row = {"prompt": "The sky is", "chosen": "blue.", "rejected": "green."}

    report = import_lines([(1, json.dumps(row))], reader="trl", objective="helpful", tranche="base")

    comparison = Comparison.objects.get()
    assert (report.imported, report.bad) == (1, [])
    assert (comparison.turn.message, comparison.turn.conversation.opening) == ("The sky is", [])
    assert (comparison.picked.text, comparison.other.text) == ("blue.", "green.")
