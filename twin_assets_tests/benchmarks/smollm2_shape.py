"""The demo on a model of SmolLM2-135M's shape with random weights, fetched from a hub on loopback.

    python -m twin_assets_tests.benchmarks.smollm2_shape WORK_FOLDER

It shows that loading from the hub works and how long the demo takes: the time depends on the shape, not on what the
weights know. The shape:
https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct/blob/main/config.json. The tokenizer is
a BPE of the same size over documentation of installed packages; it cuts prose into more tokens than the real one would.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from twin_assets.language.docstring_base import DocstringSpec, make_tokenizer, read_docstrings
from twin_assets_tests.hub import serving

ROOT = Path(__file__).resolve().parents[2]
NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_model(folder: Path) -> int:
    """Write the model and its tokenizer; returns the number of parameters."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    documented = [one.text for one in read_docstrings(30_000_000)]
    tokenizer = make_tokenizer(documented, DocstringSpec(vocabulary=49_152, context_tokens=8_192))
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49_152,
        hidden_size=576,
        intermediate_size=1_536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8_192,
        rope_theta=100_000,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    return int(model.num_parameters())


def main() -> None:
    """Make the model, serve it, run the demo, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    work = parser.parse_args().work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    model = work / "model"
    parameters = make_model(model)
    shutil.copy(ROOT / "dagster.yaml", work)
    with serving({NAME: model}) as hub:
        environment = os.environ | {"DAGSTER_HOME": str(work), "HF_ENDPOINT": hub.url, "HF_HOME": str(work / "hf")}
        command = [sys.executable, "-m", "twin_assets.cli", "demo", "--recipe", "smollm2-135m", "--no-serve"]
        started = time.monotonic()
        result = subprocess.run(command, env=environment, cwd=work, stdout=subprocess.PIPE, text=True)
        seconds = time.monotonic() - started
        again = time.monotonic()
        second = subprocess.run(command, env=environment, cwd=work, stdout=subprocess.PIPE, text=True)
        seconds_again = time.monotonic() - again
    sys.stderr.write(result.stdout)
    print(
        json.dumps(
            {
                "parameters": parameters,
                "exit": [result.returncode, second.returncode],
                "seconds": round(seconds),
                "seconds_again": round(seconds_again),
                "requests_to_the_hub": len(hub.asked),
                "peak_memory_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
