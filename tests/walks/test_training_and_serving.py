"""Walks (b) and (c): release, preference model, ranker; policy, trial, promotion, roll-back."""

import json
import sqlite3

import pytest

pytestmark = [pytest.mark.walk, pytest.mark.timeout(900)]

PM_SETTINGS = {"batch_comparisons": 8, "center_dialogues": 8, "bootstrap_samples": 50}
PPO_SETTINGS = {
    "steps": 2, "batch_prompts": 4, "samples_per_prompt": 2, "inner_epochs": 1,
    "max_response_tokens": 12, "normalization_samples": 8, "held_out_prompts": 4,
    "evaluate_every": 2, "checkpoint_every": 1,
}  # fmt: skip


def _settings(values):
    return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]


def _start_run(product, kind, values, *more):
    words = ["start_run", kind, "--release", "first", "--wait", "--json", *_settings(values), *more]
    outcome = json.loads(product.manage(*words, timeout=600))
    assert outcome["state"] == "done", outcome
    return outcome


def _places(product, slot):
    with sqlite3.connect(f"file:{product.var}/labelapp.sqlite3?mode=ro", uri=True) as database:
        rows = database.execute(
            """SELECT d.name, p.role, p.traffic FROM modelserving_slotdeployment p
               JOIN modelserving_slot s ON s.id = p.slot_id
               JOIN modelserving_deployment d ON d.id = p.deployment_id WHERE s.name = ?""",
            (slot,),
        )
        return {name: (role, traffic) for name, role, traffic in rows}


def _chat(crowdworker, message):
    conversation = crowdworker.start("helpful")
    turn = crowdworker.say(conversation, message)
    streamed = crowdworker.read_stream(turn)
    assert streamed.kinds[-1] == "ready"
    crowdworker.choose(conversation, turn, point=3)
    return turn


def test_from_choices_to_a_policy_that_people_talk_to(product, crowdworker):
    product.manage("cut_release", "first", "--test-percent", "20")

    pm = _start_run(product, "preference_model", PM_SETTINGS)
    product.manage(
        "deploy", "Best of two", "--checkpoint", "Starter", "--ranker", pm["checkpoint"],
        "--best-of", "2", "--max-new-tokens", "24",
    )  # fmt: skip
    product.manage("put_on_trial", "Best of two", "--slot", "helpful", "--traffic", "50")
    _chat(crowdworker, "What is a good name for a cat?")

    policy = _start_run(product, "ppo", PPO_SETTINGS, "--ranker", pm["checkpoint"])
    product.manage(
        "deploy", "Policy", "--checkpoint", policy["checkpoint"], "--max-new-tokens", "24"
    )
    product.manage("put_on_trial", "Policy", "--slot", "helpful", "--traffic", "50")
    before = _places(product, "helpful")
    assert before["Policy"] == ("trial", 50)
    _chat(crowdworker, "And for a dog?")

    product.manage("promote", "Policy", "--slot", "helpful", "--force", "--reason", "the walk")
    assert _places(product, "helpful")["Policy"][0] == "serving"
    _chat(crowdworker, "And for a bird?")
    product.manage("roll_back", "--slot", "helpful", "--reason", "the walk")

    assert _places(product, "helpful") == before
