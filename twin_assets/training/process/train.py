"""The training process: one recipe on one dataset version, with trl's SFTTrainer and peft's LoRA.

    python -m twin_assets.training.process.train        started by the asset `adapter` through Dagster Pipes

It is a separate process, so that its memory is freed when it ends, and nothing else ends with it if it is killed. It
works in a folder beside the registry and continues from its last checkpoint; `result.json`, written last, marks the
training as finished. With a budget in steps, the same dataset gives the same weights on the same machine, whether or
not the training was interrupted.
"""

import json
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from twin_assets.documents import BaseModelRef, digest
from twin_assets.errors import NotEnoughWriting, TwinError
from twin_assets.language.base_models import ResolvedBase, context_limit, device_of, load_base, resolve_base
from twin_assets.language.prompts import template_kind, token_limits
from twin_assets.orchestration.progress import Tell
from twin_assets.orchestration.subprocesses import pipes_child
from twin_assets.settings import Settings
from twin_assets.stores import open_stores
from twin_assets.stores.features import TableHandle
from twin_assets.training.process.examples import COLUMNS, Encoded, encode_rows, validation_rows
from twin_assets.training.process.order import StepOrder
from twin_assets.training.recipe import Recipe
from twin_assets.training.result import (
    ADAPTER,
    CHECKPOINTS,
    CURVE,
    CURVE_POINTS,
    TrainingResult,
    peak_memory_mib,
    weights_sound,
)

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments

    from twin_assets.training.process.trainer import AdapterTrainer

CPU_TOKENS_AT_ONCE = 512
"""Tokens in one pass through the model on a CPU. More would take more memory and save no time."""


@dataclass(frozen=True)
class TrainingJob:
    """One training: the recipe, its loaded base model, and where and how to train. folder: where the result goes."""

    recipe: Recipe
    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    folder: Path
    device: str
    is_tracked: bool
    tell: Tell

    @property
    def checkpoints(self) -> Path:
        """The folder that the trainer saves its checkpoints in."""
        return self.folder / CHECKPOINTS

    @property
    def token_limits(self) -> tuple[int, int]:
        """(context tokens, prompt tokens) of an example. Raises BadRecipe if the base's context is too short."""
        return token_limits(self.recipe.context_tokens, self.recipe.answer_tokens, context_limit(self.model))


@dataclass(frozen=True)
class _Trained:
    """What `_fit` returns. curve: entries with `loss`, and entries with the validation windows' `eval_loss`."""

    trainer: "AdapterTrainer"
    examples: Encoded
    curve: list[dict[str, float]]
    seconds: float


def train(
    recipe: Recipe, dataset: TableHandle, folder: Path, settings: Settings, lineage: dict[str, str], tell: Tell
) -> TrainingResult:
    """Train into `folder`, or return the result that is already there. lineage: names for the tracking run.

    Raises BadRecipe if the base model cannot be found or its context is too short for the recipe's answers,
    NotEnoughWriting if there is nothing to train on, and TwinError if the loss stops being a number; the next attempt
    then starts from the beginning.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        if found := TrainingResult.read(folder):
            return found
        base = resolve_base(recipe.base, settings, tell)
        tell(f"loading {base.name} ({base.revision[:12]}, {base.precision})")
        device = device_of(settings.device)
        model, tokenizer = load_base(base, device)
        with _tracking(settings, lineage, recipe) as tracking_run:
            job = TrainingJob(recipe, model, tokenizer, folder, device, bool(tracking_run), tell)
            trained = _fit(job, dataset)
        result = _result(job, base, trained, tracking_run)
        result.write(folder)
        shutil.rmtree(job.checkpoints, ignore_errors=True)
        return result


def _fit(job: TrainingJob, dataset: TableHandle) -> _Trained:
    """Encode the dataset, train, from the last checkpoint if there is one, and save the adapter and the loss curve."""
    started, recipe = time.monotonic(), job.recipe
    context, prompt = job.token_limits
    rows = dataset.rows(COLUMNS, "split = 'train'")
    examples = encode_rows(rows, job.tokenizer, context, prompt, limits=recipe.context)
    if not examples.windows.n_learned:
        raise NotEnoughWriting(
            f"no training example fits recipe {recipe.name} ({examples.n_rows} rows, {examples.n_too_long} too long): "
            "collect more writing, or use a recipe with more context_tokens"
        )
    job.tell(f"{examples.n_rows} examples in {len(examples.windows)} windows of at most {context} tokens")
    n = recipe.training.validation_windows
    validation = encode_rows(validation_rows(dataset, n), job.tokenizer, context, prompt, n, recipe.context)
    checkpoint = last_checkpoint(job.checkpoints)
    trainer = make_trainer(job, examples, validation, is_new=checkpoint is None)
    if checkpoint:
        job.tell(f"continuing from {checkpoint.name}")
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        curve = _curve(trainer)
        trainer.model.save_pretrained(job.folder / ADAPTER, save_embedding_layers=False)
        _require_sound(job)
    except TwinError:
        # The checkpoints may already hold the fault: continuing from them would fail in the same way.
        shutil.rmtree(job.checkpoints, ignore_errors=True)
        raise
    (job.folder / CURVE).write_text("".join(json.dumps(entry) + "\n" for entry in curve))
    before = trainer.spent.seconds_before
    return _Trained(trainer, examples, curve, before + time.monotonic() - started)


def _curve(trainer: "AdapterTrainer") -> list[dict[str, float]]:
    """The training and validation losses by step; the final weights are scored first if they were not scored yet."""
    scored = [entry["step"] for entry in trainer.state.log_history if "eval_loss" in entry]
    if trainer.state.global_step not in scored:
        trainer.evaluate()
    return [entry for entry in trainer.state.log_history if "loss" in entry or "eval_loss" in entry]


def _require_sound(job: TrainingJob) -> None:
    """Raise TwinError unless every saved weight is finite and each layer has changed."""
    is_sound, found = weights_sound(job.folder / ADAPTER)
    if not is_sound:
        raise TwinError(
            f"the trained adapter is not usable ({found}): lower learning_rate in recipe {job.recipe.name} (it is "
            f"{job.recipe.training.learning_rate:g}), or give it a longer budget"
        )


def make_trainer(job: TrainingJob, examples: Encoded, validation: Encoded, is_new: bool) -> "AdapterTrainer":
    """The trainer of a job, set up for the job's device. is_new: there is no checkpoint to continue from."""
    from transformers import PrinterCallback

    from twin_assets.training.process.callbacks import Progress, Spent, Validate
    from twin_assets.training.process.compute import computes_in_bf16, fuse_lora, head_is_plain
    from twin_assets.training.process.trainer import AdapterTrainer

    training, on_cpu, (context, _) = job.recipe.training, job.device == "cpu", job.token_limits
    if on_cpu and job.recipe.base.precision == "fp32" and computes_in_bf16(training.compute, job.model):
        job.model.bfloat16()
    batch = training.batch_size * training.gradient_accumulation
    steps = planned_steps(job.recipe, len(examples.windows))
    callbacks = [Spent(training.max_minutes), Progress(job.tell, training.max_minutes)]
    if training.validation_steps:
        callbacks.append(Validate(training.validation_steps))
    trainer = AdapterTrainer(
        windows=examples.windows,
        validation=validation.windows,
        order=StepOrder(len(examples.windows), batch, steps, training.seed),
        schedule=(training.scheduler, training.warmup),
        tokens_at_once=training.tokens_at_once or (CPU_TOKENS_AT_ONCE if on_cpu else training.batch_size * context),
        model=job.model,
        args=_arguments(job, steps, evaluates_first=is_new and len(validation.windows) > 0),
        processing_class=job.tokenizer,
        peft_config=_lora(job.recipe, job.model),
        callbacks=callbacks,
    )
    if on_cpu:
        # Only now is the base model frozen.
        trainer.has_plain_head = head_is_plain(job.model)
        fuse_lora(trainer.model)
    trainer.remove_callback(PrinterCallback)
    return trainer


def _lora(recipe: Recipe, model: "PreTrainedModel") -> "LoraConfig":
    from peft import LoraConfig

    lora, n_layers = recipe.lora, int(model.config.get_text_config().num_hidden_layers)
    below = range(n_layers - math.ceil(lora.upper_layers * n_layers))
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
        # A layer's number is the first part of a module's name that is all digits.
        exclude_modules=rf"(?:[^.\d][^.]*\.)*(?:{'|'.join(map(str, below))})\..*" if below else None,
        task_type="CAUSAL_LM",
    )


def planned_steps(recipe: Recipe, n_windows: int) -> int:
    """Optimizer steps: the recipe's epochs, at most its max_steps, at least one."""
    training = recipe.training
    per_epoch = math.ceil(n_windows / (training.batch_size * training.gradient_accumulation))
    return max(1, min(math.ceil(per_epoch * training.epochs), training.max_steps or 10**9))


def _arguments(job: TrainingJob, steps: int, evaluates_first: bool) -> "TrainingArguments":
    from trl import SFTConfig

    training, on_cpu = job.recipe.training, job.device == "cpu"
    return SFTConfig(
        output_dir=str(job.checkpoints),
        max_steps=steps,
        # One batch of the loader is a whole step; AdapterTrainer splits it.
        per_device_train_batch_size=training.batch_size * training.gradient_accumulation,
        gradient_accumulation_steps=1,
        gradient_checkpointing=training.gradient_checkpointing,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        # The paged optimizer moves pages between GPU and CPU memory, which a CPU has no use for.
        optim="adamw_torch" if on_cpu else training.optimizer,
        bf16=not on_cpu and job.recipe.base.precision in ("bf16", "nf4"),
        fp16=not on_cpu and job.recipe.base.precision == "fp16",
        use_cpu=on_cpu,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        max_length=None,
        eval_on_start=evaluates_first,
        save_strategy="steps",
        save_steps=training.save_steps,
        save_total_limit=2,
        restore_callback_states_from_checkpoint=True,
        logging_steps=max(1, steps // CURVE_POINTS),
        logging_first_step=True,
        logging_nan_inf_filter=False,
        report_to=["wandb"] if job.is_tracked else [],
        disable_tqdm=True,
        seed=training.seed,
        data_seed=training.seed,
    )


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint. The trainer writes trainer_state.json last, so one without it is incomplete."""
    complete: list[tuple[int, Path]] = []
    for path in folder.glob("checkpoint-*"):
        try:
            json.loads((path / "trainer_state.json").read_text())
            complete.append((int(path.name.rsplit("-", 1)[1]), path))
        except (OSError, ValueError):
            shutil.rmtree(path, ignore_errors=True)
    return max(complete)[1] if complete else None


@contextmanager
def _tracking(settings: Settings, lineage: dict[str, str], recipe: Recipe) -> Iterator[str | None]:
    """A wandb run around the training, offline by default; yields its folder or URL, None when tracking is disabled.

    Its id is made from author and version, so that a training that continues after a kill continues in the same run.
    """
    if settings.tracking == "disabled":
        yield None
        return
    import wandb

    home = settings.data_dir / "wandb" / lineage["author"]
    home.mkdir(parents=True, exist_ok=True)
    run = wandb.init(
        project="twin_assets",
        id=digest([lineage["author"], lineage["version"]], 16),
        resume="allow",
        name=lineage["version"],
        group=lineage["author"],
        dir=str(home),
        mode=settings.tracking,
        config={"recipe": recipe.model_dump(mode="json"), "lineage": lineage},
        settings=wandb.Settings(console="off", silent=True, disable_git=True, save_code=False),
    )
    failed = True
    try:
        yield run.url if settings.tracking == "online" else str(Path(run.dir).parent)
        failed = False
    finally:
        run.finish(exit_code=int(failed))


def _result(job: TrainingJob, base: ResolvedBase, trained: _Trained, tracking_run: str | None) -> TrainingResult:
    trainer, examples = trained.trainer, trained.examples
    losses = [entry["loss"] for entry in trained.curve if "loss" in entry]
    scores = [entry["eval_loss"] for entry in trained.curve if "eval_loss" in entry]
    return TrainingResult(
        base=BaseModelRef(name=base.name, revision=base.revision, precision=base.precision),
        prompt_template=template_kind(job.tokenizer),
        steps=trainer.state.global_step,
        steps_planned=trainer.state.max_steps,
        n_rows=examples.n_rows,
        n_windows=len(examples.windows),
        n_too_long=examples.n_too_long,
        dropped_passages=examples.dropped_passages,
        trained_parameters=sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        loss_first=losses[0],
        loss_last=losses[-1],
        validation_before=scores[0] if scores else None,
        validation_after=scores[-1] if scores else None,
        n_learned=trainer.spent.n_learned,
        seconds=round(trained.seconds, 1),
        peak_memory_mib=peak_memory_mib(job.device),
        device=job.device,
        tracking_run=tracking_run,
    )


def main() -> None:
    """Read the request from Dagster Pipes, train, and report progress in the run's log."""
    with pipes_child() as pipes:
        request: dict[str, Any] = dict(pipes.extras)
        stores = open_stores()
        train(
            Recipe.model_validate(request["recipe"]),
            stores.features.snapshot(request["lineage"]["author"], request["lineage"]["dataset"]),
            Path(request["folder"]),
            stores.settings,
            request["lineage"],
            pipes.log.info,
        )


if __name__ == "__main__":
    main()
