"""Crowd-measured strength: Bradley-Terry maximum likelihood in Elo units, with bootstrap intervals.

Pure arithmetic over (winner, loser, conversation); knows no deployment, campaign or database.

E entrants, S bootstrap samples (sample 0 of a fit is the data itself).
Bai et al. 2022, §B.5: log L = sum over pairs -N_A ln(1 + e^(r_B - r_A)) - N_B ln(1 + e^(r_A - r_B)),
with E = r * 400 / ln 10.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ELO_PER_NAT = 400.0 / math.log(10.0)  # 173.72: one unit of preference-model score in Elo
WEAK_PRIOR_NATS = 1000.0 / ELO_PER_NAT  # only where somebody never won or never lost
MINIMUM_CHOICES = 100  # fewer: shown, not ranked
FEWEST_CONVERSATIONS = 10  # fewer say next to nothing of how far such conversations differ

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One choice at one turn: a win of `winner` over `loser` inside a conversation."""

    winner: str
    loser: str
    conversation: str


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One entrant's strength. `rank` is a range while its neighbours cannot be told apart."""

    name: str
    elo: float
    low: float | None  # 95 % interval, relative to the group's anchor; None: too few conversations
    high: float | None
    conversations: int
    choices: int
    wins: int
    group: int  # entrants of different groups were never compared, directly or through others
    rank: tuple[int, int] | None  # None: fewer choices or conversations than asked for
    is_anchor: bool
    is_bounded: bool  # False: no chain of wins both ways to the anchor, the number is the prior's

    @property
    def reason(self) -> str:
        """Why there is no interval; empty where there is one."""
        few = "1 conversation" if self.conversations == 1 else f"{self.conversations} conversations"
        return f"no interval: {few}, {FEWEST_CONVERSATIONS} needed" if self.low is None else ""

    @property
    def win_fraction(self) -> float:
        """Share of its choices that it won, whoever the opponent was."""
        return self.wins / self.choices


@dataclass(frozen=True, kw_only=True)
class EloFit:
    """All standings, strongest first inside each group; groups are not ordered among themselves."""

    standings: tuple[Standing, ...]
    groups: int
    choices: int
    conversations: int


def elo_of_win_fraction(fraction: float | None) -> float | None:
    """The Elo difference at which the stronger side wins this often; None where it is without bound."""
    if fraction is None or not 0 < fraction < 1:
        return None
    return ELO_PER_NAT * math.log(fraction / (1 - fraction))


def is_kept(strength: int | None) -> bool:
    """Unsure picks (strength 1) are left out; an unknown strength (imported) is kept."""
    return strength != 1


def fit_elo(
    choices: Sequence[Choice],
    *,
    anchor: str | None = None,
    samples: int = 500,
    seed: int = 0,
    minimum_choices: int = MINIMUM_CHOICES,
) -> EloFit:
    """Fit all entrants jointly, each connected group for itself.

    A group's anchor, at 0, is `anchor` where it is a member, else the member with most choices.
    Intervals come from resampling whole conversations, for choices in one are not independent.
    """
    names = sorted({c.winner for c in choices} | {c.loser for c in choices})
    index = {name: i for i, name in enumerate(names)}
    winners = np.array([index[c.winner] for c in choices], dtype=np.intp)
    losers = np.array([index[c.loser] for c in choices], dtype=np.intp)
    conversation_names = sorted({c.conversation for c in choices})
    conversation_index = {name: i for i, name in enumerate(conversation_names)}
    owners = np.array([conversation_index[c.conversation] for c in choices], dtype=np.intp)
    wins_SEE = resampled_wins(
        winners=winners, losers=losers, owners=owners, entrants=len(names), samples=samples,
        rng=np.random.default_rng(seed),
    )  # fmt: skip
    groups = connected_groups(wins_SEE[0])
    seen = _conversations_seen(winners=winners, losers=losers, owners=owners, entrants=len(names))
    standings: list[Standing] = []
    for number, members in enumerate(groups):
        standings += _group_standings(
            number=number, members=members, names=names, wins_SEE=wins_SEE, seen=seen, anchor=anchor,
            minimum_choices=minimum_choices,
        )  # fmt: skip
    return EloFit(
        standings=tuple(standings), groups=len(groups), choices=len(choices),
        conversations=len(conversation_names),
    )  # fmt: skip


def resampled_wins(
    *,
    winners: NDArray[np.intp],
    losers: NDArray[np.intp],
    owners: NDArray[np.intp],
    entrants: int,
    samples: int,
    rng: np.random.Generator,
) -> Floats:
    """Win counts (1 + S, E, E): the data, then `samples` draws of conversations with replacement."""
    conversations = int(owners.max()) + 1 if len(owners) else 0
    wins = np.zeros((1 + samples, entrants, entrants))
    if not conversations:
        return wins
    cells = winners * entrants + losers
    for sample in range(1 + samples):
        weights = np.ones(conversations)
        if sample:
            drawn = rng.integers(0, conversations, size=conversations)
            weights = np.bincount(drawn, minlength=conversations).astype(np.float64)
        flat = np.bincount(cells, weights=weights[owners], minlength=entrants * entrants)
        wins[sample] = flat.reshape(entrants, entrants)
    return wins


def _conversations_seen(
    *,
    winners: NDArray[np.intp],
    losers: NDArray[np.intp],
    owners: NDArray[np.intp],
    entrants: int,
) -> NDArray[np.intp]:
    """In how many conversations each entrant was compared (E,)."""
    both = np.stack([np.concatenate([winners, losers]), np.concatenate([owners, owners])])
    return np.bincount(np.unique(both, axis=1)[0], minlength=entrants)


def connected_groups(wins: Floats) -> list[list[int]]:
    """Entrants joined by any chain of choices, largest group first."""
    reach = _closure((wins + wins.T)[None] > 0)[0]
    seen: set[int] = set()
    groups: list[list[int]] = []
    for entrant in range(len(wins)):
        if entrant in seen:
            continue
        members = [int(i) for i in np.flatnonzero(reach[entrant])]
        seen.update(members)
        groups.append(members)
    return sorted(groups, key=lambda members: (-len(members), members))


def fit_strengths(wins: Floats, *, steps: int = 60) -> tuple[Floats, NDArray[np.bool_]]:
    """Maximum-likelihood strengths in nats, mean 0: wins (S, E, E) to (S, E), and which are bounded.

    Without a chain of wins from everyone to everyone the maximum lies at infinity; there, and
    only there, a weak Gaussian prior of 1,000 Elo keeps the answer finite.
    """
    S, E, _ = wins.shape
    is_bounded: NDArray[np.bool_] = np.asarray(_closure(wins > 0).all(axis=(1, 2)))  # (S,)
    precision = np.where(is_bounded, 0.0, 1.0 / WEAK_PRIOR_NATS**2)[:, None]  # (S, 1)
    played = wins + wins.transpose(0, 2, 1)  # (S, E, E)
    won = wins.sum(axis=2)  # (S, E)
    strengths = np.zeros((S, E))
    identity = np.eye(E)
    for _step in range(steps):
        chance = 1.0 / (1.0 + np.exp(strengths[:, None, :] - strengths[:, :, None]))  # (S, E, E)
        gradient = won - (played * chance).sum(axis=2) - precision * strengths  # (S, E)
        curvature = played * chance * (1.0 - chance)  # (S, E, E)
        hessian = identity * (curvature.sum(axis=2) + precision)[:, :, None] - curvature
        hessian = hessian + 1.0 / E  # fixes the free constant; the gradient sums to 0
        change = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]  # (S, E)
        strengths = strengths + np.clip(change, -1.0, 1.0)  # (S, E) damped Newton
        if float(np.abs(change).max(initial=0.0)) < 1e-10:
            break
    return strengths - strengths.mean(axis=1, keepdims=True), is_bounded


def _closure(edges: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Reachability (S, E, E), each entrant reaching itself."""
    E = edges.shape[-1]
    reach = edges | np.eye(E, dtype=bool)
    for _doubling in range(max(1, E.bit_length())):
        reach = (reach.astype(np.float64) @ reach.astype(np.float64)) > 0
    return reach


def _joined_both_ways(wins: Floats, anchor: int) -> NDArray[np.bool_]:
    """Whom a chain of wins leads to from the anchor and back (E,); not even the anchor where there is nobody else."""
    reach = _closure(wins[None] > 0)[0]
    joined: NDArray[np.bool_] = reach[anchor] & reach[:, anchor]
    return joined if joined.sum() > 1 else np.zeros_like(joined)


def _group_standings(
    *,
    number: int,
    members: list[int],
    names: Sequence[str],
    wins_SEE: Floats,
    seen: NDArray[np.intp],
    anchor: str | None,
    minimum_choices: int,
) -> list[Standing]:
    wins = wins_SEE[:, members][:, :, members]
    won = wins[0].sum(axis=1).astype(int)
    played = (wins[0].sum(axis=1) + wins[0].sum(axis=0)).astype(int)
    own = [names[i] for i in members]
    zero = own.index(anchor) if anchor in own else int(np.argmax(played))
    strengths, _are_all_bounded = fit_strengths(wins)
    is_bounded = _joined_both_ways(wins[0], zero)
    elos = (strengths - strengths[:, [zero]]) * ELO_PER_NAT  # (1 + S, members)
    draws = elos[1:] if len(elos) > 1 else elos
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    has_interval = seen[members] >= FEWEST_CONVERSATIONS
    ranks = rank_ranges(draws, is_ranked=(played >= minimum_choices) & has_interval)
    standings = [
        Standing(
            name=own[i], elo=float(elos[0, i]),
            low=float(low[i]) if has_interval[i] else None,
            high=float(high[i]) if has_interval[i] else None, conversations=int(seen[members[i]]),
            choices=int(played[i]), wins=int(won[i]), group=number, rank=ranks[i],
            is_anchor=i == zero, is_bounded=bool(is_bounded[i]),
        )
        for i in range(len(own))
    ]  # fmt: skip
    return sorted(standings, key=lambda standing: (-standing.elo, standing.name))


def rank_ranges(draws: Floats, *, is_ranked: NDArray[np.bool_]) -> list[tuple[int, int] | None]:
    """First and last rank each entrant may hold: another counts as above or below it only when
    the 95 % interval of their difference (over bootstrap draws (S, E)) leaves out 0."""
    differences = draws[:, :, None] - draws[:, None, :]  # (S, E, E)
    is_above = (np.percentile(differences, 2.5, axis=0) > 0) & is_ranked[:, None]
    is_above &= is_ranked[None, :]
    total = int(is_ranked.sum())
    return [
        (1 + int(is_above[:, i].sum()), total - int(is_above[i].sum())) if is_ranked[i] else None
        for i in range(draws.shape[1])
    ]
