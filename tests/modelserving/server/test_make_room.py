"""What leaves to make room for a checkpoint, and that nothing leaves in vain."""

from pathlib import Path

import pytest

from modelserving.server.errors import Overloaded, Refused
from modelserving.server.jobs import ScoreJob
from tests.modelserving.server.in_process import engine_of, policy, ranker

BUDGET = 1 << 30


def test_what_could_never_fit_is_refused_and_everything_stays(tmp_path: Path) -> None:
    engine = engine_of(memory_bytes=BUDGET)
    policy(engine, tmp_path / "first")
    policy(engine, tmp_path / "second", seed=2)

    with pytest.raises(Refused) as refused:
        engine.make_room(BUDGET + 1)

    assert refused.value.code == "memory_budget"
    assert list(engine.checkpoints) == ["first", "second"]


def test_what_does_not_fit_beside_what_is_in_use_lets_the_idle_stay(tmp_path: Path) -> None:
    engine = engine_of(memory_bytes=BUDGET)
    policy(engine, tmp_path / "idle")
    busy = ranker(engine, tmp_path / "busy")
    busy.score_jobs.append(ScoreJob(dialogues=[]))

    with pytest.raises(Overloaded) as full:
        engine.make_room(BUDGET - busy.bytes_used + 1)
    assert full.value.code == "memory_budget"
    assert list(engine.checkpoints) == ["idle", "busy"]

    engine.make_room(BUDGET - busy.bytes_used)
    assert list(engine.checkpoints) == ["busy"]
