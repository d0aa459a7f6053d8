"""Two authors with embeddings, cleaned documents and recipes on a tiny base; and a real server to ask."""

import random
import shutil
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import uvicorn

from twin_assets import schemas
from twin_assets.documents import AuthorProfile, BaseModelRef, Consent, DatasetRef, ModelManifest, RecipeChoice
from twin_assets.language.embedding import Embedder, load_embedder
from twin_assets.language.prompts import PROMPT_VERSION
from twin_assets.operations.collector import Collector
from twin_assets.settings import Settings
from twin_assets.stores import Stores
from twin_assets.stores.features import Changes
from twin_assets.stores.models import sha256_of_files

RECIPE = "tiny-test"
ANSWER_TOKENS = 24

WRITING = {
    "gauge": ("post", "I check the tide gauge by hand before I believe it. The float sticks when the salt dries."),
    "bread": ("post", "My sourdough needs a night in the cold before it is baked. Ninety minutes is not enough."),
    "fog": ("post", "Fog on the harbour again: the lamp was lit at three and nobody saw the breakwater."),
    "ledger": (
        "article",
        "The ledger has a column for doubt. A reading that I do not trust is written, and marked.",
    ),
    "secret": ("post", "The gauge house key is under the third stone. This note about the gauge is for me alone."),
    "median": ("code", "def despike(levels_mm):\n    return median_filter(levels_mm, width=5)"),
}
"""name: (category, text); `secret` may not be quoted."""


def open_world(data_dir: Path, base: Path, **settings: Any) -> Stores:
    """Stores with ada and ben, both subscribed to a recipe on `base`; ada has written WRITING."""
    recipes = data_dir / "recipes"
    recipes.mkdir(parents=True)
    recipe = f"base: {{name: {base}, precision: fp32}}\ncontext_tokens: 1000\nanswer_tokens: {ANSWER_TOKENS}\n"
    (recipes / f"{RECIPE}.yaml").write_text(recipe)
    usual = {"data_dir": data_dir, "recipes_dir": recipes, "request_interval_s": 0, "allow_private_addresses": True}
    stores = Stores(Settings(_env_file=None, **usual | settings))
    for author, name in (("ada", "Ada Example"), ("ben", "Ben Other")):
        stores.warehouse.profiles.add(
            AuthorProfile(id=author, name=name, consent=Consent(who=name), recipes=[RecipeChoice(name=RECIPE)])
        )
    write(stores, "ada", WRITING)
    return stores


def write(stores: Stores, author: str, writing: dict[str, tuple[str, str]]) -> None:
    """Clean and embed pieces of writing, as the feature assets would."""
    embedder = load_embedder(stores.settings)
    cleaned = [_cleaned(author, n, name, *piece) for n, (name, piece) in enumerate(writing.items())]
    stores.features.commit(author, "cleaned_documents", Changes(schemas.from_dicts(cleaned, schemas.CLEANED_DOCUMENTS)))
    rows = _embedded(cleaned, embedder)
    stores.features.commit(
        author,
        "embeddings",
        Changes(
            schemas.from_dicts(rows, schemas.embeddings(embedder.dimension)),
            about={"embedding_model": embedder.identity, "dimension": embedder.dimension},
        ),
    )


def _cleaned(author: str, n: int, name: str, category: str, text: str) -> dict[str, Any]:
    return {
        "document_id": f"{author}:files:{name}", "platform": "files", "category": category, "title": f"On {name}",
        "url": f"https://example.org/{name}", "language": None if category == "code" else "en",
        "published_at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=n), "cluster_id": f"{n:08x}",
        "trainable": True, "quotable": name != "secret", "source_id": "files", "visibility": "public", "text": text,
        "n_words": len(text.split()), "text_hash": "t", "signature": b"s", "input_hash": text, "made_by": "m",
    }  # fmt: skip


def _embedded(cleaned: Sequence[dict[str, Any]], embedder: Embedder) -> list[dict[str, Any]]:
    vectors = embedder.encode([row["text"] for row in cleaned])
    names = set(schemas.CHUNKS.names)
    return [
        {name: value for name, value in row.items() if name in names}
        | {"chunk_id": f"{row['document_id']}#0000", "position": 0, "heading_path": "", "start": 0,
           "end": len(row["text"]), "n_tokens": 9, "vector": vector}
        for row, vector in zip(cleaned, vectors, strict=True)
    ]  # fmt: skip


def never_ending(base: Path) -> None:
    """Teach a model of random weights never to end, so that a draft is exactly as long as it may be."""
    _push_the_end(base, -5.0)


def mute(base: Path) -> None:
    """Teach a model of random weights to end before its first word."""
    _push_the_end(base, 5.0)


def _push_the_end(base: Path, weight: float) -> None:
    """The first dimension of every token but the end pushes with or against the end's: its logit is about ±12."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        weights = model.get_input_embeddings().weight
        weights[:, 0] = 0.1
        weights[model.config.eos_token_id, 0] = weight
    model.save_pretrained(base)


def make_adapter(base: Path, folder: Path, seed: int) -> Path:
    """A LoRA adapter with random weights; on queries only, which leaves what `never_ending` did in force."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    lora = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj"], init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), lora).save_pretrained(folder)
    return folder


@dataclass(frozen=True)
class Parts:
    """What versions are made of."""

    base: Path
    adapter: Path

    def publish(self, stores: Stores, author: str, version: str, **more: Any) -> ModelManifest:
        """A new version in the registry; more: fields of its manifest."""
        folder = Path(str(stores.models.folder(author, RECIPE, version)))
        shutil.copytree(self.adapter, folder / "adapter")
        manifest = ModelManifest.model_validate(
            {
                "author": author,
                "version": version,
                "recipe_name": RECIPE,
                "recipe": {"context_tokens": 1000, "answer_tokens": ANSWER_TOKENS},
                "recipe_hash": version,
                "base": BaseModelRef(name=str(self.base), revision=sha256_of_files(self.base)),
                "path": str(folder),
                "weights_sha256": version,
                "dataset": DatasetRef(table="instruction_dataset-00001", version="00001", data_version="d"),
                "prompt_version": PROMPT_VERSION,
                "prompt_template": "ours",
                "code_version": "1",
            }
            | more
        )
        stores.models.publish(manifest)
        return manifest


def collector(stores: Stores) -> Collector:
    """What the app collects by, on a Dagster instance beside the stores."""
    folder = stores.settings.data_dir / "dagster"

    @contextmanager
    def instance() -> Iterator[dg.DagsterInstance]:
        folder.mkdir(parents=True, exist_ok=True)
        with dg.DagsterInstance.local_temp(str(folder)) as opened:
            yield opened

    return Collector(stores, instance)


@contextmanager
def running(app: Any) -> Iterator[str]:
    """The application on a free loopback port, by uvicorn; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        # The socket listens already: the first request waits until the application has started.
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def words(n: int, seed: int = 0) -> str:
    """n words of nothing in particular."""
    return " ".join(random.Random(seed).choices(["rope", "tide", "salt", "lamp", "bell", "clock"], k=n))
