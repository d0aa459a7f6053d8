"""Compares the trainer on a CPU with trl's SFTTrainer: tokens per second, memory, and loss after the same text.

    python -m twin_assets_tests.benchmarks.training_speed WORK --base FOLDER_OF_SMOLLM2 [--windows 32] [--rounds 2]

Each trainer takes turns to train one epoch over the same windows of a real author, in batches of four. `old` is trl's
SFTTrainer as used at commit 87fe84d (fp32, padded batches of windows of similar length, peft's own LoRA), `new` is the
current trainer, and each `--variant NAME key=value …` is the current one with other recipe settings. Each run is a
separate process. Tokens are counted without padding. Seconds are wall-clock time and the process's CPU time, which
other work on the machine disturbs less.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from twin_assets.settings import Settings
from twin_assets.stores import Stores
from twin_assets.training.process.examples import COLUMNS, Encoded, Windows, encode_rows, validation_rows
from twin_assets.training.recipe import Recipe
from twin_assets.training.result import peak_memory_mib
from twin_assets_tests.benchmarks.project import AUTHOR, ROOT, Project, write_folder

CONTEXT, ANSWER = 1_024, 448
VALIDATION_WINDOWS = 16


def recipe(base: str, n_windows: int, settings: dict[str, Any]) -> Recipe:
    """The recipe smollm2-135m for one epoch. settings: further keys of `training`, or `lora.…`."""
    lora = {key.removeprefix("lora."): value for key, value in settings.items() if key.startswith("lora.")}
    training = {key: value for key, value in settings.items() if not key.startswith("lora.")}
    steps = -(-n_windows // 4)
    fixed = {"learning_rate": 0.0005, "epochs": 1, "max_steps": steps, "validation_windows": VALIDATION_WINDOWS}
    return Recipe.model_validate(
        {
            "name": "speed",
            "description": "",
            "base": {"name": base},
            "context_tokens": CONTEXT,
            "answer_tokens": ANSWER,
            "lora": lora,
            "training": fixed | training,
        }
    )


def build(work: Path, author: Path, n_documents: int) -> None:
    """Make the author's dataset, unless it exists."""
    project = Project(work / "project")
    if not Stores(Settings(_env_file=None, data_dir=project.data)).features.table(AUTHOR, "instruction_dataset").exists:
        write_folder(author, work / "writing", n_documents)
        project.add_author(work / "writing")
        project.twin("run", AUTHOR, "--until", "instruction_dataset")


def encoded(work: Path, tokenizer: Any, n_windows: int) -> tuple[Encoded, Encoded]:
    """Training and validation windows of rows taken at equal distances, so that all tasks are among them."""
    settings = Settings(_env_file=None, data_dir=(work / "project/data").resolve())
    table = Stores(settings).features.table(AUTHOR, "instruction_dataset")
    rows = sorted(table.rows(COLUMNS, "split = 'train'"), key=lambda row: row["example_id"])
    chosen = rows[:: max(1, len(rows) // n_windows)]
    limits = (CONTEXT, CONTEXT - ANSWER)
    train = encode_rows(chosen, tokenizer, *limits)
    train = Encoded(train.windows[:n_windows], train.n_rows, train.n_too_long, train.dropped_passages)
    validation = validation_rows(table, VALIDATION_WINDOWS)
    return train, encode_rows(validation, tokenizer, *limits, max_windows=VALIDATION_WINDOWS)


def old_trainer(job: Any, windows: Windows, checkpoints: str) -> Any:
    """SFTTrainer as it was used at commit 87fe84d."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    training, lora = job.recipe.training, job.recipe.lora
    masked = [[t if m else -100 for t, m in zip(w.ids, w.mask, strict=True)] for w in windows]
    return SFTTrainer(
        model=job.model,
        args=SFTConfig(
            output_dir=checkpoints,
            max_steps=training.max_steps,
            per_device_train_batch_size=training.batch_size,
            gradient_checkpointing=False,
            learning_rate=training.learning_rate,
            lr_scheduler_type=training.scheduler,
            warmup_steps=-(-training.max_steps // 20),
            use_cpu=True,
            bf16=False,
            dataloader_pin_memory=False,
            train_sampling_strategy="group_by_length",
            dataset_kwargs={"skip_prepare_dataset": True},
            max_length=None,
            save_strategy="no",
            logging_steps=1,
            report_to=[],
            disable_tqdm=True,
            seed=training.seed,
            data_seed=training.seed,
        ),
        train_dataset=Dataset.from_dict({"input_ids": [w.ids for w in windows], "labels": masked}),
        processing_class=job.tokenizer,
        peft_config=LoraConfig(
            r=lora.r, lora_alpha=lora.alpha, target_modules=lora.target_modules, task_type="CAUSAL_LM"
        ),
    )


def held_out_nll(model: Any, windows: Windows) -> float:
    """Nats per learned token by transformers' own loss in fp32, whichever trainer made the model."""
    import torch

    model.float().eval()
    total = 0.0
    for window in windows:
        labels = torch.tensor([[t if m else -100 for t, m in zip(window.ids, window.mask, strict=True)]])
        with torch.no_grad():
            loss = model(input_ids=torch.tensor([window.ids]), labels=labels).loss
        total += float(loss) * sum(window.mask)
    return total / windows.n_learned


def one(work: Path, base: str, n_windows: int, is_old: bool, settings: dict[str, Any]) -> dict[str, float]:
    """Train once in this process."""
    from twin_assets.language.base_models import load_base, resolve_base
    from twin_assets.training.process.train import TrainingJob, make_trainer

    given = recipe(base, n_windows, settings | {"save_steps": 100_000})
    model, tokenizer = load_base(resolve_base(given.base, Settings(_env_file=None, data_dir=work / "data")), "cpu")
    train, validation = encoded(work, tokenizer, n_windows)
    job = TrainingJob(given, model, tokenizer, work / "out", "cpu", False, lambda _: None)
    if is_old:
        trainer = old_trainer(job, train.windows, str(work / "out"))
    else:
        nothing = Encoded(Windows.of([]), 0, 0, 0)
        trainer = make_trainer(job, train, nothing, is_new=True)
    started, cpu_started = time.perf_counter(), time.process_time()
    trainer.train()
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    tokens, learned = len(train.windows.tokens), train.windows.n_learned
    return {
        "tokens_per_s": round(tokens / seconds, 1),
        "learned_tokens_per_s": round(learned / seconds, 1),
        "learned_tokens_per_cpu_s": round(learned / cpu_seconds, 1),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "peak_memory_mib": peak_memory_mib("cpu"),
        "learned_tokens": learned,
        "held_out_nats_per_token": round(held_out_nll(trainer.model, validation.windows), 4),
    }


def main() -> None:
    """Print a JSON line for each run, and in each round the ratios to `old`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--base", required=True)
    parser.add_argument("--author", type=Path, default=ROOT.parent / "shared/data/authors/skeeto")
    parser.add_argument("--documents", type=int, default=120)
    parser.add_argument("--windows", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--variant", nargs="+", action="append", default=[], metavar="NAME key=value")
    parser.add_argument("--one", help="only this: old, or the new one's settings as JSON")
    asked = parser.parse_args()
    if asked.one:
        is_old = asked.one == "old"
        settings = {} if is_old else json.loads(asked.one)
        print(json.dumps(one(asked.work, asked.base, asked.windows, is_old, settings)))
        return
    build(asked.work, asked.author, asked.documents)
    runs = {"old": "old", "new": "{}"}
    for name, *pairs in asked.variant:
        runs[name] = json.dumps({key: yaml.safe_load(value) for key, value in (pair.split("=") for pair in pairs)})
    module = "twin_assets_tests.benchmarks.training_speed"
    fixed = [sys.executable, "-m", module, str(asked.work), "--base", asked.base, "--windows", str(asked.windows)]
    for number in range(asked.rounds):
        found = {}
        for name, how in runs.items():
            ran = subprocess.run([*fixed, "--one", how], check=True, stdout=subprocess.PIPE)
            found[name] = json.loads(ran.stdout.splitlines()[-1])  # transformers prints above it
            print(json.dumps({"round": number, "run": name} | found[name]), flush=True)
        for name in list(runs)[1:]:
            ratios = {
                f"{what}_over_old": round(found[name][what] / found["old"][what], 2)
                for what in ("learned_tokens_per_s", "learned_tokens_per_cpu_s", "peak_memory_mib")
            }
            print(json.dumps({"round": number, "run": name} | ratios), flush=True)


if __name__ == "__main__":
    main()
