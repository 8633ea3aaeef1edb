"""The steps of the console walk, each with its numbers in the transcript and its faults in `problems`.

Knows what must hold after each step; the pages, the crowdworker and the kills are next door.
"""

import re
import secrets
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.walks import console_kills as kills
from tests.walks import console_record as record
from tests.walks.console_browser import Visitors
from tests.walks.console_chat import CrowdPage
from tests.walks.console_examining import examine_everything
from tests.walks.console_lab import Lab, Watched
from tests.walks.console_talking import drawn, talk, talk_and_kill
from tests.walks.console_transcript import Transcript
from tests.walks.instance import ROOT, RunningProduct

RELEASE, SLOT = "walk", "helpful"
RANKED, POLICY = "Best of four", "Policy from the walk"
SMALL = {
    "preference_model": {"batch_comparisons": 16, "max_comparisons": 64, "checkpoint_every": 2,
                         "center_dialogues": 16, "bootstrap_samples": 50},
    "ppo": {"steps": 2, "batch_prompts": 4, "samples_per_prompt": 2, "inner_epochs": 1, "minibatches": 2,
            "max_response_tokens": 16, "normalization_samples": 8, "held_out_prompts": 8,
            "evaluate_every": 2, "checkpoint_every": 1},
}  # fmt: skip
LONG_ENOUGH_TO_KILL = {
    "preference_model": {"max_comparisons": 240},
    "ppo": {"steps": 16},
}  # with SMALL
TURNS_PER_RUN, TURNS_OF_TRIAL, FEWEST_TEST = 8, 10, 1300


@dataclass(kw_only=True)
class Walk:
    """Everything that the steps share."""

    product: RunningProduct
    transcript: Transcript
    is_small: bool
    has_kills: bool
    problems: list[str] = field(default_factory=list)
    deaths: list[kills.Death] = field(default_factory=list)
    preference_model: str = ""
    policy: str = ""
    visitors: Visitors = None  # type: ignore[assignment]
    lab: Lab = None  # type: ignore[assignment]
    crowd: CrowdPage = None  # type: ignore[assignment]

    def must(self, holds: bool, words: str) -> None:
        """Note what does not hold; the walk goes on."""
        if not holds:
            self.problems.append(words)
            self.transcript.say(f"**not as it must be**: {words}")


def start(walk: Walk) -> None:
    """Cold, then warm."""
    product, transcript = walk.product, walk.transcript
    transcript.heading("Start")
    for name, most in (("cold, empty folder", 90), ("warm", 10)):
        began = time.monotonic()
        product.start()
        seconds = time.monotonic() - began
        said = re.findall(r"READY in (\d+) s", product.terminal())[-1]
        transcript.say(f"`./start demo`, {name}: READY after {seconds:.1f} s (it says {said} s)")
        walk.must(
            seconds <= most or walk.is_small, f"{name} start took {seconds:.0f} s, over {most}"
        )
        if most == 90:
            began = time.monotonic()
            walk.must(product.stop() == 0, "SIGTERM did not end with exit code 0")
            transcript.say(f"stopped by SIGTERM in {time.monotonic() - began:.1f} s")
    second = subprocess.run(
        ["./start", "demo", "--port", str(product.port + 1)], cwd=ROOT, env=product.environment,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    said = second.stderr.strip()
    transcript.say(f"a second `./start`: exit code {second.returncode}, “{said}”")
    walk.must(second.returncode == 1 and said.count("\n") == 0, f"a second ./start: {said}")


def sign_in(walk: Walk, visitors: Visitors) -> None:
    """The administrator by the printed link, the crowdworker by the printed password."""
    walk.transcript.heading("Sign in")
    walk.visitors, walk.lab = visitors, Lab(visitors, walk.transcript)
    link = re.search(r"works once: (\S+)", walk.product.terminal())
    assert link, "no sign-in link was printed"
    page = walk.lab.page
    page.goto(link[1])
    button = page.locator("main form button")
    if button.count():
        button.first.click()
    page.wait_for_url(lambda url: "/sign-in" not in url)
    walk.lab.choose_password(secrets.token_urlsafe(12))
    walk.transcript.say(f"administrator by the printed one-time link, now at {page.url}")
    walk.lab.look_at({"01-manage": "/manage/"})
    walk.crowd = CrowdPage(visitors)
    walk.crowd.sign_in("casey", walk.product.password("casey"))
    visitors.shot(walk.crowd.page, "02-work", is_crowd=True)
    walk.crowd.begin()
    walk.transcript.say(
        "crowdworker casey by the printed password; consent given, conversation begun"
    )


def import_files(walk: Walk, data: Path, files: dict[str, tuple[str, str]]) -> None:
    """The four HH files by the management command."""
    walk.transcript.heading("Import")
    for name, (objective, tranche) in files.items():
        path = data / f"{name}.jsonl.gz"
        words = ("import_comparisons", str(path), "--format", "hh", "--objective", objective)
        walk.transcript.quote(walk.product.manage(*words, "--tranche", tranche, timeout=600))


def cut_release(walk: Walk) -> None:
    """From Manage, Releases, New release."""
    walk.transcript.heading("Release")
    seconds = walk.lab.cut_release(RELEASE, test_percent=20)
    counts = record.ask(walk.product, record.RELEASE.format(name=RELEASE))
    walk.transcript.say(
        f"frozen after {seconds:.1f} s: train {counts['train']:,}, test {counts['test']:,}, "
        f"left out {counts['left_out']}"
    )
    walk.must(
        walk.is_small or counts["test"] >= FEWEST_TEST, f"only {counts['test']} test comparisons"
    )


def train_preference_model(walk: Walk) -> None:
    """A demo-preset run from the form; a crowdworker talks meanwhile."""
    walk.transcript.heading("Preference model")
    run, row = _train(walk, "preference_model", shot="05-pm", at="writing")
    walk.preference_model = row["checkpoint"]
    _say_measured(walk, row, "test_accuracy", is_share=True)
    walk.transcript.say(f"calibration: ECE {row['results'].get('expected_calibration_error')}")
    low = row["results"].get("test_accuracy", {}).get("low", 0)
    walk.must(walk.is_small or low > 0.5, f"test accuracy is not above chance: {low}")
    walk.must(walk.is_small or walk.has_kills or run.minutes <= 10, "the PM run took over 10 min")


def rank_with_it(walk: Walk) -> None:
    """Best of four by the new preference model, on the starter."""
    walk.transcript.heading("Best-of-k deployment")
    page = walk.lab.page
    page.goto("/lab/checkpoints/")
    page.locator("main table a", has_text="Starter").first.click()
    page.wait_for_url(re.compile(r"/checkpoints/[0-9a-f]{64}/"))
    starter = page.url.rstrip("/").rsplit("/", 1)[1]
    walk.lab.make_deployment(
        starter, name=RANKED, shot="06-ranked", max_new_tokens=48,
        ranker=walk.preference_model[:8], best_of=4,
    )  # fmt: skip
    seconds = walk.lab.put_on_trial(
        starter, name=RANKED, slot=SLOT, traffic=20, shot="07-ranked-on-trial"
    )
    walk.transcript.say(
        f"{RANKED}, ranked by the new preference model, on trial after {seconds:.1f} s"
    )
    talk(walk, when="best of four on trial", turns=4)


def train_policy(walk: Walk) -> None:
    """A demo-preset PPO run against that preference model."""
    walk.transcript.heading("PPO policy")
    run, row = _train(walk, "ppo", shot="08-ppo", at="choice", ranker=walk.preference_model[:8])
    walk.policy = row["checkpoint"]
    for key in ("heldout_score_start", "heldout_score_end", "gain"):
        _say_measured(walk, row, key)
    low = row["results"].get("gain", {}).get("low", 0)
    walk.must(walk.is_small or low > 0, f"the held-out gain is not above 0: {low}")
    walk.must(walk.is_small or walk.has_kills or run.minutes <= 10, "the PPO run took over 10 min")


def try_promote_roll_back(walk: Walk) -> None:
    """Trial without a restart, ten turns, leaderboard, promotion, a chat, roll-back."""
    walk.transcript.heading("Trial, ten turns, promotion, roll-back")
    lab, before = walk.lab, walk.product.processes()
    lab.make_deployment(walk.policy, name=POLICY, shot="09-policy", max_new_tokens=48)
    seconds = lab.put_on_trial(walk.policy, name=POLICY, slot=SLOT, traffic=40, shot="10-on-trial")
    walk.transcript.say(f"{POLICY} on trial after {seconds:.1f} s: {'; '.join(lab.places(SLOT))}")
    talk(walk, when="trial", turns=TURNS_OF_TRIAL, shot="11-trial")
    counts = drawn(walk, when="trial")
    walk.transcript.say(f"sides drawn in those {TURNS_OF_TRIAL} turns: {counts}")
    walk.must(POLICY in counts, "no response of the trial came into a conversation")
    lab.look_at({"12-leaderboard": "/lab/leaderboard/", "12-servers": "/lab/servers/"})
    standing = lab.places(SLOT)
    walk.transcript.say(
        f"promotion: {lab.promote(name=POLICY, slot=SLOT, reason='the walk shows the way', shot='13')}"
    )
    talk(walk, when="promoted", turns=1, shot="14-promoted")
    promoted = drawn(walk, when="promoted")
    walk.transcript.say(f"after the promotion the turn drew {promoted}")
    lab.roll_back(slot=SLOT, shot="15")
    talk(walk, when="rolled back", turns=1)
    shares = [re.sub(r" (yes|no).*", "", line) for line in lab.places(SLOT)]
    walk.must(
        shares == [re.sub(r" (yes|no).*", "", line) for line in standing],
        f"roll-back: {shares} is not {standing}",
    )
    walk.transcript.say(f"rolled back to {'; '.join(shares)}")
    after = walk.product.processes()
    walk.must(after == before, f"processes changed: {before} → {after}")
    walk.transcript.say("no process was restarted: the same process ids before and after")


def examine(walk: Walk) -> None:
    """The record against the client's history, the doctor, and what the consoles said."""
    examine_everything(walk)


def _train(
    walk: Walk, kind: str, *, shot: str, at: str, ranker: str = ""
) -> tuple[Watched, dict[str, Any]]:
    settings: dict[str, object] = dict(SMALL[kind]) if walk.is_small else {}
    if walk.is_small and walk.has_kills:
        settings |= LONG_ENOUGH_TO_KILL[kind]
    began = time.monotonic()
    run = walk.lab.start_run(kind, release=RELEASE, settings=settings, shot=shot, ranker=ranker)
    walk.lab.wait_for_step(step=1)
    walk.transcript.say(f"first step after {time.monotonic() - began:.0f} s: {walk.lab.line()}")
    turns = 3 if walk.is_small and walk.has_kills else TURNS_PER_RUN
    talk(walk, when=kind, turns=turns, shot=shot, has_reload=True)
    if walk.has_kills:
        talk_and_kill(walk, run, when=f"{kind}, kills", at=at)
    walk.lab.watch(run, began=began, shot=shot)
    row = record.run_row(walk.product, run.public_id)
    walk.transcript.say(
        f"run {row['pk']}: {run.state} after {run.minutes:.1f} min (started to finished: "
        f"{(row['seconds'] or 0) / 60:.1f} min), attempt {row['attempt']}, checkpoint {row['checkpoint'][:12]}"
    )
    for words, text in run.facts.items():
        walk.transcript.say(f"page: {words}: {text}")
    walk.transcript.say(f"curves: {' | '.join(run.readouts)}")
    walk.must(run.state == "done" and bool(row["checkpoint"]), f"{kind} run: {row}")
    log = walk.product.var / "runs" / run.public_id / "log.txt"
    for line in log.read_text().splitlines():
        if "resuming from" in line:
            walk.transcript.say(f"its log: {line}")
    assert row["checkpoint"], row
    return run, row


def _say_measured(walk: Walk, row: dict[str, Any], key: str, *, is_share: bool = False) -> None:
    value = row["results"].get(key)
    if not isinstance(value, dict):
        walk.must(False, f"the run has no {key}")
        return
    shown = {
        name: f"{100 * value[name]:.1f} %" if is_share else f"{value[name]:+.3f}"
        for name in ("value", "low", "high") if value.get(name) is not None
    }  # fmt: skip
    walk.transcript.say(
        f"**{key.replace('_', ' ')} {shown.get('value')}** "
        f"({shown.get('low')} to {shown.get('high')}), n={value.get('n')}"
    )
