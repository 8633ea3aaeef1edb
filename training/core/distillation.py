"""Context distillation: a student without the prompt learns to behave as the teacher with it.

It does not know the database or who serves the result (Bai et al. 2022, A.1; Askell et al. 2021).

B sequences, T tokens of a sequence.
"""

import math
from pathlib import Path

import torch
from torch import Tensor

from modelserving.core.adapters import whole_weights
from modelserving.core.architectures import CheckpointRefused
from modelserving.lm.attention import without_dropout
from modelserving.lm.loading import LoadedModel, load_language_model
from modelserving.lm.saving import write_model_files, write_weights
from training.config import ConfigError, ContextDistillationConfig
from training.core.checkpointing import ResumeState, optimizer_tensors, restore_optimizer
from training.core.curves import draw_curve
from training.core.distillation_loss import at, teacher_student_kl
from training.core.distillation_room import require_room
from training.core.distillation_teacher import Lessons, prepare_lessons
from training.core.master_weights import MasterWeights, weights_in
from training.core.outcome import NonFinite, Outcome
from training.core.run_directory import InputRefused, RunDirectory
from training.core.seeding import prepare
from training.core.sharding import gathered, loading, placed, shard, whole

PARENTS = ("initial", "teacher", "corpus")


def train(run: RunDirectory, config: ContextDistillationConfig) -> Outcome:
    """Ask the teacher once, then train the student on its answers."""
    device = prepare(config)
    student = _load(run, "initial")
    lessons = _ask(run, config=config, student=student, device=device)
    if isinstance(lessons, Outcome):
        return lessons
    model = placed(student.model, **loading(config, ranks=run.ranks, is_trained=True))
    shard(without_dropout(model).train(), config=config, ranks=run.ranks)
    return _Trainer(run=run, config=config, student=student, lessons=lessons).run_to_end()


def _ask(
    run: RunDirectory,
    *,
    config: ContextDistillationConfig,
    student: LoadedModel,
    device: torch.device,
) -> dict[str, Lessons] | Outcome:
    """The lessons, once it is clear that student and machine can use them, or how asking for them was halted.

    A teacher of its own is gone afterwards.
    """
    teacher = _load(run, "teacher") if run.has_input("teacher") else student
    _require_fit(student, teacher=teacher, config=config)
    require_room(run, config=config, student=student.model, teacher=teacher.model, device=device)
    teacher.model.to(device)
    return prepare_lessons(run, config=config, teacher=teacher)


def _require_fit(
    student: LoadedModel, *, teacher: LoadedModel, config: ContextDistillationConfig
) -> None:
    """Refuse, before the teacher is asked, a student that could not read the lessons."""
    if student.tokenizer.to_json() != teacher.tokenizer.to_json():
        raise InputRefused(
            "teacher and initial have different tokenizers: choose two that share one"
        )
    limit = student.positions
    if limit is not None and config.sequence_tokens > limit:
        raise ConfigError(
            f"sequence_tokens {config.sequence_tokens} is beyond the student's {limit} positions: lower it"
        )
    if student.dialogue_format != teacher.dialogue_format and not _reads_alike(student, teacher):
        raise InputRefused(
            "teacher and initial mark turns differently (dialogue.json): choose two that mark them alike"
        )


def _reads_alike(student: LoadedModel, teacher: LoadedModel) -> bool:
    """Whether both mark turns with the same tokens, whatever their context or centre."""
    one, other = student.dialogue_format, teacher.dialogue_format
    return all(
        getattr(one, name) == getattr(other, name)
        for name in ("format", "human", "assistant", "end_of_turn")
    )


def _load(run: RunDirectory, role: str) -> LoadedModel:
    try:
        return load_language_model(run.inputs(role), dtype=torch.float32)
    except CheckpointRefused as refused:
        raise InputRefused(f"the {role} checkpoint cannot be used: {refused}") from None


class _Trainer:
    """The state of one run: student, optimizer, and where it stands."""

    def __init__(
        self,
        *,
        run: RunDirectory,
        config: ContextDistillationConfig,
        student: LoadedModel,
        lessons: dict[str, Lessons],
    ) -> None:
        self.run, self.config, self.student, self.lessons = run, config, student, lessons
        self.model = student.model
        self.master = MasterWeights(self.model)
        parameters = list(self.master.parameters.values())
        self.optimizer = torch.optim.AdamW(
            parameters, lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=0.0
        )
        self.steps = config.epochs * math.ceil(config.sequences / config.batch_size)
        self.step = 0

    def run_to_end(self) -> Outcome:
        """Train from the newest resume state, or from the start."""
        state = self.run.load_resume()
        if state is not None:
            self.master.restore(state.tensors)
            restore_optimizer(self.optimizer, tensors=state.tensors, prefix="optimizer")
            self.step = state.step
        else:
            self.run.metrics(0, {"held_out/kl": self.held_out_kl()})
        while self.step < self.steps:
            halt = self.run.agreed_halt()
            if halt == "interrupt":
                self._publish(milestone=False)
                return Outcome(state="interrupted", step=self.step)
            if halt == "stop":
                return self._end("stopped")
            self._train_step()
            if self.step % self.config.checkpoint_every == 0 and self.step < self.steps:
                self._publish(milestone=False)
        return self._end("done")

    def _train_step(self) -> None:
        rows = self._rows_of_step()
        mine = rows[self.run.ranks.rank :: self.run.ranks.world]
        read = mine if len(mine) else rows[:1]  # a rank without rows reads one for nothing
        kls = self._kl(self.lessons["train"], rows=read).mean(1)  # (B,)
        loss = kls.sum() * (len(mine) > 0) / len(rows)
        loss.backward()
        kl = self.run.ranks.sum(float(loss.detach()))
        if not math.isfinite(kl):
            raise NonFinite("the divergence", step=self.step)
        self.master.take_gradients()
        self.run.ranks.sum_gradients(self.master.parameters.values())
        norm = self.master.clip(max_norm=self.config.max_gradient_norm)
        if not math.isfinite(norm):
            raise NonFinite("the gradient", step=self.step)
        warm = min(1.0, (self.step + 1) / max(1, self.config.warmup_steps))
        share = warm * (1 - self.step / self.steps)
        self.optimizer.param_groups[0]["lr"] = share * self.config.learning_rate
        self.optimizer.step()
        self.master.give_back()
        self.step += 1
        row = {
            "distillation/kl": kl,
            "distillation/gradient_norm": norm,
            "distillation/learning_rate": share * self.config.learning_rate,
        }
        if self.step % self.config.evaluate_every == 0 or self.step == self.steps:
            row["held_out/kl"] = self.held_out_kl()
        self.run.metrics(self.step, row)
        self.run.progress(self.step, self.steps, "training")

    def _rows_of_step(self) -> Tensor:
        """This step's sequences: each epoch reads all of them once, in an order of its own."""
        per_epoch = self.steps // self.config.epochs
        epoch, place = divmod(self.step, per_epoch)
        generator = torch.Generator().manual_seed(self.config.seed * 10_007 + epoch)
        order = torch.randperm(self.config.sequences, generator=generator)
        return order[place * self.config.batch_size : (place + 1) * self.config.batch_size]

    def _kl(self, lessons: Lessons, *, rows: Tensor) -> Tensor:
        """KL(teacher || student) at each place, (B, T - 1)."""
        ids = lessons.ids[rows].to(self.model.device).long()  # (B, T)
        hidden = self.model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
        logits = self.model.get_output_embeddings()(hidden[:, :-1])  # (B, T - 1, V)
        expected = at(lessons.expected, rows).to(self.model.device)
        return teacher_student_kl(teacher=expected, student_logits=logits)

    @torch.no_grad()
    def held_out_kl(self) -> float:
        """Mean divergence per token on sequences that are never trained on."""
        rows = torch.arange(len(self.lessons["valid"].ids))
        with whole(self.model):
            parts = [
                self._kl(self.lessons["valid"], rows=part)
                for part in rows.split(self.config.batch_size)
            ]
        return float(torch.cat(parts).mean())

    def _end(self, state: str) -> Outcome:
        path = self._publish(milestone=True)
        measured = {
            row["step"]: row["held_out/kl"]
            for row in self.run.rows("metrics.jsonl")
            if "held_out/kl" in row
        }
        self.run.ranks.wait()  # every rank has read them
        if self.step not in measured:
            measured[self.step] = self.held_out_kl()
            self.run.metrics(self.step, {"held_out/kl": measured[self.step]})
        results = {
            "held_out_kl": measured[self.step],
            "held_out_kl_before": measured.get(0),
            "held_out_sequences": len(self.lessons["valid"].ids),
        }
        if self.run.ranks.is_main:
            draw_curve(
                self.run.rows("metrics.jsonl"),
                path=self.run.path / "plots" / "kl.svg",
                series={"distillation/kl": "training", "held_out/kl": "held out"},
                y_label="KL(teacher with prompt || student) per token, nats",
            )
        self.run.log(f"held-out KL {results['held_out_kl']:.4f}; weights in {path.name}")
        return Outcome(
            state="done" if state == "done" else "stopped", step=self.step, results=results
        )

    def _publish(self, *, milestone: bool) -> Path:
        named = self.master.tensors() | optimizer_tensors(self.optimizer, prefix="optimizer")
        tensors = gathered(named, ranks=self.run.ranks)
        return self.run.publish_checkpoint(
            step=self.step,
            write=lambda directory: self._write(weights_in(tensors), directory=directory),
            kind="language_model",
            parents=[self.run.input_hash(role) for role in PARENTS if self.run.has_input(role)],
            resume=ResumeState(step=self.step, tensors=tensors),
            milestone=milestone,
        )

    def _write(self, weights: dict[str, Tensor], *, directory: Path) -> None:
        write_weights(weights, directory=directory)
        write_model_files(
            directory=directory,
            config=self.student.config,
            tokenizer_directory=whole_weights(self.run.inputs("initial")),
            architecture=type(self.model).__name__,
        )
