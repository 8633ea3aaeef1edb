"""Float32 master weights for a model that computes in bfloat16, and the optimizers over them.

It does not know the loss, the data or any file.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from training.config import ConfigError, LanguageModelConfig
from training.core.checkpointing import optimizer_tensors, restore_optimizer
from training.core.sharded_muon import ShardedMuon
from training.core.sharding import own_part

MASTER = "master."  # before a weight's name in a resume state


class MasterWeights:
    """The float32 parameters that optimizers change; the model holds a copy in its own precision.

    The model computes a row's gradient in its own precision; the rows of a step are summed in float32. For a float32
    model, one that lies in pieces, and weights that do not learn, the two are the same tensors and nothing is copied.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model_parameters = dict(model.named_parameters())
        is_copy = any(p.dtype != torch.float32 for p in self._model_parameters.values())
        self.parameters: dict[str, Tensor] = {
            name: nn.Parameter(p.detach().float().clone()) if is_copy and p.requires_grad else p
            for name, p in self._model_parameters.items()
        }
        for name, parameter in self._model_parameters.items():
            if self.parameters[name] is not parameter:
                parameter.grad_dtype = torch.float32  # many rows' gradients are summed in it

    @property
    def trained(self) -> int:
        """How many numbers learn."""
        return sum(each.numel() for each in self.parameters.values() if each.requires_grad)

    @property
    def frozen(self) -> int:
        """How many stay as they were."""
        return sum(each.numel() for each in self.parameters.values()) - self.trained

    @property
    def checkpoint_bytes(self) -> int:
        """Size of a checkpoint: every weight, and again with two moments what resumes the training."""
        return 4 * (self.trained + self.frozen) + 12 * self.trained

    def take_gradients(self) -> None:
        """Move the model's gradients here."""
        for name, parameter in self._model_parameters.items():
            master = self.parameters[name]
            if master is not parameter and parameter.grad is not None:
                master.grad, parameter.grad = parameter.grad, None

    def clip(self, *, max_norm: float) -> float:
        """Scale the gradients down to a norm; returns the norm before."""
        parameters = list(self.parameters.values())
        norm = nn.utils.clip_grad_norm_(parameters, max_norm, foreach=True)
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    @torch.no_grad()
    def give_back(self) -> None:
        """Copy the changed weights into the model and forget the gradients."""
        for name, parameter in self._model_parameters.items():
            master = self.parameters[name]
            if master is not parameter:
                parameter.copy_(master)
            master.grad = None

    def tensors(self) -> dict[str, Tensor]:
        """Float32 weights that learn, for a resume state; in pieces where they lie so."""
        return {
            f"{MASTER}{name}": p.detach() for name, p in self.parameters.items() if p.requires_grad
        }

    def frozen_tensors(self) -> dict[str, Tensor]:
        """Float32 weights that do not learn: published with the rest; a resumed run reads them from its start."""
        return {f"{MASTER}{name}": p for name, p in self.parameters.items() if not p.requires_grad}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take weights from a resume state and give them to the model; one may hold those that do not learn."""
        for name, parameter in self.parameters.items():
            if parameter.requires_grad:
                parameter.copy_(own_part(tensors[f"{MASTER}{name}"], like=parameter))
        self.give_back()


def weights_in(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The float32 weights of a resume state, by their names in the model."""
    return {
        name.removeprefix(MASTER): tensor
        for name, tensor in tensors.items()
        if name.startswith(MASTER)
    }


@dataclass(frozen=True)
class Optimizers:
    """One or two optimizers stepped together, each with its own peak learning rate."""

    members: tuple[tuple[torch.optim.Optimizer, float], ...]

    def step(self, *, fraction: float) -> None:
        """Take a step at a fraction of the peak learning rates."""
        for optimizer, peak in self.members:
            for group in optimizer.param_groups:
                group["lr"] = peak * fraction
            optimizer.step()

    def tensors(self) -> dict[str, Tensor]:
        """State of all members for a resume state."""
        named: dict[str, Tensor] = {}
        for index, (optimizer, _) in enumerate(self.members):
            named |= optimizer_tensors(optimizer, prefix=f"optimizer{index}")
        return named

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put the state of all members back."""
        for index, (optimizer, _) in enumerate(self.members):
            restore_optimizer(optimizer, tensors=tensors, prefix=f"optimizer{index}")


def make_optimizers(parameters: Mapping[str, Tensor], *, config: LanguageModelConfig) -> Optimizers:
    """AdamW for all, or Muon for the layers' matrices and AdamW for embeddings and norms.

    Decoupled weight decay (Loshchilov & Hutter 2019) on matrices only; Muon as in Jordan (2024).
    """
    matrices = [p for name, p in parameters.items() if p.ndim == 2 and ".layers." in name]
    others = [p for name, p in parameters.items() if p.ndim == 2 and ".layers." not in name]
    vectors = [p for p in parameters.values() if p.ndim != 2]
    betas = (config.beta1, config.beta2)
    if config.optimizer == "adamw":
        groups = [
            {"params": matrices + others, "weight_decay": config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        adamw = torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas, foreach=True)
        return Optimizers(members=((adamw, config.learning_rate),))
    if not matrices:
        raise ConfigError(
            "optimizer is muon, but this kind of model has no matrices under .layers.: set it to adamw"
        )
    is_cut = any(isinstance(each, DTensor) for each in matrices)
    muon = (ShardedMuon if is_cut else torch.optim.Muon)(
        matrices, lr=config.muon_learning_rate, weight_decay=config.weight_decay, momentum=0.95
    )
    adamw = torch.optim.AdamW(
        others + vectors, lr=config.learning_rate, betas=betas, weight_decay=0.0, foreach=True
    )
    return Optimizers(members=((muon, config.muon_learning_rate), (adamw, config.learning_rate)))
