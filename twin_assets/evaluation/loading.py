"""Whether a version can draft: its weights are those that were published, and load on its base model.

    python -m twin_assets.evaluation.loading        started by the asset `production_model` through Dagster Pipes

A process of its own: what the model takes of memory goes with it, and a model that kills it kills nothing else. Price:
some seconds for a small model, as long as its loading takes for a large one.
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
"""What is scored: any text does, only that its likelihood is a number matters."""
PROBE_PROMPT_TOKENS = 128
PROBE_CONTEXT_TOKENS = 256


def check_loads(stores: Stores, manifest: ModelManifest, tell: Tell) -> None:
    """Load a version as a draft does, and score a few tokens with it.

    Raises TwinError, saying what is wrong: files that are not there or not those published, a base model that is not to
    be had, an adapter that does not fit it, or logits that are no numbers.
    """
    stores.models.verified_folder(manifest, stores.settings.cache_dir)
    tell(f"loading {manifest.version} on {manifest.base.name}")
    try:
        nats = _probe(stores, manifest)
    except TwinError:
        raise
    except Exception as error:  # whatever transformers, peft and safetensors raise for files that do not fit
        raise TwinError(f"{manifest.id} does not load on {manifest.base.name}: {error}. {_way_out(error)}") from error
    if not math.isfinite(nats):
        raise TwinError(f"the logits of {manifest.id} are no numbers: train its recipe again")


def _way_out(error: Exception) -> str:
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return (
            "Nothing is said against the version: try again when nothing else uses the memory, or with TWIN_DEVICE=cpu"
        )
    return "Train its recipe again, or promote another version"


def _probe(stores: Stores, manifest: ModelManifest) -> float:
    """Negative log-likelihood of the probe, in nats."""
    request, answer = PROBE
    with open_backend(stores).open(manifest) as session:
        example = encode_example(session.tokenizer, request, answer, PROBE_PROMPT_TOKENS)
        scored = session.score(list(windows(example, PROBE_CONTEXT_TOKENS)))
        return math.fsum(scored) if scored is not None else 0.0


def main() -> None:
    """Read which version from Dagster Pipes, and load it."""
    with pipes_child() as pipes:
        stores = open_stores()
        manifest = stores.models.version(pipes.extras["author"], pipes.extras["version"])
        check_loads(stores, manifest, pipes.log.info)
        pipes.log.info(f"{manifest.version} loads")


if __name__ == "__main__":
    main()
