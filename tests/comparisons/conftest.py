"""The generation queue's bell for tests that only need to know whether it rang."""

import pytest

from comparisons import tasks
from tests.comparisons.talking import Bell


@pytest.fixture
def bell(monkeypatch) -> Bell:
    """Rings are noted, nothing is generated."""
    fake = Bell()
    monkeypatch.setattr(tasks, "fill_turn", fake)
    return fake
