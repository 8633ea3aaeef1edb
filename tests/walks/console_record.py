"""What the database holds, asked through `manage.py shell`, beside what the crowdworker's own history says.

Knows rows and the client's history; knows nothing of browsers.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from tests.walks.console_chat import Turn
from tests.walks.instance import ROOT, RunningProduct

TURNS = """
from comparisons.models import Turn
rows = []
for turn in Turn.objects.filter(conversation__origin="crowd").order_by("pk"):
    showings = [s for s in turn.showings.all() if s.replaced_at is None]
    showing = showings[0] if len(showings) == 1 else None
    rows.append({
        "turn": str(turn.public_id), "conversation": str(turn.conversation.public_id), "message": turn.message,
        "state": turn.state, "is_held_back": turn.is_held_back, "attempt": turn.attempt,
        "responses": turn.responses.count(), "showings": len(showings),
        "text": {"A": showing.side_a.text, "B": showing.side_b.text} if showing else {},
        "sha256": {"A": showing.side_a.text_sha256, "B": showing.side_b.text_sha256} if showing else {},
        "by": {"A": showing.side_a.deployment.name, "B": showing.side_b.deployment.name} if showing else {},
        "model_ms": [r.first_token_milliseconds for r in turn.responses.all()],
        "choices": [[c.side, c.strength] for c in turn.comparisons.filter(superseded_at=None)],
    })
"""
RUN = """
from training.models import TrainingRun
run = TrainingRun.objects.get(public_id="{run}")
rows = {{"state": run.state, "reason": run.reason, "attempt": run.attempt, "results": run.results,
        "checkpoint": run.checkpoint.hash if run.checkpoint else "", "pk": run.pk,
        "seconds": (run.finished_at - run.started_at).total_seconds() if run.finished_at else None}}
"""
RELEASE = """
from comparisons.models import DatasetRelease
rows = DatasetRelease.objects.get(name="{name}").counts
"""


def ask(product: RunningProduct, code: str) -> Any:
    """Run the lines in Django's shell; what `rows` holds afterwards."""
    code += "\nimport json; print('\\n' + json.dumps(rows, default=str))"
    return json.loads(product.manage("shell", "-c", code).strip().splitlines()[-1])


def run_row(product: RunningProduct, public_id: str) -> dict[str, Any]:
    """A run as the database has it."""
    found: dict[str, Any] = ask(product, RUN.format(run=public_id))
    return found


def differences(history: Sequence[Turn], stored: Sequence[dict[str, Any]]) -> list[str]:
    """Everything that the page acknowledged and the database does not hold exactly once, and the reverse."""
    by_turn = {row["turn"]: row for row in stored}
    found = []
    if len(history) != len(stored):
        found.append(f"{len(history)} turns were acknowledged, {len(stored)} are stored")
    for turn in history:
        row = by_turn.get(turn.turn)
        if row is None:
            found.append(f"turn {turn.turn} is lost")
            continue
        found += [f"turn {turn.turn}: {what}" for what in _differences(turn, row)]
    return found


def _differences(turn: Turn, row: dict[str, Any]) -> list[str]:
    choice = ["A", 5 - turn.choice] if turn.choice <= 4 else ["B", turn.choice - 4]
    checks = {
        "another message": row["message"] == turn.message,
        f"stored {row['choices']} for the choice {choice}": row["choices"] == [choice],
        "other texts than were shown": row["sha256"] == turn.sha256,
        f"{row['responses']} responses": row["responses"] == 2,
        f"{row['showings']} showings": row["showings"] == 1,
        f"its state is {row['state']}": row["state"] == "chosen",
        "what was seen before the reload is gone": all(
            row["text"].get(side, "").startswith(text.rstrip("\ufffd"))
            for side, text in turn.before_reload.items()
        ),
    }
    return [words for words, holds in checks.items() if not holds]


def first_words(
    history: Sequence[Turn], stored: Sequence[dict[str, Any]], *, when: str
) -> dict[str, Any]:
    """Seconds from Send to the first words of each side, both-sides-together turns left out."""
    held = {row["turn"] for row in stored if row["is_held_back"]}
    turns = [each for each in history if each.when == when and each.turn not in held]
    seconds = {side: [t.first_words[side] for t in turns if side in t.first_words] for side in "AB"}
    later = [max(t.first_words.values()) for t in turns if len(t.first_words) == 2]
    return {
        "turns": len(turns), "held_back": sum(t.turn in held for t in history if t.when == when),
        "median": {side: statistics.median(each) for side, each in seconds.items() if each},
        "worst": max(later, default=None), "late": sum(each > 1.0 for each in later),
        "later_of_both": [round(each, 2) for each in later],
    }  # fmt: skip


def doctor(product: RunningProduct) -> dict[str, Any]:
    """`manage.py doctor --json`, also when something is wrong."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "manage.py", "doctor", "--json"], cwd=ROOT,
        env=product.environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    found["exit_code"] = done.returncode
    return found
