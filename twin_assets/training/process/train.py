"""The training process: one recipe on one dataset version, with trl's SFTTrainer and peft's LoRA.

    python -m twin_assets.training.process.train        started by the asset `adapter` through Dagster Pipes

A process of its own, so that memory goes when it is done and a killed one takes nothing along. It works in a folder
beside the registry and goes on from its last checkpoint; `result.json`, written last, says that it finished. With a
budget in steps the same dataset gives the same weights on the same machine, cut off anywhere or not.
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
from twin_assets.language.prompts import room, template_kind
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
    TrainingResult,
    peak_memory_mib,
    weights_sound,
)

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments

    from twin_assets.training.process.trainer import VoiceTrainer

LINES = 100
"""Points of the loss curve, about."""

CPU_TOKENS_AT_ONCE = 512
"""Tokens of one pass through the model on a CPU; more takes memory and no less time."""


@dataclass(frozen=True)
class Job:
    """One training: what, on what, where to, and whom to tell."""

    recipe: Recipe
    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    folder: Path
    device: str
    is_tracked: bool
    tell: Tell

    @property
    def checkpoints(self) -> Path:
        """Where the trainer keeps them."""
        return self.folder / CHECKPOINTS


@dataclass(frozen=True)
class _Trained:
    """What `_fit` hands over. curve: lines with `loss`, and lines with the validation windows' `eval_loss`."""

    trainer: "VoiceTrainer"
    train: Encoded
    curve: list[dict[str, float]]
    seconds: float


def train(
    recipe: Recipe, dataset: TableHandle, folder: Path, settings: Settings, lineage: dict[str, str], tell: Tell
) -> TrainingResult:
    """Train into `folder`, or find that it was done. lineage: what the tracking run should name.

    Raises BadRecipe for a base model that cannot be had or has no room for the recipe's answers, NotEnoughWriting when
    nothing is left to train on, and TwinError when the loss stops being a number; the next try then begins anew.
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
            job = Job(recipe, model, tokenizer, folder, device, bool(tracking_run), tell)
            trained = _fit(job, dataset)
        result = _result(job, base, trained, tracking_run)
        result.write(folder)
        shutil.rmtree(job.checkpoints, ignore_errors=True)
        return result


def _fit(job: Job, dataset: TableHandle) -> _Trained:
    """Encode, train from the last checkpoint if there is one, save adapter and curve."""
    started, recipe = time.monotonic(), job.recipe
    context, prompt = room(recipe.context_tokens, recipe.answer_tokens, context_limit(job.model))
    rows = dataset.rows(COLUMNS, "split = 'train'")
    encoded = encode_rows(rows, job.tokenizer, context, prompt, limits=recipe.passages)
    if not encoded.windows.n_learned:
        raise NotEnoughWriting(
            f"no training example fits recipe {recipe.name} ({encoded.n_rows} rows, {encoded.n_too_long} too long): "
            "collect more writing, or use a recipe with more context_tokens"
        )
    job.tell(f"{encoded.n_rows} examples in {len(encoded.windows)} windows of at most {context} tokens")
    n = recipe.training.validation_windows
    validation = encode_rows(validation_rows(dataset, n), job.tokenizer, context, prompt, n, recipe.passages)
    checkpoint = last_checkpoint(job.checkpoints)
    trainer = make_trainer(job, encoded, validation, context, is_new=checkpoint is None)
    if checkpoint:
        job.tell(f"going on from {checkpoint.name}")
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        curve = _curve(trainer)
        trainer.model.save_pretrained(job.folder / ADAPTER, save_embedding_layers=False)
        _require_sound(job)
    except TwinError:
        # Its checkpoints may hold what it ended with: going on from them would end the same way.
        shutil.rmtree(job.checkpoints, ignore_errors=True)
        raise
    (job.folder / CURVE).write_text("".join(json.dumps(entry) + "\n" for entry in curve))
    before = trainer.spent.seconds_before
    return _Trained(trainer, encoded, curve, before + time.monotonic() - started)


def _curve(trainer: "VoiceTrainer") -> list[dict[str, float]]:
    """The lines of training and validation losses; the weights as they are now are scored if they were not yet."""
    scored = [entry["step"] for entry in trainer.state.log_history if "eval_loss" in entry]
    if trainer.state.global_step not in scored:
        trainer.evaluate()
    return [entry for entry in trainer.state.log_history if "loss" in entry or "eval_loss" in entry]


def _require_sound(job: Job) -> None:
    """Raise TwinError unless the saved weights are numbers, and moved."""
    is_sound, found = weights_sound(job.folder / ADAPTER)
    if not is_sound:
        raise TwinError(
            f"the trained adapter is not usable ({found}): lower learning_rate in recipe {job.recipe.name} (it is "
            f"{job.recipe.training.learning_rate:g}), or give it a longer budget"
        )


def make_trainer(job: Job, encoded: Encoded, validation: Encoded, context: int, is_new: bool) -> "VoiceTrainer":
    """The trainer, with the ways of computing that fit the device. is_new: there is no checkpoint to go on from."""
    from transformers import PrinterCallback

    from twin_assets.training.process.callbacks import Progress, Spent, Validate
    from twin_assets.training.process.compute import computes_in_bf16, fuse_lora, head_is_plain
    from twin_assets.training.process.trainer import VoiceTrainer

    training, on_cpu = job.recipe.training, job.device == "cpu"
    if on_cpu and job.recipe.base.precision == "fp32" and computes_in_bf16(training.compute, job.model):
        job.model.bfloat16()
    batch = training.batch_size * training.gradient_accumulation
    steps = planned_steps(job.recipe, len(encoded.windows))
    callbacks = [Spent(training.max_minutes), Progress(job.tell, training.max_minutes)]
    if training.validation_steps:
        callbacks.append(Validate(training.validation_steps))
    trainer = VoiceTrainer(
        windows=encoded.windows,
        validation=validation.windows,
        order=StepOrder(len(encoded.windows), batch, steps, training.seed),
        scheduler=training.scheduler,
        warmup=training.warmup,
        tokens_at_once=training.tokens_at_once or (CPU_TOKENS_AT_ONCE if on_cpu else training.batch_size * context),
        model=job.model,
        args=_arguments(job, steps, evaluates_first=is_new and len(validation.windows) > 0),
        processing_class=job.tokenizer,
        peft_config=_lora(job.recipe, job.model),
        callbacks=callbacks,
    )
    if on_cpu:
        # Asked now, when the base model is frozen.
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


def _arguments(job: Job, steps: int, evaluates_first: bool) -> "TrainingArguments":
    from trl import SFTConfig

    training, on_cpu = job.recipe.training, job.device == "cpu"
    return SFTConfig(
        output_dir=str(job.checkpoints),
        max_steps=steps,
        # One batch of the loader is all of a step; VoiceTrainer cuts it.
        per_device_train_batch_size=training.batch_size * training.gradient_accumulation,
        gradient_accumulation_steps=1,
        gradient_checkpointing=training.gradient_checkpointing,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        # The paged optimizer pages between GPU and CPU memory: there is nothing to page on a CPU.
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
        logging_steps=max(1, steps // LINES),
        logging_first_step=True,
        logging_nan_inf_filter=False,
        report_to=["wandb"] if job.is_tracked else [],
        disable_tqdm=True,
        seed=training.seed,
        data_seed=training.seed,
    )


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint: the trainer writes trainer_state.json last; one without it was cut off."""
    whole: list[tuple[int, Path]] = []
    for path in folder.glob("checkpoint-*"):
        try:
            json.loads((path / "trainer_state.json").read_text())
            whole.append((int(path.name.rsplit("-", 1)[1]), path))
        except (OSError, ValueError):
            shutil.rmtree(path, ignore_errors=True)
    return max(whole)[1] if whole else None


@contextmanager
def _tracking(settings: Settings, lineage: dict[str, str], recipe: Recipe) -> Iterator[str | None]:
    """A wandb run around the training, offline by default; yields its folder or URL, None when tracking is disabled.

    Its id is of the author and version, so that a training that goes on after a kill goes on in the same run.
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


def _result(job: Job, base: ResolvedBase, trained: _Trained, tracking_run: str | None) -> TrainingResult:
    trainer, encoded = trained.trainer, trained.train
    losses = [entry["loss"] for entry in trained.curve if "loss" in entry]
    scores = [entry["eval_loss"] for entry in trained.curve if "eval_loss" in entry]
    return TrainingResult(
        base=BaseModelRef(name=base.name, revision=base.revision, precision=base.precision),
        prompt_template=template_kind(job.tokenizer),
        steps=trainer.state.global_step,
        steps_planned=trainer.state.max_steps,
        n_rows=encoded.n_rows,
        n_windows=len(encoded.windows),
        n_too_long=encoded.n_too_long,
        dropped_passages=encoded.dropped_passages,
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
    """Read the request that Dagster Pipes carries, train, and say so in the run's log."""
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
