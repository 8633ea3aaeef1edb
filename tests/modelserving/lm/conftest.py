"""The decode step both ways: compiled, and as on a machine without a compiler."""

from collections.abc import Iterator

import pytest

from modelserving.lm.native import compiling


@pytest.fixture(params=["compiled", "no compiler"])
def step(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Each test that asks for it runs with the compiled step and as on a machine without a compiler."""
    compiling.library.cache_clear()
    if request.param == "no compiler":
        monkeypatch.setenv("PATH", "")
    elif compiling.library() is None:
        pytest.skip("there is no compiler here")
    yield request.param
    compiling.library.cache_clear()
