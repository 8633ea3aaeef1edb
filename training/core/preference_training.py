"""The preference-model run: release → packed steps → evaluation → checkpoint.

It does not know who started it or what its checkpoint will rank.
"""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from modelserving.core.adapters import whole_weights
from modelserving.lm.loading import LoadedModel
from modelserving.lm.saving import write_model_files, write_weights
from modelserving.lm.threads import threads_for
from training.config import ConfigError, PreferenceModelConfig
from training.core.batching import Half, balanced_rows
from training.core.checkpointing import ResumeState
from training.core.evaluation.preference import Judged, judge, report
from training.core.learning_rates import rate_share
from training.core.lora import merged
from training.core.master_weights import MasterWeights, Optimizers, weights_in
from training.core.outcome import NonFinite, Outcome
from training.core.preference_sets import ComparisonSets, planned, read_comparisons
from training.core.preference_start import initial_preference_model, score_center
from training.core.preference_step import accumulate, tree_tokens
from training.core.preflight import packed_training_bytes, require_memory_of
from training.core.run_directory import Halt, RunDirectory
from training.core.seeding import prepare
from training.core.sharding import gathered, whole

PARENTS = ("initial", "release", "answers")


def train(run: RunDirectory, config: PreferenceModelConfig) -> Outcome:
    """Train one preference model, or a test PM and then a train PM on disjoint halves."""
    device = prepare(config)
    run.progress(0, 1, "reading the release")
    release = run.inputs("release")
    loaded: LoadedModel | None = initial_preference_model(run, config=config, device=device)
    parts = _read_parts(release, run=run, config=config, initial=loaded)
    state = run.load_resume()
    results: dict[str, Any] = dict(state.scalars["results"]) if state else {}
    last_step = 0
    for index, (half, sets) in enumerate(parts.items()):
        first_step, last_step = last_step, last_step + len(planned(sets, config=config))
        if state is not None and is_judged(results, half=half, last_step=last_step):
            continue
        trainer = PreferenceTrainer(
            run=run, config=config, sets=sets, half=half, first_step=first_step,
            initial=loaded or initial_preference_model(run, config=config, device=device),
        )  # fmt: skip
        if loaded is not None:  # the first here: what it frees is the next one's
            trainer.require_memory()
        halted = trainer.run_to_end(state, results=results, parts_left=len(parts) - index)
        if halted is not None:
            return halted
        state, loaded = None, None
        del trainer  # before the next model is read
    return Outcome(state="done", step=last_step, results=results)


def _read_parts(
    release: Path, *, run: RunDirectory, config: PreferenceModelConfig, initial: LoadedModel
) -> dict[str, ComparisonSets]:
    """What each model is trained on, in order; all of it is read before the first step of any."""
    halves: tuple[Half, ...] = ("all",) if config.disjoint_models == 1 else ("second", "first")
    parts: dict[str, ComparisonSets] = {}
    for half in halves:
        try:
            parts[half] = read_comparisons(
                release,
                encoder=initial.tokenizer,
                layout=initial.dialogue_format,
                config=config,
                half=half,
            )
        except ConfigError as refused:
            if half == "all":
                raise
            raise ConfigError(
                f"of the {half} half of the conversations {refused}; or set disjoint_models to 1"
            ) from None
        run.log(f"comparisons ({half}): {parts[half].counts}")
    return parts


def prefix_of(half: str) -> str:
    """Before the names of a model's results."""
    return "" if half in ("all", "first") else "test_pm_"


def is_judged(results: Mapping[str, Any], *, half: str, last_step: int) -> bool:
    """Whether the results are those of the model's last step: one can be trained and not judged yet."""
    return bool(results.get(f"{prefix_of(half)}checkpoint") == f"checkpoints/step-{last_step:06d}")


class _Interrupted(Exception):
    """SIGTERM while the last evaluation goes on."""


class PreferenceTrainer:
    """One preference model in training; its steps count on from `first_step`."""

    def __init__(
        self,
        *,
        run: RunDirectory,
        config: PreferenceModelConfig,
        initial: LoadedModel,
        sets: ComparisonSets,
        half: str,
        first_step: int,
    ) -> None:
        self.run, self.config, self.initial, self.sets, self.half = run, config, initial, sets, half
        self.model = initial.model
        self.plan = planned(sets, config=config)
        self.first_step, self.step = first_step, first_step
        self.last_step = first_step + len(self.plan)
        self.master = MasterWeights(self.model)
        betas = (config.beta1, config.beta2)
        adam = torch.optim.AdamW(
            list(self.master.parameters.values()),
            betas=betas,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.optimizers = Optimizers(members=((adam, config.learning_rate),))
        run.require_space(self.master.checkpoint_bytes)

    def require_memory(self) -> None:
        """Refuse what the host's memory does not hold beside what is loaded."""
        if self.model.device.type != "cpu":
            return
        threads = threads_for(self.model)
        parts = packed_training_bytes(
            trained=self.master.trained,
            shapes=[self.model.config],
            tokens=self._tokens_at_once(threads),
            threads=threads,
            keeps_layers=not self.config.activation_checkpointing,
        )
        require_memory_of(parts)

    def _tokens_at_once(self, threads: int) -> int:
        """Of the longest rows of a step that are read side by side, at most."""
        most = 0
        for step in self.plan:
            lengths = [tree_tokens([self.sets.train[each] for each in group]) for group in step]
            rows = balanced_rows(lengths, row_tokens=self.config.micro_tokens, multiple=threads)
            longest = sorted(sum(lengths[index] for index in row) for row in rows)[-threads:]
            most = max(most, sum(longest))
        return most

    def run_to_end(
        self, state: ResumeState | None, *, results: dict[str, Any], parts_left: int
    ) -> Outcome | None:
        """Train from the resume state or the start; an Outcome when told to stop on the way."""
        self.results = results
        self.total_steps = self.first_step + parts_left * len(self.plan)
        if state is not None and state.step > self.first_step:
            self.master.restore(state.tensors)
            self.optimizers.restore(state.tensors)
            self.step = state.step
        while self.step < self.last_step:
            halt = self.run.agreed_halt()
            if halt is not None and 0 < self.first_step == self.step:
                # the model before stands at this very step, and a resume begins this one from there
                return self._halted(halt)
            if halt == "interrupt":
                self._publish(milestone=False)
                return self._halted(halt)
            if halt == "stop":
                if self.step == self.first_step:  # nothing was learned, so nothing is judged
                    self._publish(milestone=True)
                    return self._halted(halt)
                return self._finish() or self._halted(halt)
            self._train_step()
            if self.step < self.last_step and self.step % self.config.checkpoint_every == 0:
                self._publish(milestone=False)
        return self._finish()

    def _halted(self, halt: Halt) -> Outcome:
        state = "interrupted" if halt == "interrupt" else "stopped"
        return Outcome(state=state, step=self.step, results=self.results)

    def _train_step(self) -> None:
        began = time.monotonic()
        index = self.step - self.first_step
        groups = [[self.sets.train[each] for each in group] for group in self.plan[index]]
        seen = accumulate(
            self.model, groups, config=self.config, step=self.step, ranks=self.run.ranks
        )
        self.master.take_gradients()
        self.run.ranks.sum_gradients(self.master.parameters.values())
        norm = self.master.clip(max_norm=self.config.max_gradient_norm)
        if not math.isfinite(norm):
            raise NonFinite("the gradient", step=self.step)
        share = rate_share(
            self.config.schedule,
            step=index,
            total=len(self.plan),
            warmup_steps=self.config.warmup_steps,
        )
        self.optimizers.step(fraction=share)
        self.master.give_back()
        self.step += 1
        row = {
            "pm/loss": seen.loss,
            "pm/accuracy": seen.accuracy,
            "pm/margin": seen.margin,
            "pm/gradient_norm": norm,
            "pm/learning_rate": share * self.config.learning_rate,
            "pm/tokens": seen.tokens,
            "pm/comparisons_per_second": seen.comparisons / (time.monotonic() - began),
        }
        if self.config.evaluate_every and self.step % self.config.evaluate_every == 0:
            judged = self._judge()
            row["pm/test_accuracy"] = sum(each.correct for each in judged) / len(judged)
        self.run.metrics(self.step, row)
        self.run.progress(self.step, self.total_steps, "training")

    def _finish(self) -> Outcome | None:
        """Evaluate, centre and publish what there is; an Outcome when interrupted while judging."""
        self.run.progress(self.step, self.total_steps, "evaluating")
        try:
            evaluation = self._evaluate()
        except _Interrupted:
            self._publish(milestone=False)
            return self._halted("interrupt")
        prefix = prefix_of(self.half)
        self.run.write_json(f"{prefix}evaluation.json", evaluation)
        self.results |= {
            f"{prefix}test_accuracy": evaluation["accuracy"],
            f"{prefix}expected_calibration_error": evaluation["expected_calibration_error"],
            f"{prefix}comparisons": self.sets.counts,
            f"{prefix}checkpoint": f"checkpoints/step-{self.step:06d}",
        }
        for objective, accuracy in evaluation["by_objective"].items():
            self.results[f"{prefix}test_accuracy_{objective}"] = accuracy
        self._publish(milestone=True)
        return None

    def _judge(self, *, is_last: bool = False) -> list[Judged]:
        began = time.monotonic()

        def tell(done: float) -> None:
            left = (time.monotonic() - began) * (1 - done) / done
            self.run.progress(self.step, self.total_steps, "evaluating", seconds_left=left)
            # several processes judge to the end: they would not stop at the same place
            if is_last and self.run.ranks.world == 1 and self.run.should_stop() == "interrupt":
                raise _Interrupted

        with whole(self.model):
            return judge(self.model, self.sets.test, ranks=self.run.ranks, tell=tell)

    def _evaluate(self) -> dict[str, Any]:
        judged = self._judge(is_last=True)
        scores = [score for each in judged for score in (each.chosen, each.rejected)]
        if not all(map(math.isfinite, scores)):
            raise NonFinite("a test score", step=self.step)
        seed, samples = self.config.seed, self.config.bootstrap_samples
        return report(judged, bootstrap_samples=samples, seed=seed)

    def _publish(self, *, milestone: bool) -> None:
        named = self.master.tensors() | self.optimizers.tensors()
        tensors = gathered(named, ranks=self.run.ranks)
        frozen = gathered(self.master.frozen_tensors(), ranks=self.run.ranks)
        resume = ResumeState(step=self.step, tensors=tensors, scalars={"results": self.results})
        center = score_center(self.model, self.sets.test, dialogues=self.config.center_dialogues)
        layout = replace(self.initial.dialogue_format, score_center=center)

        def write(directory: Path) -> None:
            weights = merged(weights_in(tensors | frozen), config=self.config.lora)
            write_weights(weights, directory=directory)
            write_model_files(
                directory=directory,
                config=self.model.config,
                tokenizer_directory=whole_weights(self.run.inputs("initial")),
                architecture=type(self.model).__name__,
            )
            text = json.dumps(layout.to_dict(), indent=2, ensure_ascii=False)
            (directory / "dialogue.json").write_text(text + "\n", encoding="utf-8")

        self.run.publish_checkpoint(
            step=self.step,
            write=write,
            kind="preference_model",
            parents=[self.run.input_hash(role) for role in PARENTS if self.run.has_input(role)],
            resume=resume,
            milestone=milestone,
        )
