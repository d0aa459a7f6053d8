"""The dataset put together from real tables by the real retriever."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from twin_assets import schemas
from twin_assets.documents import Category
from twin_assets.features.instructions import examples
from twin_assets.features.instructions.answers import answers
from twin_assets.features.instructions.dataset import MAX_GROWTH, build, dataset_rows, made_by_dataset
from twin_assets.features.instructions.examples import PASSAGES
from twin_assets.features.instructions.splits import side_of, split_clusters
from twin_assets.features.preview import dataset_card
from twin_assets.language.embedding import load_embedder
from twin_assets.operations.status import export_dataset
from twin_assets_tests.conftest import raw

LONG = "It holds a boat for a night, or a tree against the wind, and nobody looks at it until it is gone. " * 3


@pytest.fixture
def built(project, materialize):
    """built(documents) -> what `build` makes of them, and the cleaned rows it was made from."""

    def make(documents):
        project.warehouse.documents.upsert(documents)
        materialize("cleaned_documents", "chunks", "embeddings")
        cleaned, embeddings = (project.features.table("ada", name) for name in ("cleaned_documents", "embeddings"))
        embedder = load_embedder(project.settings)
        result = build(cleaned, embeddings, embedder, project.settings, lambda line: None)
        return result, list(cleaned.rows(schemas.CLEANED_DOCUMENTS.names))

    return make


def test_another_retriever_or_size_makes_another_dataset(settings):
    made = {
        made_by_dataset(settings.model_copy(update=change))
        for change in ({}, {"reranker": "some/cross-encoder"}, {"dataset_size": "small"}, {"answer_bytes": 900})
    }
    assert len(made) == 4


def test_context_is_the_authors_quotable_training_writing_and_never_the_answers_own(built, writing, project):
    private = raw("diary", f"On tides and bread. {writing[0].content}", visibility="private")
    project.warehouse.documents.upsert(writing)
    for document in writing[4:8]:
        project.warehouse.documents.leave_out(document.id, ["quoting"])
    result, cleaned = built([*writing, private])
    clusters = {row["document_id"]: row["cluster_id"] for row in cleaned}
    splits = split_clusters(clusters.items())
    quotable = {row["document_id"] for row in cleaned if row["quotable"]}
    shown = [
        (row["document_id"], passage["chunk_id"].rsplit("#", 1)[0])
        for row in result.rows
        for passage in row["passages"]
    ]
    assert len({source for _, source in shown}) > 5
    for document, source in shown:
        assert source in quotable
        assert splits[clusters[source]] == "train"
        assert clusters[source] != clusters[document]


def test_every_trainable_document_has_an_example_or_a_reason(built, writing):
    short = raw("short", "Too short.", category=Category.POST)
    result, cleaned = built([*writing, short])
    assert {row["document_id"] for row in result.rows} == {row["document_id"] for row in cleaned} - {short.id}
    assert result.rejected == {"answer under 40 bytes": 1}


def test_a_row_stands_in_the_split_of_its_cluster(built, writing):
    result, cleaned = built(writing)
    splits = split_clusters((row["document_id"], row["cluster_id"]) for row in cleaned)
    assert all(row["split"] == splits[row["cluster_id"]] for row in result.rows)
    assert {row["split"] for row in result.rows} == {"train", "validation", "test"}


def test_without_anything_trainable_the_dataset_is_empty_and_says_why(built):
    result, _ = built([raw(str(n), f"A private page, number {n}. " * 4, visibility="private") for n in range(3)])
    assert result.rows == []
    assert result.rejected == {"document left out of training": 3}
    assert dataset_rows(result).schema == schemas.INSTRUCTION_DATASET.arrow


def shingles(text: str, n_words: int = 12) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.casefold())
    return {tuple(words[start : start + n_words]) for start in range(len(words) - n_words + 1)}


def test_near_copies_of_a_piece_never_stand_on_both_sides_nor_in_its_context(built, writing):
    essay = " ".join(
        f"Paragraph {n} of the long essay is about the {n * n} ways in which rope may fray." for n in range(40)
    )
    copies = [
        raw("essay", essay),
        raw("essay-again", essay.replace("long essay", "long old essay", 3), title="The same, posted elsewhere"),
        raw("essay-as-post", f"New on my site:\n\n{essay}\n\n#rope", category=Category.POST, title=None),
        *(raw(f"essay-{n}", f"{essay} Edited {n} times.", title=f"Edition {n}") for n in range(12)),
    ]
    assert len({side_of(document.id) for document in copies}) == 3
    result, cleaned = built([*writing, *copies])
    assert len({row["cluster_id"] for row in cleaned if "essay" in row["document_id"]}) == 1
    sides = {split: [row for row in result.rows if row["split"] == split] for split in ("train", "validation", "test")}
    learned = set().union(*(shingles(row["answer"]) for row in sides["train"]))
    assert len(shingles(essay) & learned) > 0.9 * len(shingles(essay))
    for row in sides["validation"] + sides["test"]:
        assert not shingles(row["answer"]) & learned
    planted = shingles(essay)
    for row in result.rows:
        if "essay" in row["document_id"]:
            assert not any(shingles(passage["text"]) & planted for passage in row["passages"])


def test_two_builds_from_scratch_are_the_same_table_byte_for_byte(writing, tmp_path):
    script = Path(__file__).with_name("dataset_from_scratch.py")
    (tmp_path / "documents.json").write_text(json.dumps([document.model_dump(mode="json") for document in writing]))
    digests = []
    for seed in ("1", "2"):
        command = [sys.executable, str(script), str(tmp_path / "documents.json"), str(tmp_path / seed)]
        environment = os.environ | {"PYTHONHASHSEED": seed}
        ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        digests.append(ran.stdout.strip().splitlines()[-1])
    assert digests[0] == digests[1]
    assert digests[0].startswith("rows ")


def test_the_card_counts_what_there_is_and_shows_no_text(built, writing):
    result, _ = built([*writing, raw("short", "Too short.", category=Category.POST)])
    rows = dataset_rows(result)
    card = dataset_card(rows, result.rejected, {"size": "full"})
    assert f"| examples | {rows.num_rows} |" in card
    assert "| size | full |" in card
    assert "| answer under 40 bytes | 1 |" in card
    assert "| files | " in card
    assert "data:image/png;base64," in card
    assert not [row["answer"] for row in result.rows if row["answer"][:60] in card]


def test_the_card_of_an_empty_dataset_says_why(built):
    result, _ = built([raw("a", "A private page. " * 4, visibility="private")])
    assert "| document left out of training | 1 |" in dataset_card(dataset_rows(result), result.rejected)


def test_an_exported_version_is_read_by_datasets_and_says_how_it_was_made(project, materialize, writing, tmp_path):
    import datasets

    project.warehouse.documents.upsert(writing)
    materialize()
    folder = tmp_path / "export"
    for _ in range(2):
        counts = export_dataset(project, "ada", folder, None)
    loaded = datasets.load_from_disk(folder)
    assert {f"{split}.jsonl": rows.num_rows for split, rows in loaded.items()} == {
        path.name: count for path, count in counts.items()
    }
    table = project.features.table("ada", "instruction_dataset")
    stored = sorted(table.rows(schemas.INSTRUCTION_DATASET.names), key=lambda row: row["example_id"])
    exported = sorted((row for split in loaded.values() for row in split), key=lambda row: row["example_id"])
    assert exported == stored
    lines = [json.loads(line) for path in counts for line in path.read_text().splitlines()]
    assert {line["answer"] for line in lines} == {row["answer"] for row in stored}
    card = (folder / "README.md").read_text()
    assert yaml.safe_load(card.split("---")[1])["configs"][0]["data_files"][0] == {
        "split": "train",
        "path": "train.jsonl",
    }
    assert table.pinned.data_version in card
    assert (folder / "card.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("visibility", ["public", "private"])
def test_a_split_without_examples_is_exported_empty(visibility, project, materialize, tmp_path):
    import datasets

    project.warehouse.documents.upsert([raw("only", f"On knots. {LONG}", visibility=visibility)])
    materialize("cleaned_documents", "chunks", "embeddings", "instruction_dataset")
    folder = tmp_path / "export"
    counts = export_dataset(project, "ada", folder, None)
    assert 0 in counts.values()
    loaded = datasets.load_from_disk(folder)
    assert {split: rows.num_rows for split, rows in loaded.items()} == {
        path.stem: count for path, count in counts.items()
    }
    assert {tuple(rows.column_names) for rows in loaded.values()} == {tuple(schemas.INSTRUCTION_DATASET.names)}
    assert all(len(path.read_text().splitlines()) == count for path, count in counts.items())


@pytest.fixture
def rebuilt(project, materialize):
    """rebuilt() -> the next version of the dataset after a features run, its rows by id, and what it looked up."""

    def make():
        result = materialize("cleaned_documents", "chunks", "embeddings", "instruction_dataset")
        [event] = result.asset_materializations_for_node("instruction_dataset")
        rows = project.features.table("ada", "instruction_dataset").rows(schemas.INSTRUCTION_DATASET.names)
        return {row["example_id"]: row for row in rows}, event.metadata["context_looked_up"].value

    return make


def test_one_document_more_makes_its_own_examples_and_looks_up_no_other_context(rebuilt, project, writing, monkeypatch):
    project.warehouse.documents.upsert(writing)
    before, looked_up = rebuilt()
    assert looked_up == sum(bool(row["passages"]) for row in before.values()) > 5
    asked = []
    monkeypatch.setattr(
        examples, "answers", lambda document, *rest: asked.append(document["title"]) or answers(document, *rest)
    )
    project.warehouse.documents.upsert([raw("added", f"A rope is a machine for waiting. {LONG}", title="Rope")])
    after, looked_up = rebuilt()
    new = after.keys() - before.keys()
    assert {after[name]["document_id"] for name in new} == {"ada:files:added"}
    assert looked_up == sum(bool(after[name]["passages"]) for name in new)
    # A word's rounded frequency may cross a power of two, and its documents are asked for anew.
    assert "Rope" in asked
    assert len(asked) < len(writing) / 2
    assert {name: after[name] for name in before} == before
    pinned = project.features.table("ada", "instruction_dataset").pinned
    assert (pinned.table, pinned.about["follows"]) == ("instruction_dataset-00002", "instruction_dataset-00001")


def test_context_is_looked_up_again_where_a_passage_no_longer_stands(rebuilt, project, writing):
    project.warehouse.documents.upsert(writing)
    before, _ = rebuilt()
    shown = Counter(passage["chunk_id"].rsplit("#")[0] for row in before.values() for passage in row["passages"])
    gone, quoted = shown.most_common(1)[0]
    project.warehouse.documents.leave_out(gone, ["quoting"])
    after, looked_up = rebuilt()
    assert 0 < quoted <= looked_up + 2 * PASSAGES < len(before)
    assert not [row for row in after.values() if any(one["chunk_id"].startswith(gone) for one in row["passages"])]


def test_context_is_looked_up_again_once_there_is_a_fifth_more(rebuilt, project, writing):
    project.warehouse.documents.upsert(writing[:-5])
    rebuilt()
    chunks = project.features.table("ada", "embeddings").count()
    n_more = chunks // 5 + 1
    more = [raw(f"more-{n}", f"{LONG} Number {n}: {' '.join([str(n)] * 40)}", title=f"Rope {n}") for n in range(n_more)]
    project.warehouse.documents.upsert(more)
    rows, looked_up = rebuilt()
    assert project.features.table("ada", "embeddings").count() > chunks * MAX_GROWTH
    asked_with_context = sum(bool(row["passages"]) for row in rows.values())
    assert looked_up >= asked_with_context > 10


def test_the_examples_are_the_same_with_the_cache_and_without(rebuilt, project, writing):
    project.warehouse.documents.upsert(writing)
    first, _ = rebuilt()
    path = project.settings.memo("ada", "instruction_dataset")
    assert path.stat().st_size > 10_000
    for damage in (path.unlink, lambda: path.write_bytes(b"no database at all" * 1000)):
        damage()
        assert rebuilt()[0] == first


def test_what_is_deleted_leaves_the_cache_too(rebuilt, project, writing):
    planted = raw("planted", f"The blue heron knows my secret name. {LONG}", title="Heron")
    project.warehouse.documents.upsert([*writing, planted])
    rebuilt()
    path = project.settings.memo("ada", "instruction_dataset")
    assert b"blue heron" in path.read_bytes()
    project.warehouse.documents.mark_deleted([planted.id])
    rebuilt()
    assert b"blue heron" not in path.read_bytes()
