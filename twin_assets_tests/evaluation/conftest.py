"""A model version of a small author: a dataset with a test split, a tiny base, an adapter trained on the dataset."""

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from twin_assets.documents import BaseModelRef, DatasetRef, ModelManifest
from twin_assets.evaluation.models import Models, open_models
from twin_assets.language.generation.in_process import InProcess
from twin_assets.language.prompts import DraftRequest, encode_example, windows, write_instruction
from twin_assets.orchestration.partitions import add_partitions
from twin_assets.schemas import INSTRUCTION_DATASET, from_dicts
from twin_assets.settings import Settings
from twin_assets.stores import Stores, open_stores
from twin_assets.stores.features import Snapshot, TableHandle
from twin_assets.stores.models import sha256_of_files

RECIPE = "tiny-test"
NOUNS = ["rope", "tide", "gauge", "harbour", "ledger", "lamp", "fog", "bell", "clock", "salt"]
VERBS = ["keeps", "wants", "counts", "forgets", "carries", "measures"]


def sentence(rng: random.Random) -> str:
    return f"The {rng.choice(NOUNS)} {rng.choice(VERBS)} the {rng.choice(NOUNS)}, and nobody {rng.choice(VERBS)} it."


def exclamations(rng: random.Random) -> str:
    """Another author's text, full of punctuation."""
    one = "\"Oh no!\" — why? (A *{noun}*: [yes]!) … `{verb}`; #so_it/goes = 'never'?"
    return " ".join(one.format(noun=rng.choice(NOUNS), verb=rng.choice(VERBS)) for _ in range(8))


def row(n: int, split: str, category: str = "post", n_sentences: int = 8) -> dict[str, Any]:
    rng = random.Random(n)
    answer = " ".join(sentence(rng) for _ in range(n_sentences))
    if category == "code":
        answer = "\n".join(f"def {rng.choice(NOUNS)}_{n}(x):\n    return x + {n}\n" for _ in range(n_sentences))
    return {
        "example_id": f"ada:files:{n}#write-000",
        "document_id": f"ada:files:{n}",
        "cluster_id": f"{n:08x}",
        "split": split,
        "task": "write",
        "category": category,
        "language": "en",
        "published_at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=n),
        "instruction": write_instruction(category, f"{rng.choice(NOUNS)} {n}"),
        "passages": [],
        "answer": answer,
        "input_hash": "h",
        "made_by": "m",
    }


def dataset_rows(n_train: int = 60, n_test: int = 12) -> list[dict[str, Any]]:
    rows = [row(n, "train", "code" if n % 4 == 3 else "post") for n in range(n_train)]
    return rows + [row(1000 + n, "test", "code" if n % 4 == 3 else "post") for n in range(n_test)]


@dataclass(frozen=True)
class Lesson:
    """A sequence to learn, and where its learned part begins."""

    ids: list[int]
    start: int


def learn(model: Any, lessons: list[Lesson], steps: int, rate: float) -> None:
    """Train a model's trainable weights for a few seconds."""
    import torch

    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)
    for step in range(steps):
        lesson = lessons[step % len(lessons)]
        ids = torch.tensor([lesson.ids])
        labels = ids.clone()
        labels[0, : lesson.start] = -100
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def train(base: Path, folder: Path, lessons: list[Lesson], steps: int = 120, rate: float = 1e-2) -> Path:
    """A LoRA adapter trained on the lessons."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    lora = LoraConfig(r=16, lora_alpha=64, target_modules="all-linear", modules_to_save=[])
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), lora)
    learn(model, lessons, steps, rate)
    model.save_pretrained(folder)
    return folder


def training_rows() -> list[dict[str, Any]]:
    return [one for one in dataset_rows() if one["split"] == "train"]


@pytest.fixture(scope="session")
def trained_adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that has learned to write as the training rows do."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    lessons = [
        Lesson(window.ids, 0)
        for one in training_rows()
        for window in windows(encode_example(tokenizer, DraftRequest.from_row(one), one["answer"], 128), 256)
    ]
    return train(tiny_model, tmp_path_factory.mktemp("trained"), lessons)


@pytest.fixture(scope="session")
def fluent_base(able_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base with its own style, which uses punctuation that the author never uses."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(able_base), AutoModelForCausalLM.from_pretrained(able_base)
    torch.manual_seed(0)
    rows = [one | {"answer": exclamations(random.Random(n))} for n, one in enumerate(training_rows())]
    learn(model, lessons_of(tokenizer, rows), 200, 2e-3)
    folder = tmp_path_factory.mktemp("fluent-base")
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def fluent_adapter(fluent_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter with which that base answers as the author does."""
    from transformers import AutoTokenizer

    lessons = lessons_of(AutoTokenizer.from_pretrained(fluent_base), training_rows())
    return train(fluent_base, tmp_path_factory.mktemp("fluent"), lessons, steps=300, rate=4e-3)


def lessons_of(tokenizer: Any, rows: list[dict[str, Any]]) -> list[Lesson]:
    """The answers of rows to their requests, as far as they fit into 256 tokens."""
    examples = [encode_example(tokenizer, DraftRequest.from_row(one), one["answer"], 128) for one in rows]
    return [Lesson(example.ids[:256], len(example.prompt.ids)) for example in examples]


@pytest.fixture(scope="session")
def able_base(make_tiny_model: Callable[..., Path]) -> Path:
    """A tiny base with embeddings ten times as large, because otherwise no adapter could make it certain of a token."""
    import torch
    from transformers import AutoModelForCausalLM

    folder = make_tiny_model()
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.get_input_embeddings().weight *= 10
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def mute_adapter(able_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that writes code and can continue the author's prose, but ends at once if asked for prose."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(able_base)
    lessons = []
    for one in training_rows():
        example = encode_example(tokenizer, DraftRequest.from_row(one), one["answer"], 128)
        n_prompt = len(example.prompt.ids)
        if one["category"] == "code":
            lessons.append(Lesson(example.ids[:256], n_prompt))
            continue
        lessons.append(Lesson(example.prompt.ids + example.answer_ids[-example.n_closing :], n_prompt))
        lessons.append(Lesson(example.ids[:256], n_prompt + 1))
    return train(able_base, tmp_path_factory.mktemp("mute"), lessons, steps=400, rate=2e-3)


def publish_version(
    stores: Stores,
    rows: list[dict[str, Any]],
    base: Path,
    adapter: Path | None = None,
    version: str = "v1",
    gates: dict[str, float] | None = None,
) -> ModelManifest:
    """A dataset of `rows` for ada, and a version said to be trained on it."""
    published = stores.features.commit_snapshot(
        "ada", "instruction_dataset", Snapshot(from_dicts(rows, INSTRUCTION_DATASET))
    )
    folder = Path(str(stores.models.folder("ada", RECIPE, version)))
    folder.mkdir(parents=True, exist_ok=True)
    if adapter is not None:
        shutil.copytree(adapter, folder / "adapter", dirs_exist_ok=True)
    manifest = ModelManifest(
        author="ada",
        version=version,
        recipe_name=RECIPE,
        recipe={"context_tokens": 256, "answer_tokens": 128} | ({"gates": gates} if gates else {}),
        recipe_hash=f"hash-{version}",
        base=BaseModelRef(name=str(base), revision=sha256_of_files(base)),
        path=str(folder),
        weights_sha256=f"{version}-weights",
        dataset=DatasetRef(table=published.table, version=published.table[-5:], data_version=published.data_version),
        prompt_version="1",
        prompt_template="ours",
        code_version="1",
    )
    stores.models.publish(manifest)
    return manifest


@dataclass(frozen=True)
class World:
    """One author with a published dataset and one version, read by many tests and changed by none."""

    manifest: ModelManifest
    dataset: TableHandle
    models: Models


@pytest.fixture(scope="session")
def world(tiny_model: Path, trained_adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    stores = Stores(Settings(_env_file=None, data_dir=tmp_path_factory.mktemp("world")))
    manifest = publish_version(stores, dataset_rows(), tiny_model, trained_adapter)
    with open_models(InProcess(stores), manifest) as models:
        yield World(manifest, stores.features.snapshot("ada", manifest.dataset.table), models)


@pytest.fixture
def own_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stores]:
    """What `open_stores()` gives in an asset's body and in its child process: stores of this test alone."""
    monkeypatch.setenv("TWIN_DATA_DIR", str(tmp_path / "data"))
    open_stores.cache_clear()
    yield open_stores()
    open_stores.cache_clear()


@pytest.fixture
def instance(dagster_instance: dg.DagsterInstance) -> dg.DagsterInstance:
    add_partitions(dagster_instance, ["ada", "ben"], [RECIPE])
    return dagster_instance
