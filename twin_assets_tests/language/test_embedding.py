import shutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from twin_assets.language.embedding import BUNDLED, bundled_folder, load_embedder, model_identity
from twin_assets.settings import Settings

TEXTS = ["The tide gauge drifts.", "Bread rises overnight.", "def median(levels): ..."]


@pytest.fixture(scope="module")
def embedder():
    return load_embedder(Settings(_env_file=None))


def test_vectors_are_finite_unit_and_as_long_as_the_model_says(embedder):
    vectors = embedder.encode([*TEXTS, "", "\n", "🌊" * 2_000])
    assert vectors.shape == (6, embedder.dimension) == (6, 384)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_no_text_makes_no_vector(embedder):
    assert embedder.encode([]).shape == (0, 384)


@hypothesis_settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(3)), size=st.integers(1, 4))
def test_a_vector_does_not_depend_on_its_neighbours(embedder, order, size):
    alone = np.stack([embedder.encode([text])[0] for text in TEXTS])
    small = load_embedder(Settings(_env_file=None, embedding_batch_size=size))
    assert np.allclose(small.encode([TEXTS[n] for n in order]), alone[list(order)], atol=1e-5)


def test_near_in_meaning_is_near_in_space(embedder):
    tides, bread, query = embedder.encode([*TEXTS[:2], "sensor that measures the sea level"])
    assert query @ tides > query @ bread


def test_one_embedder_per_settings_is_loaded():
    assert load_embedder(Settings(_env_file=None)) is load_embedder(Settings(_env_file=None))


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
    mine = load_embedder(Settings(_env_file=None, embedding_model=str(tmp_path / "mine")))
    assert np.allclose(mine.encode(TEXTS), embedder.encode(TEXTS), atol=1e-6)
    assert mine.tokenizer.encode("tide").ids == embedder.tokenizer.encode("tide").ids


def test_the_bundled_model_says_which_languages_it_knows_and_another_does_not(tmp_path, embedder):
    assert embedder.languages == {"en"}
    assert load_embedder(Settings(_env_file=None, embedding_model=str(tmp_path))).languages is None
