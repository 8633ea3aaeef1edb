"""One running product for all walks: starting it takes a while."""

from collections.abc import Iterator

import pytest

from tests.walks.instance import RunningProduct
from tests.walks.person import Person


@pytest.fixture(scope="session")
def product(tmp_path_factory) -> Iterator[RunningProduct]:
    """The demo, running."""
    running = RunningProduct(tmp_path_factory.mktemp("walks") / "var")
    running.start()
    yield running
    running.stop()


@pytest.fixture
def crowdworker(product) -> Person:
    """The demo's crowdworker, signed in."""
    person = Person(product.base_url)
    person.sign_in("casey", product.password("casey"))
    return person
