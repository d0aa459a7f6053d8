"""trl's SFTTrainer, extended for long trainings on a user's own machine.

`StepOrder` chooses a step's windows, which go through the model in micro-batches of similar length. The loss is the
mean over all learned tokens of the step, however the micro-batches were cut. This module imports torch and trl, so only
the training process imports it.
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
    """Put windows into one padded batch. A window: `input_ids`, and how many of them at the end are `learned`.

    A batch without padding gets no `attention_mask`, because attention without a mask is faster.
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


def padded_batches(windows: Sequence[Mapping[str, Any]], pad_token: int, max_tokens: int) -> list[Batch]:
    """Put windows into padded batches of at most `max_tokens` tokens, each of windows of similar length."""
    groups = micro_batches([len(window["input_ids"]) for window in windows], max_tokens)
    return [collated([windows[i] for i in group], pad_token) for group in groups]


def n_learned(batches: Sequence[Batch]) -> int:
    """How many tokens the batches learn. A window's first token is not counted, because nothing predicts it."""
    return sum(int((batch["labels"][:, 1:] != IGNORED).sum()) for batch in batches)


class AdapterTrainer(SFTTrainer):  # type: ignore[misc]
    """Trains on windows that are already encoded.

    order: the windows of each step. schedule: the learning rate's scheduler and its warm-up share of the budget, which
    `Spent` measures. tokens_at_once: the most tokens in one pass through the model. The loss is `answer_nll` where
    `has_plain_head` is set, and trl's otherwise.
    """

    control: TrainerControl

    def __init__(
        self,
        *,
        windows: Windows,
        validation: Windows,
        order: StepOrder,
        schedule: tuple[str, float],
        tokens_at_once: int,
        **arguments: Any,
    ) -> None:
        self._order, self._validation = order, validation
        self._schedule = schedule
        self._tokens_at_once, self.has_plain_head = tokens_at_once, False
        self._logged = (0, 0.0)
        super().__init__(train_dataset=as_dataset(windows), **arguments)

    @property
    def spent(self) -> Spent:
        """The current `Spent` callback; loading a checkpoint replaces it, so it is looked up every time."""
        return next(one for one in self.callback_handler.callbacks if isinstance(one, Spent))

    def get_train_dataloader(self) -> DataLoader[list[Batch]]:
        """A loader with one item for each step of all epochs; the trainer sees a single long epoch."""
        return DataLoader(self.train_dataset, batch_sampler=self._order, collate_fn=self._cut)

    def _cut(self, windows: Sequence[Mapping[str, Any]]) -> dict[str, list[Batch]]:
        pad_token = self.processing_class.pad_token_id
        return {"micro_batches": padded_batches(windows, pad_token, self._tokens_at_once)}

    def training_step(self, model: Any, inputs: dict[str, list[Batch]], num_items_in_batch: Any = None) -> Tensor:
        """Run a step's micro-batches forward and backward, and return the mean loss of the learned tokens.

        Raises TwinError if the step has no learned token, or if the loss is not a number.
        """
        batches, step = inputs["micro_batches"], self.state.global_step + 1
        torch.manual_seed(seed_of_step(self.args.seed, step))
        n_items = n_learned(batches)
        if not n_items:
            raise TwinError(
                f"step {step} has no token to learn, because the dataset's answers are empty: materialize "
                "instruction_dataset again"
            )
        total = torch.tensor(n_items, device=self.args.device)
        spent = self.spent
        spent.n_tokens += sum(batch["input_ids"].numel() for batch in batches)
        spent.n_learned += n_items
        losses = [super(AdapterTrainer, self).training_step(model, batch, total) for batch in batches]
        loss = torch.stack(losses).sum()
        self._check(float(loss), "loss", step)
        return loss

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The nats of a micro-batch's learned tokens, divided by the number of learned tokens in the whole step."""
        if self.has_plain_head:
            return answer_nll(model.get_base_model(), inputs) / num_items_in_batch
        padded = {"attention_mask": torch.ones_like(inputs["input_ids"])} | inputs
        return super().compute_loss(model, padded, return_outputs, num_items_in_batch)

    def _clip_grad_norm(self, model: Any) -> Any:
        norm = super()._clip_grad_norm(model)
        # In fp16 the first norms are infinite until the loss scale is found, and those steps are skipped.
        if norm is not None and not self.args.fp16:
            self._check(float(norm), "gradient", self.state.global_step + 1)
        return norm

    def _check(self, value: float, what: str, step: int) -> None:
        if not math.isfinite(value):
            raise TwinError(
                f"the {what} is {value} at step {step}: training stopped and nothing was kept; lower learning_rate "
                f"in the recipe (it is {self.args.learning_rate:g})"
            )

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Score the validation windows and log `eval_loss`. Raises TwinError if it is not a number.

        transformers' training loop calls this as often as the recipe's `validation_steps` says.
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
        """The nats per learned token of the validation windows; None if there are none."""
        windows = [{"input_ids": w.ids, "learned": sum(w.mask)} for w in self._validation]
        batches = padded_batches(windows, self.processing_class.pad_token_id, self._tokens_at_once)
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
        """Add speed and memory to a training log entry, and count the data's epochs instead of the loader's."""
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
        """The recipe's schedule over its budget in steps or in minutes, whichever has been used up further.

        Otherwise a training that ends by time would stop at the full learning rate, or still warming up.
        """

        def factor(step: int) -> float:
            progress = max(step / num_training_steps, self.spent.share)
            ahead = progress / step if step else 1 / num_training_steps
            return share_of_rate(*self._schedule, min(1.0, progress), ahead)

        self.lr_scheduler = LambdaLR(optimizer or self.optimizer, factor)
        self._created_lr_scheduler = True
        return self.lr_scheduler

    def floating_point_ops(self, inputs: Any) -> int:
        """Always 0: tokens per second are measured instead."""
        return 0

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write no model card, because the registry's manifest holds the same information."""
