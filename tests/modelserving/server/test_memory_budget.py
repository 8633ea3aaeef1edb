"""Within the memory budget the least recently used checkpoint goes, and never a base in use; a real process."""

from pathlib import Path

import pytest

from tests.modelserving.adapters import write_adapter
from tests.modelserving.server.conftest import Served, end, launch, says_hello
from tests.tiny_checkpoints import make_tiny_language_model

SIZES = {"hidden_size": 256, "intermediate_size": 512}  # some megabytes: keys and values are less


@pytest.fixture(scope="module")
def bytes_of_one(tmp_path_factory: pytest.TempPathFactory) -> int:
    """What a checkpoint and the keys and values of a reply take."""
    served = launch(tmp_path_factory.mktemp("one"), preload=False, **SIZES)
    try:
        loaded = served.load(served.root / "policy").json()["bytes"]
        assert says_hello(served)
        return int(loaded)
    finally:
        end(served)


@pytest.fixture
def roomy(tmp_path: Path, bytes_of_one: int) -> Served:
    """A server with room for two and a half checkpoints, and three of them below its root."""
    budget = 2.5 * bytes_of_one / (1 << 30)
    served = launch(tmp_path, "--memory-budget", str(budget), preload=False, **SIZES)
    yield served
    end(served)


def _names(served: Served) -> set[str]:
    with served.client() as client:
        return {each["id"] for each in client.get("/v1/models").json()["data"]}


@pytest.mark.timeout(300)
def test_what_was_used_longest_ago_goes_and_comes_back_when_asked_for(roomy: Served) -> None:
    hashes = {"policy": roomy.policy}
    for number, name in enumerate(("second", "third")):
        hashes[name] = make_tiny_language_model(roomy.root / name, seed=10 + number, **SIZES)
    for name in ("policy", "second"):
        assert roomy.load(roomy.root / name).status_code == 200
    first_words = says_hello(roomy, hashes["policy"])  # used after the second was loaded

    third = roomy.load(roomy.root / "third")
    after_third = _names(roomy)
    gone = roomy.post("/v1/completions", {"model": hashes["second"], "prompt": "a"})
    again = roomy.load(roomy.root / "second")
    after_again = _names(roomy)

    assert (third.status_code, again.status_code) == (200, 200), third.text
    assert after_third == {hashes["policy"], hashes["third"]}
    assert gone.json()["error"]["code"] == "model_not_loaded"
    assert after_again == {hashes["third"], hashes["second"]}
    assert roomy.load(roomy.root / "policy").status_code == 200
    assert says_hello(roomy, hashes["policy"]) == first_words


@pytest.mark.timeout(300)
def test_a_base_in_use_stays_however_long_ago_it_was_asked(roomy: Served) -> None:
    write_adapter(
        roomy.root / "adapter", base=roomy.root / "policy", parent=roomy.policy, seed=1, rank=2
    )
    others = [
        make_tiny_language_model(roomy.root / name, seed=20 + number, **SIZES)
        for number, name in enumerate(("second", "third"))
    ]
    assert roomy.load(roomy.root / "policy").status_code == 200
    assert roomy.load(roomy.root / "adapter", name="adapter").status_code == 200
    assert roomy.load(roomy.root / "second").status_code == 200
    assert says_hello(roomy, others[0])
    assert says_hello(roomy, "adapter")

    assert roomy.load(roomy.root / "third").status_code == 200

    assert _names(roomy) == {roomy.policy, "adapter", others[1]}
    assert says_hello(roomy, "adapter")
