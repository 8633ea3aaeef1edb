"""Whatever changes, a slot's shares sum to 100 and somebody serves."""

from hypothesis import given
from hypothesis import strategies as st

from modelserving.core.traffic import Place, PlacesError, apportioned, promote, put_on_trial, retire


def test_apportioned_gives_the_largest_remainders_the_missing_units():
    assert apportioned({1: 1, 2: 1, 3: 1}, total=100) == {1: 34, 2: 33, 3: 33}
    assert apportioned({1: 70, 2: 30}, total=90) == {1: 63, 2: 27}


@given(
    weights=st.dictionaries(st.integers(1, 9), st.integers(0, 100), min_size=1).filter(
        lambda each: sum(each.values()) > 0
    ),
    total=st.integers(1, 100),
)
def test_apportioned_sums_to_the_total_and_is_within_one_of_exact(weights, total):
    shares = apportioned(weights, total=total)

    assert sum(shares.values()) == total
    whole = sum(weights.values())
    assert all(abs(shares[key] - weights[key] * total / whole) < 1 for key in weights)
    assert all(shares[key] == 0 for key in weights if weights[key] == 0)


@given(st.lists(st.tuples(st.sampled_from(["trial", "promote", "retire"]), st.integers(1, 6),
                          st.integers(1, 99)), max_size=20))  # fmt: skip
def test_any_history_of_changes_keeps_the_shares_whole(history):
    places = [Place(deployment=1, role="serving", traffic=100)]

    for kind, deployment, traffic in history:
        try:
            if kind == "trial":
                places = put_on_trial(places, deployment=deployment, traffic=traffic)
            else:
                change = promote if kind == "promote" else retire
                places = change(places, deployment=deployment)
        except PlacesError:
            continue

        assert sum(place.traffic for place in places) == 100
        assert any(place.role == "serving" for place in places)
        assert all(place.traffic == 0 for place in places if place.role == "retired")
        assert len({place.deployment for place in places}) == len(places)
