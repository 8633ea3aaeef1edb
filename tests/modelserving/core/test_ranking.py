"""Best-of-k ordering."""

import pytest

from modelserving.core.ranking import NotRankable, mean_logprob, ranked


def test_ranked_puts_the_best_first_and_keeps_the_order_of_equals() -> None:
    assert ranked([0.5, 2.0, -1.0, 2.0]) == [1, 3, 0, 2]


@pytest.mark.parametrize("scores", [[], [1.0, float("nan")], [float("inf")]])
def test_ranked_refuses_what_has_no_order(scores: list[float]) -> None:
    with pytest.raises(NotRankable):
        ranked(scores)


def test_mean_logprob_is_per_token() -> None:
    assert mean_logprob([-1.0, -3.0]) == -2.0
    assert mean_logprob([]) == 0.0
