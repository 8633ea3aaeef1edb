"""Next-token training on a corpus or a release, resumable to the bit when its length is in steps.

It does not know where the text comes from, the database, or who serves the result.

B batch of blocks, T tokens of a block.
"""

import math
import time
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from modelserving.lm.saving import write_model_files, write_weights
from training.config import ConfigError, LanguageModelConfig, MixturePhase
from training.core.checkpointing import ResumeState
from training.core.corpus import MixtureReader
from training.core.language_model_loss import held_out_losses, next_token_loss
from training.core.language_model_start import Start, open_start
from training.core.master_weights import MasterWeights, make_optimizers, weights_in
from training.core.outcome import NonFinite, Outcome
from training.core.preflight import require_memory
from training.core.run_directory import Halt, RunDirectory
from training.core.schedules import learning_rate_fraction, phase_at
from training.core.seeding import prepare
from training.core.sharding import gathered, whole


def train(run: RunDirectory, config: LanguageModelConfig) -> Outcome:
    """Run to the end of the schedule, to a stop request, or to an interrupt."""
    device = prepare(config)
    run.progress(0, config.steps, "reading the corpus")
    if config.batch_blocks % run.ranks.world:
        raise ConfigError(
            f"batch_blocks {config.batch_blocks} does not divide among {run.ranks.world} processes: "
            f"set it to a multiple of {run.ranks.world}"
        )
    start = open_start(run, config=config)
    return _Trainer(run=run, config=config, start=start, device=device).run_to_end()


def _memory_estimate(
    config: LanguageModelConfig, *, parameters: int, model: PreTrainedModel
) -> int:
    """Bytes: weights, gradients and optimizer, the logits twice, and kept activations."""
    shape = model.config
    tokens = config.batch_blocks * config.block_tokens
    logits = 2 * 4 * tokens * shape.vocab_size
    kept_layers = 1 if config.activation_checkpointing else shape.num_hidden_layers
    activations = 30 * 4 * tokens * shape.hidden_size * kept_layers
    return 20 * parameters + logits + activations


class _Trainer:
    """The state of one run: model, optimizers, readers, and where it stands."""

    def __init__(
        self,
        *,
        run: RunDirectory,
        config: LanguageModelConfig,
        start: Start,
        device: torch.device,
    ) -> None:
        self.run, self.config, self.start, self.device = run, config, start, device
        self.ranks = run.ranks
        self.model = start.model
        self.reader = MixtureReader(
            start.training, block_tokens=config.block_tokens, seed=config.seed
        )
        for phase in config.phases:
            self.reader.require_sources(phase.weights)
        self.master = MasterWeights(self.model)
        self.optimizers = make_optimizers(self.master.parameters, config=config)
        self.step, self.seconds, self.tokens = 0, 0.0, 0
        count = sum(p.numel() for p in self.master.parameters.values())
        on_the_way = config.steps // config.publish_every if config.publish_every else 0
        run.require_space(
            count * 16,
            milestones=0 if config.max_minutes else on_the_way,
            milestone_bytes=count * 4,
        )
        if device.type == "cpu":
            require_memory(
                needed_bytes=_memory_estimate(config, parameters=count, model=self.model),
                lower="batch_blocks (and raise accumulation) or the model's shape",
            )
        sizes = {name: len(source.tokens) for name, source in start.training.items()}
        run.log(f"{count} parameters; training tokens per source: {sizes}")
        self.loss = torch.compile(self._block_loss) if config.compile else self._block_loss

    def _block_loss(self, ids_BT: Tensor, is_target_BT: Tensor) -> Tensor:
        return next_token_loss(self.model, ids_BT=ids_BT, is_target_BT=is_target_BT)

    # the loop

    @property
    def fraction_done(self) -> float:
        """How much of the run lies behind, 0..1, by time where the run ends by time."""
        if self.config.max_minutes:
            return min(1.0, self.seconds / (60 * self.config.max_minutes))
        return self.step / self.config.steps

    def run_to_end(self) -> Outcome:
        """Train from the newest resume state, or from the start."""
        state = self.run.load_resume()
        if state is not None:
            self._restore(state)
        while True:
            halt = self._agree_on_halt()
            if self.fraction_done >= 1.0:
                break
            if halt == "interrupt":
                self._checkpoint(milestone=False)
                return Outcome(state="interrupted", step=self.step)
            if halt == "stop":
                self._checkpoint(milestone=True)
                return Outcome(state="stopped", step=self.step, results=self._results())
            self._train_step()
        self._checkpoint(milestone=True)
        return Outcome(state="done", step=self.step, results=self._results())

    def _agree_on_halt(self) -> Halt | None:
        """Rank 0 looks at the clock and at stop requests for all."""
        (self.seconds,) = self.ranks.from_main([self.seconds])
        return self.run.agreed_halt()

    def _train_step(self) -> None:
        began = time.monotonic()
        progress = self.fraction_done
        row = {"lm/loss": self._accumulate(phase_at(self.config.phases, progress=progress))}
        self.master.take_gradients()
        self.ranks.sum_gradients(self.master.parameters.values())
        norm = self.master.clip(max_norm=self.config.max_gradient_norm)
        if not math.isfinite(norm):
            raise NonFinite("the gradient", step=self.step)
        share = learning_rate_fraction(self.config, step=self.step, progress=progress)
        self.optimizers.step(fraction=share)
        self.master.give_back()
        self.step += 1
        took = time.monotonic() - began
        self.seconds += took
        per_step = self.config.batch_blocks * self.config.block_tokens * self.config.accumulation
        self.tokens += per_step
        row |= {
            "lm/gradient_norm": norm,
            "lm/learning_rate": share * self.config.learning_rate,
            "lm/tokens": self.tokens,
            "lm/tokens_per_second": per_step / took,
        }
        if self.step % self.config.evaluate_every == 0:
            row |= self.held_out_losses()
        self.run.metrics(self.step, row)
        self._report(phase="training")
        self._checkpoint_when_due()

    def _accumulate(self, phase: MixturePhase) -> float:
        """Gradients of one optimizer step; returns the mean loss over all targets of its batches."""
        batches = [self._batch(micro, phase=phase) for micro in range(self.config.accumulation)]
        targets = max(1, sum(int(is_target_BT[:, 1:].sum()) for _, is_target_BT in batches))
        total = 0.0
        for ids_BT, is_target_BT in batches:
            mine = self.ranks.share(len(ids_BT))
            ids, is_target = ids_BT[mine].long(), is_target_BT[mine]
            loss = self.loss(ids.to(self.device), is_target.to(self.device)) / targets
            loss.backward()
            total += float(loss.detach())
        total = self.ranks.sum(total)
        if not math.isfinite(total):
            raise NonFinite("the loss", step=self.step)
        return total

    def _batch(self, micro: int, *, phase: MixturePhase) -> tuple[Tensor, Tensor]:
        """Ids and targets of one of a step's batches, both (B, T)."""
        ids, is_response = self.reader.batch(
            self.step * self.config.accumulation + micro,
            blocks=self.config.batch_blocks,
            weights=phase.weights,
        )
        is_target_BT = torch.from_numpy(is_response)
        if phase.loss_on == "all":
            is_target_BT = torch.ones_like(is_target_BT)
        return torch.from_numpy(ids), is_target_BT

    def held_out_losses(self) -> dict[str, float]:
        """Mean loss per token on held-out blocks, by source."""
        with whole(self.model):
            return held_out_losses(
                self.model,
                self.start.held_out,
                block_tokens=self.config.block_tokens,
                max_blocks=self.config.evaluation_blocks,
                device=self.device,
            )

    # files

    def _report(self, *, phase: str) -> None:
        left = None
        total = self.config.steps
        if self.config.max_minutes:
            left = 60 * self.config.max_minutes - self.seconds
            total = max(self.step, round(self.step / max(self.fraction_done, 1e-9)))
        self.run.progress(self.step, total, phase, seconds_left=left)

    def _checkpoint_when_due(self) -> None:
        if not self.config.max_minutes and self.step == self.config.steps:
            return  # the end publishes this step
        publish = self.config.publish_every and self.step % self.config.publish_every == 0
        if publish or self.step % self.config.checkpoint_every == 0:
            self._checkpoint(milestone=bool(publish))

    def _checkpoint(self, *, milestone: bool) -> None:
        named = self.master.tensors() | self.optimizers.tensors()
        tensors = gathered(named, ranks=self.ranks)
        scalars = {"seconds": self.seconds, "tokens": self.tokens, "readers": self.reader.state()}
        self.run.publish_checkpoint(
            step=self.step,
            write=lambda directory: self._write(weights_in(tensors), directory=directory),
            kind="language_model",
            parents=self.start.parents,
            resume=ResumeState(step=self.step, tensors=tensors, scalars=scalars),
            milestone=milestone,
        )

    def _write(self, weights: dict[str, Tensor], *, directory: Path) -> None:
        write_weights(weights, directory=directory)
        write_model_files(
            directory=directory,
            config=self.model.config,
            tokenizer_directory=self.start.tokenizer_directory,
            architecture=type(self.model).__name__,
        )

    def _restore(self, state: ResumeState) -> None:
        self.master.restore(state.tensors)
        self.optimizers.restore(state.tensors)
        self.reader.restore(state.scalars["readers"])
        self.step = state.step
        self.seconds = state.scalars["seconds"]
        self.tokens = state.scalars["tokens"]

    def _results(self) -> dict[str, object]:
        losses = self.held_out_losses()
        perplexity = {name: math.exp(value) for name, value in losses.items()}
        return {
            "held_out_loss": losses,
            "held_out_perplexity": perplexity,
            "tokens": self.tokens,
            "minutes": self.seconds / 60,
        }
