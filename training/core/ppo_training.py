"""The PPO run, in the order of the algorithm box: prompts → rollout → score → rewards → advantages → updates.

It does not know who started it, nor how its policy will be put on trial.

Legend: B responses, R tokens of the longest response.
"""

import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from modelserving.core.sampling import sample_seed
from training.config import PPOConfig
from training.core.checkpointing import ResumeState
from training.core.outcome import NonFinite, Outcome
from training.core.policy_files import published_policy, whole_policy
from training.core.ppo_learner import Learner
from training.core.ppo_likelihoods import likelihood_metrics
from training.core.ppo_memory import ppo_training_bytes
from training.core.ppo_targets import targets_of
from training.core.ppo_update import Minibatch, Updates, plan_epoch, rows_to_keep
from training.core.ppo_watch import HeldOut, Watch, rollout_metrics
from training.core.ppo_world import World, open_world
from training.core.preflight import require_memory_of
from training.core.prompts import Prompt
from training.core.rewards import AdaptiveKL, ScoreScale, score_scale
from training.core.rollout import Rollout, collect, score_rollout
from training.core.rollout_source import EndpointSampler, OwnSampler, ResponseSource
from training.core.run_directory import RunDirectory
from training.core.seeding import prepare
from training.core.sharding import shard
from training.core.token_numbers import Reading, TokenNumbers, read_back

PARENTS = ("initial", "ranker", "test_pm", "release", "prompts")
SAMPLES_LOGGED = 4
MOSTLY = 0.9  # of a change; below, what serves is not what was measured
HELD_OUT_SEED = 7_000_003
SCALE_SEED = 9_000_011


def train(run: RunDirectory, config: PPOConfig) -> Outcome:
    """Train a policy against a preference model until the last step, a request, or a reason to stop."""
    device = prepare(config)
    run.progress(0, config.steps, "reading the inputs")
    trainer = _Trainer(run=run, config=config, world=open_world(run, config=config, device=device))
    try:
        return trainer.run_to_end()
    finally:
        trainer.source.close()


class _Trainer:
    """The state of one run."""

    def __init__(self, *, run: RunDirectory, config: PPOConfig, world: World) -> None:
        self.run, self.config, self.world = run, config, world
        self.ranks = run.ranks
        self.learner = Learner(world.policy, ranker=world.ranker, config=config, ranks=run.ranks)
        shard(world.ranker.model, config=config, ranks=run.ranks)  # the critic has its copy now
        self.step = 0
        self.scale = ScoreScale(mean=0.0, std=1.0)
        self.kl = AdaptiveKL(
            coefficient=config.kl_weight,
            target=config.adaptive_kl_target or math.inf,
            horizon=config.adaptive_kl_horizon,
        )
        self.held_out = HeldOut()
        self.watch = Watch(config=config)
        self.source = self._source()
        self.published: tuple[int, dict[str, Any]] | None = None  # step and results
        self.change_kept: float | None = None  # of the last published weights, known to rank 0
        run.require_space(self.learner.checkpoint_bytes)
        self._require_memory()
        run.log(f"prompts: {world.counts}; {self.learner.trained} trained parameters")

    def _require_memory(self) -> None:
        if self.world.policy.model.device.type == "cpu":
            require_memory_of(
                ppo_training_bytes(self.learner, world=self.world, config=self.config)
            )

    def run_to_end(self) -> Outcome:
        """Every step from where the run stands."""
        state = self.run.load_resume()
        self._begin() if state is None else self._restore(state)
        while self.step < self.config.steps:
            halt = self.run.agreed_halt()
            if halt == "interrupt":
                self._publish(milestone=False)
                return Outcome(state="interrupted", step=self.step)
            if halt == "stop":
                return self._end("stopped", reason="asked to stop")
            reason = self.ppo_step()
            if reason is not None:
                return self._fall_back(f"{reason} (seen after step {self.step})")
            if self.step < self.config.steps and self.step % self.config.checkpoint_every == 0:
                self._publish(milestone=False)
        return self._end("done")

    def ppo_step(self) -> str | None:
        """One turn of the loop; the reason to stop by itself, if there is one."""
        config, world, began = self.config, self.world, time.monotonic()
        self.source.take_weights()
        prompts = world.mixture.batch(step=self.step, count=config.batch_prompts)
        rollout = self._collect(prompts, seed=sample_seed(seed=config.seed, index=self.step))
        sampled = time.monotonic()
        scores = score_rollout(world.ranker, rollout, ranks=self.ranks)  # (B,)
        first_epoch = plan_epoch(
            rollout, config=config, step=self.step, epoch=0, ranks=self.ranks,
            threads=self.learner.threads,
        )  # fmt: skip
        numbers, kept = self._read_back(rollout, first_epoch)
        targets, rewards = targets_of(
            rollout, scores=self.scale.normalise(scores), numbers=numbers, config=config,
            kl_coefficient=self.kl.coefficient,
        )  # fmt: skip
        if not bool(torch.isfinite(rewards).all()):
            raise NonFinite("a reward", step=self.step)
        scored, learning_rate = time.monotonic(), self.learner.learning_rate(at_step=self.step)
        statistics = Updates(
            learner=self.learner, rollout=rollout, targets=targets, config=config, step=self.step,
            ranks=self.ranks,
        ).run(first_epoch, kept=kept)  # fmt: skip
        metrics = statistics.rows(self.ranks) | rollout_metrics(
            rollout, scores=scores, rewards=rewards, numbers=numbers, returns=targets.returns
        )
        metrics |= {
            "objective/kl_weight": self.kl.coefficient,
            "ppo/learning_rate": learning_rate,  # of the first update
            "ppo/samples": (self.step + 1) * rollout.size,
            "time/sample": sampled - began,
            "time/score": scored - sampled,
            "time/update": time.monotonic() - scored,
        }
        if config.adaptive_kl_target > 0:
            self.kl = self.kl.updated(kl=metrics["objective/kl"], samples=rollout.size)
        self._log_samples(rollout, scores=scores)
        self.step += 1
        return self._after_step(metrics, rollout=rollout)

    def _read_back(
        self, rollout: Rollout, first_epoch: Sequence[Minibatch]
    ) -> tuple[TokenNumbers, list[Reading]]:
        threads = self.learner.threads
        return read_back(
            rollout,
            [row for minibatch in first_epoch for row in minibatch.rows],
            policy=self.learner.policy,
            reference=self.world.reference.model,
            value=self.learner.value,
            temperature=self.config.temperature,
            ranks=self.ranks,
            threads=threads,
            keep=rows_to_keep(first_epoch[0], threads=threads, ranks=self.ranks),
        )

    def _collect(self, prompts: Sequence[Prompt], *, seed: int) -> Rollout:
        return collect(
            self.world.policy,
            prompts,
            source=self.source,
            samples_per_prompt=self.config.samples_per_prompt,
            max_new_tokens=self.config.max_response_tokens,
            temperature=self.config.temperature,
            seed=seed,
            ranks=self.ranks,
        )

    def _after_step(self, metrics: dict[str, float], *, rollout: Rollout) -> str | None:
        if self.step % self.config.evaluate_every == 0 or self.step == self.config.steps:
            metrics |= self._measure_held_out()
        if self.world.test_ranker is not None:
            metrics["objective/test_pm_score"] = float(
                score_rollout(self.world.test_ranker, rollout, ranks=self.ranks).mean()
            )
        self.run.metrics(self.step, metrics)
        self.run.progress(self.step, self.config.steps, "training")
        return self.watch.reason_to_stop(metrics, rollout=rollout, held_out=self.held_out)

    def _log_samples(self, rollout: Rollout, *, scores: Tensor) -> None:
        for index in range(min(SAMPLES_LOGGED, rollout.size)):
            row = {
                "prompt": [dict(message) for message in rollout.prompts[index].messages],
                "response": rollout.texts[index],
                "score": float(scores[index]),
                "ended": bool(rollout.ended[index]),
            }
            self.run.sample(self.step + 1, row)

    def _measure_held_out(self) -> dict[str, float]:
        """Sample the held-out prompts, the same seeds every time, and score them with both PMs."""
        self.run.progress(self.step, self.config.steps, "measuring held-out prompts")
        self.source.take_weights()
        rollout = self._collect(self.world.held_out, seed=HELD_OUT_SEED)
        scores = score_rollout(self.world.ranker, rollout, ranks=self.ranks)
        test_ranker = self.world.test_ranker
        test_scores = None
        if test_ranker is not None:
            test_scores = score_rollout(test_ranker, rollout, ranks=self.ranks)
        per_prompt = self.config.samples_per_prompt
        self.held_out.add(
            step=self.step,
            scores=scores.view(-1, per_prompt).mean(1),
            test_scores=None if test_scores is None else test_scores.view(-1, per_prompt).mean(1),
        )
        return self.held_out.newest_metrics() | {
            "held_out/length": float(rollout.lengths.float().mean()),
            "held_out/ended": float(rollout.ended.float().mean()),
            **likelihood_metrics(self.world, model=self.learner.policy, ranks=self.ranks),
        }

    def _begin(self) -> None:
        """Measure the start: the scale of scores on the reference's own samples, and the held-out prompts."""
        config = self.config
        if config.normalize_scores:
            self.run.progress(0, config.steps, "scoring the start's own samples")
            self.source.take_weights()
            count = max(1, config.normalization_samples // config.samples_per_prompt)
            prompts = self.world.mixture.batch(step=-1, count=count)
            sampled = self._collect(prompts, seed=SCALE_SEED)
            self.scale = score_scale(score_rollout(self.world.ranker, sampled, ranks=self.ranks))
            self.run.log(f"scores of the start's own samples: {self.scale}")
        self.run.metrics(0, self._measure_held_out())

    def _fall_back(self, reason: str) -> Outcome:
        """The newest checkpoint stays the run's result, with the figures that belong to it."""
        step, results = self.published or (self.step, self._results())
        return Outcome(state="stopped", step=step, reason=reason, results=results)

    def _end(self, state: Literal["done", "stopped"], *, reason: str = "") -> Outcome:
        if self.held_out.newest_step != self.step:
            self.run.metrics(self.step, self._measure_held_out())
        self._publish(milestone=True)
        return Outcome(state=state, step=self.step, reason=reason, results=self._results())

    def _results(self) -> dict[str, Any]:
        samples = self.step * self.config.batch_prompts * self.config.samples_per_prompt
        kept = {} if self.change_kept is None else {"change_kept": self.change_kept}
        return self.held_out.results() | {"samples": samples, **kept}

    def _note_kept(self, share: float) -> None:
        """The figures are of the float32 policy; what serves is the published one."""
        self.change_kept = share
        if share < MOSTLY:
            words = (
                "of the change is left in the bfloat16 weights: raise learning_rate or train longer"
            )
            self.run.log(f"{share:.0%} {words}")

    def _source(self) -> ResponseSource:
        url = self.config.rollout_endpoint
        if not url:
            return OwnSampler(model=self.world.policy.model)
        folder = self.run.path / "rollout-weights"
        start = self.world.initial_directory
        writer = partial(whole_policy, self.learner, tokenizer_directory=start)
        return EndpointSampler(url, folder=folder, writer=writer, ranks=self.ranks)

    def _publish(self, *, milestone: bool) -> None:
        scalars = {
            "updates": self.learner.updates,
            "scale": [self.scale.mean, self.scale.std],
            "kl_coefficient": self.kl.coefficient,
            "held_out": self.held_out.to_dict(),
        }

        self.run.publish_checkpoint(
            step=self.step,
            write=published_policy(
                self.learner,
                lora=self.config.lora,
                start=self.world.initial_directory,
                base=self.run.input_hash("initial"),
                tell_kept=self._note_kept if milestone else None,
            ),
            kind="policy",
            parents=[self.run.input_hash(role) for role in PARENTS if self.run.has_input(role)],
            resume=ResumeState(step=self.step, tensors=self.learner.tensors(), scalars=scalars),
            milestone=milestone,
        )
        self.published = self.step, self._results()

    def _restore(self, state: ResumeState) -> None:
        self.step = state.step
        self.learner.restore(state.tensors, updates=state.scalars["updates"])
        mean, std = state.scalars["scale"]
        self.scale = ScoreScale(mean=mean, std=std)
        self.kl = AdaptiveKL(
            coefficient=state.scalars["kl_coefficient"],
            target=self.kl.target,
            horizon=self.kl.horizon,
        )
        self.held_out = HeldOut.from_dict(state.scalars["held_out"])
        self.published = self.step, self._results()
