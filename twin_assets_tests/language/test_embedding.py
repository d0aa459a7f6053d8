import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from twin_assets.errors import TwinError
from twin_assets.language.embedding import BUNDLED, Embedder, bundled_folder, load_embedder, model_identity
from twin_assets.language.onnx_embedding import OnnxEncoder, onnx_encoder
from twin_assets.settings import Settings
from twin_assets_tests.conftest import docstrings

BACKENDS = ["onnx", "torch"]
TEXTS = ["The tide gauge drifts.", "Bread rises overnight.", "def median(levels): ..."]


@pytest.fixture(scope="module")
def embedder():
    return load_embedder(Settings(_env_file=None))


def by(backend: str, batch_size: int = 64) -> Embedder:
    return load_embedder(
        Settings(_env_file=None, device="cpu", embedding_backend=backend, embedding_batch_size=batch_size)
    )


@pytest.fixture(scope="module")
def tokenizer():
    from tokenizers import BertWordPieceTokenizer
    from tokenizers.processors import BertProcessing
    from transformers import PreTrainedTokenizerFast

    pieces = BertWordPieceTokenizer()
    pieces.train_from_iterator(docstrings(5), vocab_size=500, show_progress=False)
    ends = [(token, pieces.token_to_id(token)) for token in ("[SEP]", "[CLS]")]
    pieces._tokenizer.post_processor = BertProcessing(*ends)
    special = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]"}
    return PreTrainedTokenizerFast(
        tokenizer_object=pieces._tokenizer, **{f"{name}_token": token for name, token in special.items()}
    )


@pytest.fixture
def make_tiny(tmp_path, tokenizer):
    """make(pooling, max_tokens, normalize, default_prompt) -> folder of a small BERT with random weights."""

    def make(pooling: str, max_tokens: int = 64, normalize: bool = True, default_prompt: str | None = None) -> Path:
        import torch
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
        from transformers import BertConfig, BertModel

        torch.manual_seed(0)
        sizes = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
        BertModel(BertConfig(vocab_size=500, **sizes)).save_pretrained(tmp_path / "bert")
        tokenizer.save_pretrained(tmp_path / "bert")
        modules = [Transformer(str(tmp_path / "bert"), max_seq_length=max_tokens), Pooling(128, pooling)]
        prompts = {"query": "question: "} if default_prompt else None
        model = SentenceTransformer(
            modules=[*modules, *([Normalize()] if normalize else [])],
            device="cpu",
            prompts=prompts,
            default_prompt_name=default_prompt,
        )
        model.save(str(tmp_path / "tiny"))
        return tmp_path / "tiny"

    return make


@pytest.fixture
def tiny_settings(tmp_path):
    """of(folder, backend) -> settings that name that model, with nothing in their cache."""

    def of(folder: Path, backend: str = "auto") -> Settings:
        onnx_encoder.cache_clear()
        return Settings(
            _env_file=None,
            data_dir=tmp_path / "data",
            device="cpu",
            embedding_model=str(folder),
            embedding_backend=backend,
        )

    return of


def cached(settings: Settings) -> list[Path]:
    return sorted((settings.cache_dir / "embedding").iterdir())


def cosines(one, other):
    return (one * other).sum(axis=1)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("normalize", [True, False])
def test_a_models_own_pooling_and_truncation_hold_by_onnx(make_tiny, tiny_settings, pooling, normalize):
    folder = make_tiny(pooling, max_tokens=16, normalize=normalize)
    texts = [*TEXTS, "", "tide gauge " * 200, *docstrings(2)[:20]]
    ours = Embedder(tiny_settings(folder, "onnx")).encode(texts)
    theirs = Embedder(tiny_settings(folder, "torch")).encode(texts)
    assert cosines(ours, theirs).min() > 0.995
    assert np.allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)


def test_what_onnx_does_not_do_as_torch_does_is_done_by_torch_and_not_tried_again(make_tiny, tiny_settings, caplog):
    settings = tiny_settings(make_tiny("max"))
    first = Embedder(settings).encode(TEXTS)
    assert "under torch, which is slower here: its pooling is max" in caplog.text
    assert "exporting" in caplog.text
    caplog.clear()
    again = Embedder(settings).encode(TEXTS)
    assert "its pooling is max" in caplog.text
    assert "exporting" not in caplog.text
    assert np.array_equal(first, again)


def test_a_model_with_a_prompt_of_its_own_keeps_it(make_tiny, tiny_settings, caplog):
    from sentence_transformers import SentenceTransformer

    folder = make_tiny("mean", default_prompt="query")
    expected = SentenceTransformer(str(folder), device="cpu").encode(TEXTS, normalize_embeddings=True)
    assert np.allclose(Embedder(tiny_settings(folder)).encode(TEXTS), expected, atol=1e-6)
    assert "it puts a prompt (query) before each text" in caplog.text


def test_onnx_asked_for_by_name_is_not_silently_replaced(make_tiny, tiny_settings):
    with pytest.raises(TwinError, match=r"its pooling is max\): set TWIN_EMBEDDING_BACKEND=auto"):
        Embedder(tiny_settings(make_tiny("max"), "onnx")).encode(TEXTS)


def test_without_onnxruntime_torch_embeds(make_tiny, tiny_settings, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    settings = tiny_settings(make_tiny("mean"))
    assert Embedder(settings).encode(TEXTS).shape == (3, 128)
    assert "needs the packages onnxruntime" in caplog.text
    assert not settings.cache_dir.exists()


def test_where_nothing_can_be_kept_torch_embeds_and_the_model_is_not_blamed(make_tiny, tiny_settings, caplog):
    settings = tiny_settings(make_tiny("mean"))
    settings.data_dir.mkdir()
    settings.cache_dir.write_text("a file, where a folder should be")
    assert Embedder(settings).encode(TEXTS).shape == (3, 128)
    assert "NotADirectoryError" in caplog.text
    settings.cache_dir.unlink()
    assert isinstance(Embedder(settings)._encoder, OnnxEncoder)


@pytest.mark.parametrize("broken", [b"", b"not a graph", "cut"])
def test_a_broken_export_is_made_again(make_tiny, tiny_settings, broken):
    settings = tiny_settings(make_tiny("mean"), "onnx")
    vectors = Embedder(settings).encode(TEXTS)
    [export] = cached(settings)
    whole = export.read_bytes()
    export.write_bytes(whole[: len(whole) // 2] if broken == "cut" else broken)
    onnx_encoder.cache_clear()
    assert np.array_equal(Embedder(settings).encode(TEXTS), vectors)
    assert [path.stat().st_size for path in cached(settings)] == [len(whole)]


def test_an_export_is_kept_and_serves_the_next_process_without_torch_or_a_word_to_anyone(
    make_tiny, tiny_settings, tmp_path
):
    settings = tiny_settings(make_tiny("mean"), "auto")
    Embedder(settings).encode(TEXTS)
    code = (
        "import logging, sys; from twin_assets.language.embedding import load_embedder\n"
        "from twin_assets.settings import Settings; load_embedder(Settings(_env_file=None)).encode(['tide'])\n"
        "print('torch' in sys.modules, 'onnxruntime' in sys.modules)"
    )
    # onnxruntime leaves an identifier in the home of each user whom it reports, before it reports.
    home = tmp_path / "home"
    home.mkdir()
    silent = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    environment = silent | settings.library_environment() | {"HOME": str(home)}
    del environment["ORT_DISABLE_TELEMETRY"]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.stdout.strip(), done.stderr) == ("False True", "")
    assert not list(home.iterdir())


@pytest.mark.slow
def test_two_processes_that_export_at_once_leave_one_whole_export(make_tiny, tiny_settings):
    settings = tiny_settings(make_tiny("mean"), "onnx")
    code = (
        "from twin_assets.language.embedding import load_embedder; from twin_assets.settings import Settings\n"
        "print(load_embedder(Settings(_env_file=None)).encode(['tide']).tobytes().hex())"
    )
    environment = os.environ | settings.library_environment()
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    said = {process.communicate()[0].strip() for process in both}
    assert said == {Embedder(settings).encode(["tide"]).tobytes().hex()}
    assert len(cached(settings)) == 1


def test_exporting_leaves_the_programs_logging_alone(make_tiny, tiny_settings):
    before = logging.root.level, list(logging.root.handlers)
    Embedder(tiny_settings(make_tiny("mean"), "onnx")).encode(TEXTS)
    assert (logging.root.level, list(logging.root.handlers)) == before


def test_the_two_backends_vectors_are_near_enough_to_stand_in_one_table():
    texts = [*TEXTS, *docstrings(3)[:40]]
    assert cosines(by("onnx").encode(texts), by("torch").encode(texts)).min() > 0.99


def test_vectors_are_finite_unit_and_as_long_as_the_model_says(embedder):
    vectors = embedder.encode([*TEXTS, "", "\n", "🌊" * 2_000])
    assert vectors.shape == (6, embedder.dimension) == (6, 384)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_no_text_makes_no_vector(embedder):
    assert embedder.encode([]).shape == (0, 384)


@pytest.mark.parametrize("backend", BACKENDS)
@hypothesis_settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(3)), size=st.integers(1, 4))
def test_a_vector_does_not_depend_on_its_neighbours(backend, order, size):
    alone = np.stack([by(backend).encode([text])[0] for text in TEXTS])
    together = by(backend, size).encode([TEXTS[n] for n in order])
    assert np.allclose(together, alone[list(order)], atol=1e-5 if backend == "torch" else 0, rtol=0)


def test_near_in_meaning_is_near_in_space(embedder):
    tides, bread, query = embedder.encode([*TEXTS[:2], "sensor that measures the sea level"])
    assert query @ tides > query @ bread


def test_one_embedder_per_settings_is_loaded():
    assert load_embedder(Settings(_env_file=None)) is load_embedder(Settings(_env_file=None))


def test_one_model_per_process_is_loaded_wherever_the_data_lies(make_tiny, tiny_settings, tmp_path):
    settings = tiny_settings(make_tiny("mean"))
    elsewhere = settings.model_copy(update={"data_dir": tmp_path / "elsewhere"})
    encoders = [Embedder(each)._encoder for each in (settings, elsewhere)]
    assert encoders[0] is encoders[1]
    assert isinstance(encoders[0], OnnxEncoder)


def test_the_tokenizer_measures_a_long_text_whole(embedder):
    assert len(embedder.tokenizer.encode("tide " * 3_000, add_special_tokens=False).ids) == 3_000


def test_measuring_chunks_loads_no_torch():
    code = (
        "import sys; from twin_assets.language.embedding import load_embedder, model_identity\n"
        "from twin_assets.settings import Settings; s = Settings(_env_file=None); model_identity(s)\n"
        "load_embedder(s).tokenizer.encode('tide'); print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "False"


def test_another_model_is_another_identity_and_so_embeds_all_again(tmp_path):
    for name in ("one", "two"):
        folder = tmp_path / name
        shutil.copytree(bundled_folder(), folder)
    weights = tmp_path / "two" / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b" ")
    names = [BUNDLED, str(tmp_path / "one"), str(tmp_path / "two"), "BAAI/bge-small-en-v1.5"]
    identities = [model_identity(Settings(_env_file=None, embedding_model=name)) for name in names]
    assert len({identity.rpartition("@")[2] for identity in identities}) == 4
    pinned = Settings(_env_file=None, embedding_model=names[3], embedding_revision="abc")
    assert model_identity(pinned) == "BAAI/bge-small-en-v1.5@abc"


def test_a_model_of_ones_own_in_a_folder_embeds_like_any_other(tmp_path, embedder):
    shutil.copytree(bundled_folder(), tmp_path / "mine")
    mine = load_embedder(Settings(_env_file=None, data_dir=tmp_path, embedding_model=str(tmp_path / "mine")))
    assert np.allclose(mine.encode(TEXTS), embedder.encode(TEXTS), atol=1e-6)
    assert mine.tokenizer.encode("tide").ids == embedder.tokenizer.encode("tide").ids


def test_the_bundled_model_says_which_languages_it_knows_and_another_does_not(tmp_path, embedder):
    assert embedder.languages == {"en"}
    assert load_embedder(Settings(_env_file=None, embedding_model=str(tmp_path))).languages is None
