"""Runs name, for each query, the very keys that it may look at."""

import random

import pytest
import torch

from modelserving.lm.attention import pack
from modelserving.lm.tree_runs import TreeRuns, tree_runs
from modelserving.lm.tree_visibility import Visibility


def random_groups(seed: int) -> list[list[list[int]]]:
    """Trees of several levels, with sequences that begin others and ones that repeat."""
    rng = random.Random(seed)

    def grown(stem: list[int], depth: int) -> list[list[int]]:
        stem = [*stem, *(rng.randrange(3, 6) for _ in range(rng.randint(1, 5)))]
        if depth == 0:
            return [stem]
        branches = [each for _ in range(rng.randint(1, 3)) for each in grown(stem, depth - 1)]
        return [*branches, stem] if rng.random() < 0.3 else branches

    return [grown([], rng.randint(0, 3)) for _ in range(rng.randint(1, 4))]


def seen_by_runs(runs: TreeRuns, *, queries: int) -> list[list[int]]:
    """Row indices that each query sees, by what a causal kernel does with the runs."""
    keys = list(range(len(runs.first))) if runs.keys is None else runs.keys.tolist()
    order = list(range(queries)) if runs.order is None else runs.order.tolist()
    starts, key_starts = runs.query_starts.tolist(), runs.key_starts.tolist()
    found: list[list[int]] = [[] for _ in range(queries)]
    for run in range(len(starts) - 1):
        own = keys[key_starts[run] : key_starts[run + 1]]
        asking = order[starts[run] : starts[run + 1]]
        for place, query in enumerate(asking):
            last = len(own) - len(asking) + place + 1
            first = 0 if runs.window is None else max(0, last - runs.window)
            found[query] = own[first:last]
    return found


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("asks", ["all", "some", "none"])
def test_each_query_sees_what_the_rule_allows(seed: int, window: int | None, asks: str):
    row = pack(random_groups(seed))
    rule = Visibility(subtree_end=row.subtree_end, positions=row.positions, window=window)
    tokens = len(row.tokens)
    rng = random.Random(seed)
    some = [rng.randrange(tokens) for _ in range(tokens if asks == "some" else 0)]  # also twice
    queries = None if asks == "all" else torch.tensor(some, dtype=torch.long)

    runs = tree_runs(rule, queries=queries, device="cpu")

    at = torch.arange(tokens) if queries is None else queries
    allowed = rule.allowed(query=at[:, None], key=torch.arange(tokens)[None, :])
    expected = [each.nonzero()[:, 0].tolist() for each in allowed]
    assert seen_by_runs(runs, queries=len(at)) == expected
    longest_query, longest_key = runs.longest
    assert longest_query == max(runs.query_starts.diff().tolist(), default=0)
    assert longest_key == max(runs.key_starts.diff().tolist(), default=0)


def test_a_row_without_branches_names_no_key_twice():
    row = pack([[[1, 2, 3]], [[4, 5]]])
    rule = Visibility(subtree_end=row.subtree_end, positions=row.positions, window=None)

    runs = tree_runs(rule, queries=None, device="cpu")

    assert runs.keys is None
    assert runs.query_starts.tolist() == runs.key_starts.tolist() == [0, 3, 5]


def test_a_first_branch_is_one_run_with_its_trunk():
    row = pack([[[1, 2, 3], [1, 2, 4, 5]]])
    rule = Visibility(subtree_end=row.subtree_end, positions=row.positions, window=None)

    runs = tree_runs(rule, queries=None, device="cpu")

    assert runs.query_starts.tolist() == [0, 3, 5]
    assert runs.keys is not None
    assert runs.keys.tolist() == [0, 1, 2, 0, 1, 3, 4]


def test_gradients_of_a_token_are_summed_over_its_runs():
    row = pack([[[1, 2, 3], [1, 2, 4]]])
    rule = Visibility(subtree_end=row.subtree_end, positions=row.positions, window=None)
    runs = tree_runs(rule, queries=None, device="cpu")
    given = torch.arange(6.0)[:, None, None]  # keys 0, 1, 2 and 0, 1, 3

    assert runs.summed(given).flatten().tolist() == [0 + 3, 1 + 4, 2, 5]
    assert torch.equal(runs.of_keys(torch.arange(4)).float(), torch.tensor([0, 1, 2, 0, 1, 3.0]))
