"""The crowd's Elo of several models beside what a preference model's scores predict of it (Bai et al. 2022, B.4).

Pure arithmetic over duels; it knows no release, no checkpoint and no run.
C conversations, M models, S bootstrap samples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comparisons.core.agreement import Z_95
from comparisons.core.elo import ELO_PER_NAT, Choice, EloFit, fit_elo

Floats = NDArray[np.float64]
Scores = Mapping[
    str, Mapping[str, Any]
]  # model -> mean score with interval, n and where it is from


@dataclass(frozen=True, kw_only=True)
class Duel:
    """One choice of the crowd between two models, and the preference model's score of each response."""

    better: str  # the model whose response was chosen, as training reads it
    worse: str
    better_score: float
    worse_score: float
    conversation: str

    @property
    def crowd_choice(self) -> Choice:
        """What the crowd chose."""
        return Choice(winner=self.better, loser=self.worse, conversation=self.conversation)

    @property
    def agreement(self) -> float:
        """1 where the preference model scores the chosen response higher, 0 where lower, ½ where alike."""
        return (
            1 + (self.better_score > self.worse_score) - (self.better_score < self.worse_score)
        ) / 2

    @property
    def scored_choice(self) -> Choice | None:
        """What the preference model would have chosen; None where it scores both alike."""
        if self.better_score == self.worse_score:
            return None
        if self.better_score > self.worse_score:
            return self.crowd_choice
        return Choice(winner=self.worse, loser=self.better, conversation=self.conversation)


def elo_curves(
    duels: Sequence[Duel], *, held_out_scores: Scores, samples: int, seed: int
) -> dict[str, Any]:
    """Four curves over the models that were compared with each other, strongest first.

    All stand at 0 at the anchor, the model with most choices: `naive` from scores of held-out prompts, `scores`
    from mean scores of the very responses people saw, `picks` from the preference model's choices between them,
    `crowd` from the crowd's. Of groups that nobody compared with each other the one with most choices is taken.
    """
    crowd = fit_elo([each.crowd_choice for each in duels], samples=samples, seed=seed)
    groups = [[each for each in crowd.standings if each.group == n] for n in range(crowd.groups)]
    group = max(groups, key=lambda members: sum(each.choices for each in members))
    names = [each.name for each in group]
    anchor = next(each.name for each in group if each.is_anchor)
    inside = [each for each in duels if each.better in names]
    choices = [choice for each in inside if (choice := each.scored_choice) is not None]
    curves = {
        "crowd": _of_fit(crowd, anchor=anchor),
        "picks": _of_fit(
            fit_elo(choices, anchor=anchor, samples=samples, seed=seed), anchor=anchor
        ),
        "scores": elo_of_mean_scores(
            inside, names=names, anchor=anchor, samples=samples, seed=seed
        ),
        "naive": naive_elo(held_out_scores, names=names, anchor=anchor),
    }
    return {
        "anchor": anchor,
        "choices": len(inside),
        "ties": len(inside) - len(choices),
        "agreement": sum(each.agreement for each in inside) / len(inside),
        "not_connected": sorted({each.name for each in crowd.standings} - set(names)),
        "without_held_out_score": [name for name in names if name not in held_out_scores],
        "models": [
            {"model": name, **{curve: found.get(name) for curve, found in curves.items()}}
            for name in names
        ],
    }


def _of_fit(fit: EloFit, *, anchor: str) -> dict[str, dict[str, Any]]:
    """Standings of the anchor's group; whoever is not joined to it by any choice has no number."""
    group = next((each.group for each in fit.standings if each.name == anchor), None)
    return {
        each.name: {
            "value": each.elo,
            "low": each.low,
            "high": each.high,
            "n": each.choices,
            "wins": each.wins,
            "is_bounded": each.is_bounded,
        }
        for each in fit.standings
        if each.group == group
    }


def elo_of_mean_scores(
    duels: Sequence[Duel], *, names: Sequence[str], anchor: str, samples: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Mean score of each model's responses less the anchor's, at 174 Elo a unit; bootstrap over conversations."""
    place = {name: index for index, name in enumerate(names)}
    row = {name: index for index, name in enumerate(sorted({each.conversation for each in duels}))}
    sums, counts = np.zeros((len(row), len(names))), np.zeros((len(row), len(names)))  # (C, M)
    for duel in duels:
        for model, score in ((duel.better, duel.better_score), (duel.worse, duel.worse_score)):
            cell = row[duel.conversation], place[model]
            sums[cell] += score
            counts[cell] += 1
    rng = np.random.default_rng(seed)
    elos = np.empty((1 + samples, len(names)))  # (1 + S, M); the first is the data itself
    for sample in range(1 + samples):
        weights = np.ones(len(row))  # (C,)
        if sample:
            drawn = rng.integers(0, len(row), size=len(row))
            weights = np.bincount(drawn, minlength=len(row)).astype(np.float64)
        with np.errstate(invalid="ignore"):  # a draw may hold nothing of a model: not a number
            means = (weights @ sums) / (weights @ counts)
        elos[sample] = (means - means[place[anchor]]) * ELO_PER_NAT
    low, high = np.nanpercentile(elos[1:] if samples else elos, [2.5, 97.5], axis=0)
    responses = counts.sum(axis=0)
    return {
        name: {
            "value": float(elos[0, index]),
            "low": float(low[index]),
            "high": float(high[index]),
            "n": int(responses[index]),
            "mean_score": float(sums[:, index].sum() / responses[index]),
        }
        for name, index in place.items()
    }


def naive_elo(found: Scores, *, names: Sequence[str], anchor: str) -> dict[str, dict[str, Any]]:
    """Mean scores of samples for held-out prompts less the anchor's, at 174 Elo a unit; empty without the anchor's.

    The two means come from separate samples, so that their errors add in squares.
    """
    if anchor not in found:
        return {}
    zero, elos = found[anchor], {}
    for name in names:
        if name not in found:
            continue
        own = found[name]
        value = (own["value"] - zero["value"]) * ELO_PER_NAT
        errors = [(each["high"] - each["low"]) / 2 / Z_95 for each in (own, zero)]
        half = 0.0 if name == anchor else Z_95 * float(np.hypot(*errors)) * ELO_PER_NAT
        elos[name] = {
            "value": value,
            "low": value - half,
            "high": value + half,
            "n": own["n"],
            "mean_score": own["value"],
            "from": own.get("from"),
        }
    return elos


def mean_gap(parts: Sequence[Mapping[str, Any]], *, curve: str) -> float | None:
    """Mean distance in Elo of a curve from the crowd's, over the models that are no anchor and stand on both.

    None where there is no such model. Who never lost or never won has no Elo but the prior's, and is left out.
    """
    gaps = [
        abs(each[curve]["value"] - each["crowd"]["value"])
        for part in parts
        for each in part["models"]
        if each["model"] != part["anchor"]
        and all(_has_elo(part, model=each["model"], curve=name) for name in (curve, "crowd"))
    ]
    return sum(gaps) / len(gaps) if gaps else None


def _has_elo(part: Mapping[str, Any], *, model: str, curve: str) -> bool:
    """Whether choices or scores say how far the model is from the anchor."""
    both = [each[curve] for each in part["models"] if each["model"] in {model, part["anchor"]}]
    return all(point is not None and point.get("is_bounded", True) for point in both)
