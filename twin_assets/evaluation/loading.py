"""Checks that a version can draft: its weights are those that were published, and they load on its base model.

    python -m twin_assets.evaluation.loading        started by the asset `production_model` through Dagster Pipes

It is a separate process, so that the model's memory is freed at the end, and a model that crashes it crashes nothing
else. It takes as long as loading the model: a few seconds for a small one.
"""

import math

from twin_assets.documents import ModelManifest
from twin_assets.errors import TwinError
from twin_assets.language.generation import open_backend
from twin_assets.language.prompts import DraftRequest, encode_example, windows
from twin_assets.orchestration.progress import Tell
from twin_assets.orchestration.subprocesses import pipes_child
from twin_assets.stores import Stores, open_stores

PROBE = (DraftRequest("Write a post: a test."), "This is a test.")
"""A request and an answer to score. Any text will do, because only the likelihood has to be a finite number."""

PROBE_PROMPT_TOKENS = 128
PROBE_CONTEXT_TOKENS = 256


def check_loads(stores: Stores, manifest: ModelManifest, tell: Tell) -> None:
    """Load a version as drafting does, and score a few tokens with it.

    Raises TwinError if files are missing or differ from those published, if the base model cannot be found, if the
    adapter does not fit it, or if the logits are not finite.
    """
    stores.models.verified_folder(manifest, stores.settings.cache_dir)
    tell(f"loading {manifest.version} on {manifest.base.name}")
    try:
        nats = _probe(stores, manifest)
    except TwinError:
        raise
    except Exception as error:  # transformers, peft and safetensors raise many kinds for files that do not fit
        raise TwinError(f"{manifest.id} does not load on {manifest.base.name}: {error}. {_advice(error)}") from error
    if not math.isfinite(nats):
        raise TwinError(f"the logits of {manifest.id} are not finite numbers: train its recipe again")


def _advice(error: Exception) -> str:
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return "The version may still be good: try again when more memory is free, or with TWIN_DEVICE=cpu"
    return "Train its recipe again, or promote another version"


def _probe(stores: Stores, manifest: ModelManifest) -> float:
    """The negative log-likelihood of the probe's answer, in nats."""
    request, answer = PROBE
    with open_backend(stores).open(manifest) as session:
        example = encode_example(session.tokenizer, request, answer, PROBE_PROMPT_TOKENS)
        scored = session.score(list(windows(example, PROBE_CONTEXT_TOKENS)))
        return math.fsum(scored) if scored is not None else 0.0


def main() -> None:
    """Read from Dagster Pipes which version to check, and load it."""
    with pipes_child() as pipes:
        stores = open_stores()
        manifest = stores.models.version(pipes.extras["author"], pipes.extras["version"])
        check_loads(stores, manifest, pipes.log.info)
        pipes.log.info(f"{manifest.version} loads")


if __name__ == "__main__":
    main()
