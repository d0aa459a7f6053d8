"""trl's SFTTrainer with what a long run on someone's machine needs.

A step's windows come from `StepOrder` and go through the model in micro-batches of like length; the loss is the mean
over the step's learned tokens, however they were cut. Imports torch and trl: only the training process imports this
module.
"""

import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import TrainerControl
from trl import SFTTrainer

from twin_assets.errors import TwinError
from twin_assets.training.process.callbacks import Spent
from twin_assets.training.process.compute import answer_nll
from twin_assets.training.process.examples import IGNORED, Windows, as_dataset, micro_batches
from twin_assets.training.process.order import StepOrder, seed_of_step, share_of_rate
from twin_assets.training.result import peak_memory_mib

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

Batch = dict[str, Tensor]


def collated(windows: Sequence[Mapping[str, Any]], pad_token: int) -> Batch:
    """Windows as one padded batch. A window: `input_ids`, and how many of the last of them are `learned`.

    Without padding there is no `attention_mask`: attention is faster when it knows that it sees all.
    """
    longest = max(len(window["input_ids"]) for window in windows)
    ids = torch.full((len(windows), longest), pad_token)
    labels = torch.full((len(windows), longest), IGNORED)
    mask = torch.zeros((len(windows), longest), dtype=torch.long)
    for row, window in enumerate(windows):
        n, tokens = len(window["input_ids"]), torch.tensor(window["input_ids"])
        ids[row, :n], mask[row, :n] = tokens, 1
        labels[row, n - window["learned"] : n] = tokens[n - window["learned"] :]
    batch = {"input_ids": ids, "labels": labels}
    return batch if bool(mask.all()) else batch | {"attention_mask": mask}


def cut(windows: Sequence[Mapping[str, Any]], pad_token: int, max_tokens: int) -> list[Batch]:
    """Windows as padded batches of at most `max_tokens` tokens, windows of like length together."""
    groups = micro_batches([len(window["input_ids"]) for window in windows], max_tokens)
    return [collated([windows[i] for i in group], pad_token) for group in groups]


def n_learned(batches: Sequence[Batch]) -> int:
    """Tokens that the batches' labels name; a window's first token is predicted by nothing."""
    return sum(int((batch["labels"][:, 1:] != IGNORED).sum()) for batch in batches)


class VoiceTrainer(SFTTrainer):  # type: ignore[misc]
    """Learns from windows that are encoded already.

    order: which of them, step by step. scheduler, warmup: of the learning rate, over the budget that `Spent` measures.
    tokens_at_once: of one pass through the model. Where `has_plain_head` is set, the loss is `answer_nll`; else trl's.
    """

    control: TrainerControl

    def __init__(
        self,
        *,
        windows: Windows,
        validation: Windows,
        order: StepOrder,
        scheduler: str,
        warmup: float,
        tokens_at_once: int,
        **arguments: Any,
    ) -> None:
        self._order, self._validation = order, validation
        self._scheduler, self._warmup = scheduler, warmup
        self._tokens_at_once, self.has_plain_head = tokens_at_once, False
        self._logged = (0, 0.0)
        super().__init__(train_dataset=as_dataset(windows), **arguments)

    @property
    def spent(self) -> Spent:
        """Asked of the callbacks each time: a checkpoint that is loaded puts another in its place."""
        return next(one for one in self.callback_handler.callbacks if isinstance(one, Spent))

    def get_train_dataloader(self) -> DataLoader[list[Batch]]:
        """One item a step, from the first epoch's first to the last's last; the trainer sees a single long epoch."""
        return DataLoader(self.train_dataset, batch_sampler=self._order, collate_fn=self._cut)

    def _cut(self, windows: Sequence[Mapping[str, Any]]) -> dict[str, list[Batch]]:
        pad_token = self.processing_class.pad_token_id
        return {"micro_batches": cut(windows, pad_token, self._tokens_at_once)}

    def training_step(self, model: Any, inputs: dict[str, list[Batch]], num_items_in_batch: Any = None) -> Tensor:
        """Forward and backward over a step's micro-batches; the mean loss of its learned tokens.

        Raises TwinError when there is none, or when the loss is not a number.
        """
        batches, step = inputs["micro_batches"], self.state.global_step + 1
        torch.manual_seed(seed_of_step(self.args.seed, step))
        n_items = n_learned(batches)
        if not n_items:
            raise TwinError(f"step {step} has no token to learn: the dataset's answers are empty; make it again")
        total = torch.tensor(n_items, device=self.args.device)
        spent = self.spent
        spent.n_tokens += sum(batch["input_ids"].numel() for batch in batches)
        spent.n_learned += n_items
        losses = [super(VoiceTrainer, self).training_step(model, batch, total) for batch in batches]
        loss = torch.stack(losses).sum()
        self._check(float(loss), "loss", step)
        return loss

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Nats summed over a micro-batch's learned tokens, over the step's number of them."""
        if self.has_plain_head:
            return answer_nll(model.get_base_model(), inputs) / num_items_in_batch
        padded = {"attention_mask": torch.ones_like(inputs["input_ids"])} | inputs
        return super().compute_loss(model, padded, return_outputs, num_items_in_batch)

    def _clip_grad_norm(self, model: Any) -> Any:
        norm = super()._clip_grad_norm(model)
        # In fp16 the first norms are infinite until the loss scale is found; such steps are skipped.
        if norm is not None and not self.args.fp16:
            self._check(float(norm), "gradient", self.state.global_step + 1)
        return norm

    def _check(self, value: float, what: str, step: int) -> None:
        if not math.isfinite(value):
            raise TwinError(
                f"the {what} is {value} at step {step}: training stopped, nothing is kept of it; lower learning_rate "
                f"in the recipe (it is {self.args.learning_rate:g})"
            )

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Score the validation windows and log `eval_loss`, nats a learned token. Raises TwinError if it is no number.

        transformers' loop calls it where the recipe's `validation_steps` asks for it.
        """
        loss = self.validation_loss()
        metrics = {} if loss is None else {"eval_loss": loss}
        if loss is not None:
            self._check(loss, "validation loss", self.state.global_step)
            self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self._logged = (self.spent.n_tokens, time.monotonic())
        return metrics

    def validation_loss(self) -> float | None:
        """Nats per learned token of the validation windows; None when there are none."""
        windows = [{"input_ids": w.ids, "learned": sum(w.mask)} for w in self._validation]
        batches = cut(windows, self.processing_class.pad_token_id, self._tokens_at_once)
        total, n_items = 0.0, n_learned(batches)
        was_training = self.model.training
        self.model.eval()
        one = torch.ones((), device=self.args.device)
        with torch.no_grad(), self.compute_loss_context_manager():
            for batch in batches:
                total += float(self.compute_loss(self.model, self._prepare_inputs(batch), num_items_in_batch=one))
        self._metrics["eval"].clear()
        self.model.train(was_training)
        return round(total / n_items, 4) if n_items else None

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add speed and memory to a line of the training; the epoch is the data's, not the loader's."""
        self.state.epoch = self.state.global_step / self._order.steps_per_epoch
        if "loss" in logs:
            spent, now = self.spent, time.monotonic()
            n_before, before = self._logged
            self._logged = (spent.n_tokens, now)
            if before:
                logs["tokens_per_second"] = round((spent.n_tokens - n_before) / (now - before), 1)
            logs["learned_tokens"] = spent.n_learned
            logs["peak_memory_mib"] = peak_memory_mib(self.args.device.type)
        super().log(logs, start_time)

    def create_scheduler(self, num_training_steps: int, optimizer: "Optimizer | None" = None) -> "LRScheduler":
        """The recipe's schedule, over whichever budget is further used: steps, or minutes.

        Else a training that time ends would stop at full learning rate, or while still warming up.
        """

        def factor(step: int) -> float:
            progress = max(step / num_training_steps, self.spent.share)
            ahead = progress / step if step else 1 / num_training_steps
            return share_of_rate(self._scheduler, self._warmup, min(1.0, progress), ahead)

        self.lr_scheduler = LambdaLR(optimizer or self.optimizer, factor)
        self._created_lr_scheduler = True
        return self.lr_scheduler

    def floating_point_ops(self, inputs: Any) -> int:
        """Not estimated: tokens a second are measured instead."""
        return 0

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """None: the registry's manifest says what a model card would."""
