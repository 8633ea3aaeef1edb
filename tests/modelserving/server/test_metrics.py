"""The rate of tokens is right however many steps make a second, and forgets what is long ago."""

import pytest

from modelserving.server.metrics import Metrics


@pytest.mark.parametrize("steps_per_second", [1, 50, 500])
def test_tokens_per_second_does_not_depend_on_the_steps_of_a_second(steps_per_second: int) -> None:
    metrics, seconds = Metrics(), 40
    for step in range(seconds * steps_per_second):
        metrics.drawn(1000 // steps_per_second, now=7.3 + step / steps_per_second)

    assert metrics.tokens_per_second(now=7.3 + seconds) == 1000
    assert metrics.counts["tokens_generated"] == 1000 * seconds


def test_tokens_per_second_forgets_after_half_a_minute() -> None:
    metrics = Metrics()
    metrics.drawn(300, now=100.2)

    rates = [metrics.tokens_per_second(now=now) for now in (100.9, 101.0, 130.9, 131.0)]

    assert rates == [0, 10, 10, 0]
