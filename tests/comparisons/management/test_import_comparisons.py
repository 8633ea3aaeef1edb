"""What the import says of a file, beyond what becomes of its lines."""

import json

import pytest
from django.core.management import call_command

pytestmark = pytest.mark.django_db


def line(reply: str, *, prompt: str = "Hi") -> str:
    texts = [f"\n\nHuman: {prompt}\n\nAssistant: {each}" for each in (reply, "b")]
    return json.dumps({"chosen": texts[0], "rejected": texts[1]})


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(f"{line('a')}\n{line('c')}\n")
    return path


def test_a_file_under_another_tranche_is_told_with_the_cure(file, capsys):
    call_command("import_comparisons", str(file), objective="helpful")
    first = capsys.readouterr().out

    call_command("import_comparisons", str(file), objective="helpful", tranche="online")

    said = capsys.readouterr().out
    assert "already here" not in first
    assert "pairs.jsonl: 2 imported of 2 lines" in said
    assert "  2 of them are already here under another tranche or objective" in said
    assert "--without-source" in said
