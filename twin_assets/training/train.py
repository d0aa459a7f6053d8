"""The training process: one recipe on one dataset version, with trl's SFTTrainer and peft's LoRA.

    python -m twin_assets.training.train        started by the asset `adapter` through Dagster Pipes

A process of its own, so that memory goes when it is done and a killed one takes nothing along. It works in a folder
beside the registry and goes on from its last checkpoint; `result.json`, written last, says that it finished. With a
budget in steps the same dataset gives the same weights on the same machine, killed on the way or not.
"""

import json
import math
import resource
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from twin_assets.child_process import pipes_child
from twin_assets.documents import BaseModelRef
from twin_assets.errors import NotEnoughWriting
from twin_assets.language.base_models import ResolvedBase, device_of, load_base, resolve_base
from twin_assets.language.generation import Generator
from twin_assets.language.prompts import Window, template_kind
from twin_assets.settings import Settings
from twin_assets.stores import open_stores
from twin_assets.stores.features import TableHandle
from twin_assets.training.examples import COLUMNS, Encoded, as_dataset, encode_rows
from twin_assets.training.recipe import Recipe
from twin_assets.training.result import ADAPTER, CHECKPOINTS, CURVE, TrainingResult

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments

    from twin_assets.training.trainer import VoiceTrainer

LINES = 100
"""Points of the loss curve, about."""

Tell = Callable[[str], None]


def train(
    recipe: Recipe, dataset: TableHandle, folder: Path, settings: Settings, lineage: dict[str, str], tell: Tell
) -> TrainingResult:
    """Train into `folder`, or find that it was done. lineage: what the tracking run should name.

    Raises BadRecipe for a base model that is not to be had, and NotEnoughWriting when nothing is left to train on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        if found := TrainingResult.read(folder):
            return found
        base = resolve_base(recipe.base, settings, tell)
        tell(f"loading {base.name} ({base.revision[:12]}, {base.precision})")
        device = device_of(settings.device)
        model, tokenizer = load_base(base, device)
        context = min(recipe.context_tokens, int(model.config.max_position_embeddings))
        with _tracking(settings, lineage, recipe) as tracking_run:
            trained = _fit(recipe, dataset, folder, model, tokenizer, context, device, bool(tracking_run), tell)
        result = _result(recipe, base, tokenizer, trained, device, tracking_run)
        result.write(folder)
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
        return result


def _fit(
    recipe: Recipe,
    dataset: TableHandle,
    folder: Path,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    context: int,
    device: str,
    tracked: bool,
    tell: Tell,
) -> "_Trained":
    """Encode, train from the last checkpoint if there is one, save adapter and curve."""
    from transformers import set_seed

    started = time.monotonic()
    encoded = encode_rows(dataset.rows(COLUMNS, "split = 'train'"), tokenizer, context, recipe.prompt_tokens)
    if not encoded.windows:
        raise NotEnoughWriting(
            f"no training example fits recipe {recipe.name} ({encoded.n_rows} rows, {encoded.n_too_long} too long): "
            "collect more writing, or use a recipe with more context_tokens"
        )
    tell(f"{encoded.n_rows} examples in {len(encoded.windows)} windows of at most {context} tokens")
    rows = dataset.rows(COLUMNS, "split = 'validation'")
    validation = encode_rows(rows, tokenizer, context, recipe.prompt_tokens).windows
    validation = validation[: recipe.training.validation_windows]
    before = _loss(Generator(model, tokenizer, context), validation)
    set_seed(recipe.training.seed)
    trainer = _trainer(recipe, model, tokenizer, encoded, folder, device, tracked, tell)
    checkpoint = last_checkpoint(folder / CHECKPOINTS)
    if checkpoint:
        tell(f"going on from {checkpoint.name}")
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    trainer.model.save_pretrained(folder / ADAPTER, save_embedding_layers=False)
    curve = [entry for entry in trainer.state.log_history if "loss" in entry]
    (folder / CURVE).write_text("".join(json.dumps(entry) + "\n" for entry in curve))
    after = _loss(Generator(trainer.model, tokenizer, context), validation)
    return _Trained(trainer, encoded, curve, before, after, time.monotonic() - started)


def _loss(generator: Generator, windows: Sequence[Window]) -> float | None:
    """Nats per learned token; None without windows."""
    n_tokens = sum(sum(window.mask) for window in windows)
    return round(generator.nll(windows) / n_tokens, 4) if n_tokens else None


@dataclass(frozen=True)
class _Trained:
    """What `_fit` hands over; before, after: validation loss, nats a token."""

    trainer: "VoiceTrainer"
    encoded: Encoded
    curve: list[dict[str, float]]
    before: float | None
    after: float | None
    seconds: float


def _trainer(
    recipe: Recipe,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    encoded: Encoded,
    folder: Path,
    device: str,
    tracked: bool,
    tell: Tell,
) -> "VoiceTrainer":
    from peft import LoraConfig
    from transformers import PrinterCallback

    from twin_assets.training.trainer import Budget, Progress, VoiceTrainer

    lora = recipe.lora
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
        task_type="CAUSAL_LM",
    )
    steps = planned_steps(recipe, len(encoded.windows))
    budget = Budget(recipe.training.max_minutes)
    trainer = VoiceTrainer(
        budget=budget,
        model=model,
        args=_arguments(recipe, steps, folder / CHECKPOINTS, device, tracked),
        train_dataset=as_dataset(encoded.windows),
        processing_class=tokenizer,
        peft_config=config,
        callbacks=[budget, Progress(tell)],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def planned_steps(recipe: Recipe, n_windows: int) -> int:
    """Optimizer steps: the recipe's epochs, at most its max_steps, at least one."""
    training = recipe.training
    per_epoch = math.ceil(n_windows / (training.batch_size * training.gradient_accumulation))
    return max(1, min(math.ceil(per_epoch * training.epochs), training.max_steps or 10**9))


def _arguments(recipe: Recipe, steps: int, checkpoints: Path, device: str, tracked: bool) -> "TrainingArguments":
    from trl import SFTConfig

    training, on_cpu = recipe.training, device == "cpu"
    return SFTConfig(
        output_dir=str(checkpoints),
        max_steps=steps,
        per_device_train_batch_size=training.batch_size,
        per_device_eval_batch_size=training.batch_size,
        gradient_accumulation_steps=training.gradient_accumulation,
        gradient_checkpointing=training.gradient_checkpointing,
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.scheduler,
        warmup_steps=math.ceil(training.warmup * steps),
        weight_decay=training.weight_decay,
        # The paged optimizer pages between GPU and CPU memory: there is nothing to page on a CPU.
        optim="adamw_torch" if on_cpu else training.optimizer,
        bf16=not on_cpu and recipe.base.precision in ("bf16", "nf4"),
        fp16=not on_cpu and recipe.base.precision == "fp16",
        use_cpu=on_cpu,
        dataloader_pin_memory=not on_cpu,
        # Windows of like length together: a post is a tenth of an article, and padding is paid for.
        train_sampling_strategy="group_by_length",
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        save_strategy="steps",
        save_steps=training.save_steps,
        save_total_limit=2,
        logging_steps=max(1, steps // LINES),
        report_to=["wandb"] if tracked else [],
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
    """A wandb run around the training, offline by default; yields its folder or URL, None when tracking is disabled."""
    if settings.tracking == "disabled":
        yield None
        return
    import wandb

    home = settings.data_dir / "wandb" / lineage["author"]
    home.mkdir(parents=True, exist_ok=True)
    run = wandb.init(
        project="twin_assets",
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


def _result(
    recipe: Recipe,
    base: ResolvedBase,
    tokenizer: "PreTrainedTokenizerBase",
    trained: _Trained,
    device: str,
    tracking_run: str | None,
) -> TrainingResult:
    trainer, encoded, losses = trained.trainer, trained.encoded, [entry["loss"] for entry in trained.curve]
    return TrainingResult(
        base=BaseModelRef(name=base.name, revision=base.revision, precision=base.precision),
        prompt_template=template_kind(tokenizer),
        steps=trainer.state.global_step,
        steps_planned=trainer.state.max_steps,
        n_rows=encoded.n_rows,
        n_windows=len(encoded.windows),
        n_too_long=encoded.n_too_long,
        dropped_passages=encoded.dropped_passages,
        trained_parameters=sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        loss_first=losses[0] if losses else math.nan,
        loss_last=losses[-1] if losses else math.nan,
        validation_before=trained.before,
        validation_after=trained.after,
        seconds=round(trained.seconds, 1),
        peak_memory_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        device=device,
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
