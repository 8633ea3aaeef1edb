"""When an endpoint is left alone, and when it is tried again."""

from modelserving.client.breaker import CircuitBreaker


def test_breaker_opens_pauses_lets_one_try_and_closes():
    now = [0.0]
    breaker = CircuitBreaker(clock=lambda: now[0])

    for _ in range(3):
        assert breaker.may_pass()
        breaker.failed()
    assert (breaker.may_pass(), breaker.is_open) == (False, True)
    now[0] = 0.6
    assert [breaker.may_pass(), breaker.may_pass()] == [True, False]
    breaker.failed()
    now[0] += 0.6  # the pause has doubled
    assert not breaker.may_pass()
    now[0] += 0.6
    assert breaker.may_pass()
    breaker.succeeded()
    assert [breaker.may_pass(), breaker.may_pass()] == [True, True]
