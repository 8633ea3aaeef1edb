"""Random numbers by seed and position, and the limits of sampling settings."""

import pytest

from modelserving.core.sampling import SamplingError, SamplingSettings, sample_seed, uniform


def test_uniform_depends_on_seed_and_position_alone() -> None:
    first = [uniform(seed=7, position=i) for i in range(100)]

    assert first == [uniform(seed=7, position=i) for i in range(100)]
    assert len(set(first)) == 100
    assert all(0 <= number < 1 for number in first)


def test_uniform_is_spread_evenly_over_positions_and_over_seeds() -> None:
    by_position = [uniform(seed=3, position=i) for i in range(10_000)]
    by_seed = [uniform(seed=i, position=0) for i in range(10_000)]

    for numbers in (by_position, by_seed):
        tenths = [sum(1 for n in numbers if int(n * 10) == tenth) for tenth in range(10)]
        assert min(tenths) > 850
        assert max(tenths) < 1150


def test_sample_seeds_differ_and_the_first_keeps_the_requests_own() -> None:
    seeds = [sample_seed(seed=5, index=i) for i in range(1000)]

    assert seeds[0] == 5
    assert len(set(seeds)) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"max_tokens": -1},
        {"stop": ("",)},
    ],
)
def test_settings_out_of_range_are_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(SamplingError, match=next(iter(wrong))):
        SamplingSettings(**wrong)  # type: ignore[arg-type]


def test_what_float32_cannot_compute_with_is_the_nearest_that_it_can() -> None:
    tiny = SamplingSettings(temperature=1e-40, top_p=1e-46)

    assert (tiny.temperature, tiny.top_p) == (0.0, 1e-6)
    assert SamplingSettings(temperature=0.01).temperature == 0.01
