"""What a distillation run needs of disk and memory, told from its configuration before the first question.

It does not know the corpus or the prompt.
"""

import shutil

import torch
from transformers import PreTrainedModel

from training.config import ContextDistillationConfig
from training.core.distillation_teacher import PARTIAL, SHARD, TEACHER_BATCH
from training.core.preflight import TooLittleRoom, require_memory_of
from training.core.run_directory import RunDirectory

ANSWERS = "sequences, sequence_tokens or top_tokens"
BATCH = "batch_size or sequence_tokens"
MODELS = "the size of the models: start from smaller ones"
COPIES = 3  # of a shard's answers: the batches, these joined, and every process's


def require_room(
    run: RunDirectory,
    *,
    config: ContextDistillationConfig,
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    device: torch.device,
) -> None:
    """Refuse what would end after the teacher was asked, which may take days."""
    vocabulary = int(teacher.get_output_embeddings().weight.shape[0])
    checkpoint, answers = 16 * student.num_parameters(), answer_bytes(config)
    run.require_space(checkpoint)
    is_asked = not (run.path / "teacher").exists()
    if is_asked:
        standing = sum(path.stat().st_size for path in (run.path / PARTIAL).glob("*.safetensors"))
        still = max(0, answers - standing)
        _require_space_for(still, run=run, checkpoints=(config.keep_checkpoints + 1) * checkpoint)
    own_teacher = 0 if teacher is student else teacher.num_parameters()
    shard = answers * SHARD // (config.sequences + config.held_out_sequences)
    asking = {
        ANSWERS: COPIES * min(shard, answers),
        MODELS: 4 * (student.num_parameters() + own_teacher),
    }
    training = {ANSWERS: answers}
    if device.type == "cpu":
        places = TEACHER_BATCH * config.sequence_tokens
        asking |= {BATCH: 8 * places * vocabulary}
        training |= training_bytes(config, student=student)
    for parts in (asking, training) if is_asked else (training,):
        require_memory_of(parts)


def answer_bytes(config: ContextDistillationConfig) -> int:
    """Of all sequences, and of a token and its log-probability for each that is kept, and the rest."""
    tokens = (config.sequences + config.held_out_sequences) * config.sequence_tokens
    return tokens * (4 + 8 * config.top_tokens + 4)


def training_bytes(
    config: ContextDistillationConfig, *, student: PreTrainedModel
) -> dict[str, int]:
    """A step's need without the answers: 20 bytes a weight, 30 numbers a token, hidden unit and layer, 4 a logit."""
    shape = student.config.get_text_config()
    units = 30 * shape.hidden_size * shape.num_hidden_layers + 4 * shape.vocab_size
    tokens = config.batch_size * config.sequence_tokens
    return {MODELS: 20 * student.num_parameters(), BATCH: 4 * units * tokens}


def _require_space_for(answers: int, *, run: RunDirectory, checkpoints: int) -> None:
    free = shutil.disk_usage(run.path).free
    if free < answers + checkpoints:
        raise TooLittleRoom(
            f"{free / 1e6:.0f} MB are free under {run.path}, the teacher's answers need "
            f"{answers / 1e6:.0f} MB and the checkpoints {checkpoints / 1e6:.0f} MB: lower {ANSWERS}"
        )
