"""One base model, several adapters on it: drafts, streams and scores."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin_assets.documents import BaseModelRef, DatasetRef, ModelManifest
from twin_assets.errors import BadInput, BadRecipe, NotThere
from twin_assets.language import generation
from twin_assets.language.base_models import BaseSpec
from twin_assets.language.generation import Generator, Generators, Sampling
from twin_assets.language.prompts import (
    DraftRequest,
    EncodedPrompt,
    Window,
    encode_example,
    encode_prompt,
    windows,
)
from twin_assets.stores import Stores
from twin_assets.stores.models import sha256_of_files

SAMPLED = Sampling(max_new_tokens=24, temperature=1.0, seed=5)
GREEDY = Sampling(max_new_tokens=24, temperature=0, repetition_penalty=1.0)


def load(folder: Path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def adapters(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two LoRA adapters with random weights, each different."""
    import torch
    from peft import LoraConfig, get_peft_model

    folders = {}
    for seed, name in enumerate(["ada@qwen3-0.6b-1", "ben@qwen3-0.6b-1"]):
        torch.manual_seed(seed)
        lora = LoraConfig(
            r=4, lora_alpha=256, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False
        )
        folders[name] = tmp_path_factory.mktemp("adapter")
        get_peft_model(load(tiny_model)[0], lora).save_pretrained(folders[name])
    return folders


@pytest.fixture
def generator(tiny_model: Path) -> Generator:
    model, tokenizer = load(tiny_model)
    return Generator(model, tokenizer, context_tokens=512)


@pytest.fixture
def prompt(generator: Generator) -> EncodedPrompt:
    return encode_prompt(generator.tokenizer, DraftRequest("Write a post: rope"), 256)


@pytest.fixture
def text_windows(generator: Generator) -> list[Window]:
    example = encode_example(generator.tokenizer, DraftRequest("Write a post: rope"), "A rope keeps. " * 40, 256)
    return list(windows(example, 128, score_closing=False))


def test_a_greedy_draft_is_what_transformers_generates(generator: Generator, prompt: EncodedPrompt):
    import torch

    ids = torch.tensor([prompt.ids])
    with torch.inference_mode():
        expected = generator._model.generate(ids, max_new_tokens=24, do_sample=False)[0, ids.shape[1] :]
    assert generator.generate(prompt, GREEDY) == generator.tokenizer.decode(expected, skip_special_tokens=True).strip()


def test_a_seed_gives_the_same_draft_and_another_seed_another(generator: Generator, prompt: EncodedPrompt):
    first = generator.generate(prompt, SAMPLED)
    assert first == generator.generate(prompt, SAMPLED)
    assert first != generator.generate(prompt, Sampling(max_new_tokens=24, temperature=1.0, seed=6))


def test_the_stream_is_the_draft_in_pieces(generator: Generator, prompt: EncodedPrompt):
    pieces = list(generator.stream(prompt, SAMPLED))
    assert len(pieces) > 5
    assert "".join(pieces).strip() == generator.generate(prompt, SAMPLED)


def test_each_adapter_drafts_its_own_way_and_the_base_stays_itself(
    generator: Generator, prompt: EncodedPrompt, adapters: dict[str, Path]
):
    base = generator.generate(prompt, SAMPLED)
    for name, folder in adapters.items():
        generator.add_adapter(name, folder)
    drafts = {name: generator.generate(prompt, SAMPLED, name) for name in adapters}
    assert len({base, *drafts.values()}) == 3
    assert generator.generate(prompt, SAMPLED) == base


def test_drafts_with_different_adapters_at_once_do_not_mix(
    generator: Generator, prompt: EncodedPrompt, adapters: dict[str, Path]
):
    for name, folder in adapters.items():
        generator.add_adapter(name, folder)
    wanted = [None, *adapters, None, *adapters]
    alone = [generator.generate(prompt, SAMPLED, name) for name in wanted]
    with ThreadPoolExecutor(len(wanted)) as pool:
        together = list(pool.map(lambda name: generator.generate(prompt, SAMPLED, name), wanted))
    assert together == alone


def test_an_adapter_scores_as_peft_alone_does(
    generator: Generator, tiny_model: Path, text_windows: list[Window], adapters: dict[str, Path]
):
    from peft import PeftModel

    (name, folder), (other, other_folder) = adapters.items()
    generator.add_adapter(name, folder)
    generator.add_adapter(other, other_folder)
    alone = Generator(PeftModel.from_pretrained(load(tiny_model)[0], folder), generator.tokenizer, 512)
    assert generator.nll(text_windows, name) == pytest.approx(alone.nll(text_windows), rel=1e-5)
    assert generator.nll(text_windows, other) != pytest.approx(alone.nll(text_windows), rel=1e-3)


def test_nll_is_the_sum_over_masked_tokens_whatever_the_batch(
    generator: Generator, text_windows: list[Window], monkeypatch: pytest.MonkeyPatch
):
    import torch

    expected = 0.0
    for window in text_windows:
        with torch.inference_mode():
            logits = generator._model(torch.tensor([window.ids])).logits[0].log_softmax(-1)
        expected -= sum(float(logits[n - 1, window.ids[n]]) for n, scored in enumerate(window.mask) if scored)
    assert len(text_windows) > 2
    assert generator.nll(text_windows) == pytest.approx(expected, rel=1e-5)
    monkeypatch.setattr(generation, "SCORED_TOKENS", 1)
    assert generator.nll(text_windows) == pytest.approx(expected, rel=1e-5)


def test_closing_the_stream_or_setting_the_event_ends_the_work(
    generator: Generator, prompt: EncodedPrompt, adapters: dict[str, Path]
):
    name, folder = next(iter(adapters.items()))
    generator.add_adapter(name, folder)
    stream = generator.stream(prompt, SAMPLED, name)
    next(stream)
    assert generator._in_use[name] == 1
    stream.close()
    assert generator._in_use[name] == 0
    stop = threading.Event()
    pieces = []
    for piece in generator.stream(prompt, Sampling(max_new_tokens=200, temperature=1.0, seed=1), stop_event=stop):
        pieces.append(piece)
        stop.set()
    assert len(pieces) == 1


def test_special_tokens_end_the_draft_and_never_show(tiny_model: Path, prompt: EncodedPrompt):
    model, tokenizer = load(tiny_model)
    generator = Generator(model, tokenizer, 512)
    generator._tokens = lambda *_: iter([*tokenizer("rope", add_special_tokens=False)["input_ids"], 0, 2, 40, 41])
    assert generator.generate(prompt, GREEDY) == "rope"


def test_a_role_mark_ends_the_draft_even_when_it_comes_in_pieces():
    pieces = (piece for piece in ["A ro", "pe <", "|us", "er|", ">\nand more"])
    assert "".join(generation._until_marks(pieces, generation.ROLE_MARKS)) == "A rope "
    innocent = (piece for piece in ["1 <", " 2 <|", "x"])
    assert "".join(generation._until_marks(innocent, generation.ROLE_MARKS)) == "1 < 2 <|x"


def test_the_templates_own_end_of_turn_is_an_end(make_tiny_model):
    template = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}<pad>{% endfor %}"
    model, tokenizer = load(make_tiny_model(chat_template=template))
    assert tokenizer.pad_token_id in generation._end_ids(model, tokenizer)


def test_a_draft_ends_at_the_context_and_a_prompt_that_fills_it_is_refused(tiny_model: Path, prompt: EncodedPrompt):
    model, tokenizer = load(tiny_model)
    small = Generator(model, tokenizer, len(prompt.ids) + 3)
    long = Sampling(max_new_tokens=50, temperature=1.0, seed=1)
    assert len(list(small._tokens(prompt.ids, long, None))) == 3
    with pytest.raises(BadInput, match="shorten it"):
        Generator(model, tokenizer, len(prompt.ids)).stream(prompt, long)


def test_an_adapter_that_is_not_there_is_named_before_the_first_piece(
    generator: Generator, prompt: EncodedPrompt, tmp_path: Path
):
    with pytest.raises(NotThere, match="ada@v9"):
        generator.stream(prompt, SAMPLED, "ada@v9")
    (tmp_path / "adapter_model.bin").write_bytes(b"a pickle")
    with pytest.raises(NotThere, match="safetensors"):
        generator.add_adapter("ada@v9", tmp_path)


def test_adapters_unused_for_longest_make_room_and_can_come_back(
    generator: Generator, prompt: EncodedPrompt, adapters: dict[str, Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(generation, "MAX_ADAPTERS", 1)
    (first, first_folder), (second, second_folder) = adapters.items()
    generator.add_adapter(first, first_folder)
    before = generator.generate(prompt, SAMPLED, first)
    generator.add_adapter(second, second_folder)
    assert generator.adapters == [second]
    generator.add_adapter(first, first_folder)
    assert generator.generate(prompt, SAMPLED, first) == before


@pytest.fixture
def manifest(stores: Stores, tiny_model: Path, adapters: dict[str, Path]) -> ModelManifest:
    folder = Path(str(stores.models.folder("ada", "tiny-test", "v1")))
    shutil.copytree(next(iter(adapters.values())), folder / "adapter")
    return ModelManifest(
        author="ada",
        version="v1",
        recipe_name="tiny-test",
        recipe={},
        recipe_hash="h",
        base=BaseModelRef(name=str(tiny_model), revision=sha256_of_files(tiny_model)),
        path=str(folder),
        weights_sha256="w",
        dataset=DatasetRef(table="t", version="1", data_version="d"),
        prompt_version="1",
        prompt_template="ours",
        code_version="1",
    )


def test_authors_share_a_base_and_keep_their_adapters_apart(stores: Stores, manifest: ModelManifest):
    generators = Generators(stores)
    generator = generators.for_manifest(manifest)
    bens = manifest.model_copy(update={"author": "ben"})
    home = Path(stores.models.root)
    shutil.copytree(home / "ada", home / "ben")
    assert generators.for_manifest(bens) is generator
    assert generators.for_base(BaseSpec(name=manifest.base.name)) is generator
    assert generator.adapters == ["ada@v1", "ben@v1"]


def test_a_base_is_loaded_once_however_many_ask(stores: Stores, manifest: ModelManifest):
    generators = Generators(stores)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(generators.for_manifest, [manifest] * 4))
    assert len({id(generator) for generator in found}) == 1


def test_the_base_unused_for_longest_makes_room(stores: Stores, make_tiny_model, manifest: ModelManifest):
    generators = Generators(stores, max_bases=1)
    first = generators.for_manifest(manifest)
    other = generators.for_base(BaseSpec(name=str(make_tiny_model("qwen3"))))
    assert other is not first
    assert generators.for_manifest(manifest) is not first


def test_other_weights_than_the_adapter_was_trained_on_are_refused(stores: Stores, manifest: ModelManifest):
    moved = manifest.model_copy(update={"base": BaseModelRef(name=manifest.base.name, revision="0" * 64)})
    with pytest.raises(BadRecipe, match="other weights"):
        Generators(stores).for_manifest(moved)


@pytest.fixture(scope="module")
def with_byte_fallback():
    """A tokenizer as Llama 2's and Mistral's: words with a leading mark, and a token for each byte."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    words = ["▁", "a", "b", "é", "\n", "▁a", "▁b", "ab", "▁ab"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    merges = [("▁", "a"), ("▁", "b"), ("a", "b"), ("▁a", "b")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


@given(text=st.text(alphabet="ab é\n潮🌊✔", max_size=30))
def test_text_that_comes_token_by_token_is_the_text(with_byte_fallback, text):
    ids = with_byte_fallback(text, add_special_tokens=False)["input_ids"]
    stream = generation._DecodedStream(with_byte_fallback)
    pieces = [stream.step(token) for token in ids]
    assert "".join([*pieces, stream.rest()]) == with_byte_fallback.decode(ids)
    assert not [piece for piece in pieces if "\N{REPLACEMENT CHARACTER}" in piece]


@given(ids=st.lists(st.integers(3, 267), max_size=40))
def test_bytes_that_are_no_text_never_break_a_draft(with_byte_fallback, ids):
    stream = generation._DecodedStream(with_byte_fallback)
    whole = "".join([*(stream.step(token) for token in ids), stream.rest()])
    words = [with_byte_fallback.convert_ids_to_tokens(token) for token in ids]
    # Words between the bytes come out whole and in order, whatever the bytes are.
    assert whole.count("é") >= words.count("é")
    assert whole.count("b") >= sum(word.count("b") for word in words if not word.startswith("<"))
