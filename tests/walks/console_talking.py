"""A crowdworker's turns within the console walk, with first words measured, or with a death in the middle of each.

Knows the crowdworker, the kills and the record; knows nothing of what is trained or promoted.
"""

from typing import Any

from tests.walks import console_kills as kills
from tests.walks import console_record as record
from tests.walks.console_chat import Turn
from tests.walks.console_lab import Watched

RUN_KINDS = ("preference_model", "ppo")  # turns of these names were taken while such a run trained
FIRST_WORDS_WITHIN = 1.0  # seconds from Send, both sides


def talk(
    walk: Any, *, when: str, turns: int, shot: str = "", has_reload: bool = False
) -> list[Turn]:
    """Turns, and what the person waited for the first words; one reload in the middle if asked."""
    taken = [
        walk.crowd.take_turn(
            when=when, has_reload=has_reload and number == 2, shot=shot if number == 0 else ""
        )
        for number in range(turns)
    ]
    stored = record.ask(walk.product, record.TURNS)
    found = record.first_words(walk.crowd.history, stored, when=when)
    walk.transcript.say(
        f"{len(taken)} turns ({when}); seconds from Send to the first words: median "
        f"{ {side: round(value, 2) for side, value in found['median'].items()} }, later of both "
        f"{found['later_of_both']}, {found['held_back']} turns held back until both were whole"
    )
    if when in RUN_KINDS:
        walk.must(
            found["late"] == 0 or walk.is_small,
            f"{when}: {found['late']} of {found['turns']} turns took over {FIRST_WORDS_WITHIN:g} s, worst {found['worst']:.2f} s",
        )
    return taken


def talk_and_kill(walk: Any, run: Watched, *, when: str, at: str) -> None:
    """One turn per victim, killed while it is written or chosen; the run has a checkpoint before the first."""
    checkpoints = walk.product.var / "runs" / run.public_id / "checkpoints"
    while not list(checkpoints.glob("step-*")) and walk.lab.state() not in {"done", "failed"}:
        walk.lab.page.wait_for_timeout(500)
    walk.visitors.is_killing = True
    for victim in (*(v for v in kills.VICTIMS if v != "training"), "training"):
        death = kills.aim(walk.product, victim, moment=when)
        if death is None:
            walk.transcript.say(f"{victim}: there was none to kill")
            continue
        turn = _turn_with_a_death(walk, death, at=at)
        if not death.was_there:
            walk.transcript.say(f"{victim} had ended by itself")
            continue
        kills.wait_until_back(walk.product, death, is_over=walk.lab.state() in {"done", "failed"})
        walk.deaths.append(death)
        back = f"back after {death.seconds:.1f} s" if death.seconds else "NOT BACK"
        walk.transcript.say(
            f"killed {victim} ({at}{'' if turn.was_writing or at != 'writing' else ', already written'}): "
            f"{back}; the turn took {turn.seconds:.1f} s; {walk.lab.line()}"
        )
        walk.must(death.seconds is not None, f"{victim} did not come back")
    walk.lab.page.wait_for_timeout(1000)
    walk.visitors.is_killing = False


def _turn_with_a_death(walk: Any, death: kills.Death, *, at: str) -> Turn:
    def strike() -> None:
        kills.strike(death)

    if at == "writing":
        return walk.crowd.take_turn(when=death.moment, while_writing=strike)
    return walk.crowd.take_turn(when=death.moment, at_choice=strike)


def drawn(walk: Any, *, when: str) -> dict[str, int]:
    """How many sides each deployment wrote in the turns of that time."""
    turns = {each.turn for each in walk.crowd.history if each.when == when}
    counts: dict[str, int] = {}
    for row in record.ask(walk.product, record.TURNS):
        for name in row["by"].values() if row["turn"] in turns else ():
            counts[name] = counts.get(name, 0) + 1
    return counts
