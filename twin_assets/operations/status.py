"""An author's results from the stores, as `twin status`, the demo and the notebook show them. Loads no model."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from twin_assets.documents import ModelManifest
from twin_assets.stores import Stores
from twin_assets.stores.features import TableHandle

if TYPE_CHECKING:
    import pyarrow as pa


def author_status(stores: Stores, author: str) -> dict[str, Any]:
    """Documents, exports and their age, chunks, examples by split, dataset version, models with stage and metrics.

    The counts come from the warehouse and the publication records, without opening a table.
    """
    from twin_assets.collection.inbox import archive_notice

    profile = stores.warehouse.profiles.get(author)
    chunks = stores.features.published(author, "chunks")
    dataset = stores.features.published(author, "instruction_dataset")
    production = stores.models.production(author)
    return {
        "author": author,
        "name": profile.name,
        "documents": stores.warehouse.documents.count_by_category(author),
        "chunks": chunks.rows if chunks else 0,
        "examples": dataset.about.get("splits", {}) if dataset else {},
        "dataset_version": dataset.table.rsplit("-", 1)[1] if dataset else None,
        "dataset_data_version": dataset.data_version if dataset else None,
        "models": [model_row(manifest) for manifest in stores.models.versions(author)],
        "production": production.version if production else None,
        "crawls": stores.warehouse.crawls.for_author(author),
        "exports": {
            source.id: notice for source in profile.sources if (notice := archive_notice(stores, author, source))
        },
    }


def status_text(status: dict[str, Any]) -> str:
    """The status as text for a terminal."""
    lines = [f"{status['name']} ({status['author']})", "", "documents"]
    for row in status["documents"]:
        gone = f", {row['deleted']} gone" if row["deleted"] else ""
        lines.append(f"  {row['platform']:<10} {row['category']:<8} {row['alive']:>6}{gone}")
    if status["exports"]:
        lines += ["", "exports", *(f"  {source}: {notice}" for source, notice in status["exports"].items())]
    splits = ", ".join(f"{count} {split}" for split, count in sorted(status["examples"].items())) or "none"
    version = f" (version {status['dataset_version']})" if status["dataset_version"] else ""
    lines += ["", f"chunks    {status['chunks']}", f"examples  {splits}{version}", "", "models"]
    return "\n".join([*lines, models_text(status["models"])])


def model_row(manifest: ModelManifest) -> dict[str, Any]:
    """A version in one row: its stage, what it was trained on, and its metrics."""
    numbers = (manifest.evaluation or {}).get("bits_per_byte") or {}
    return {
        "version": manifest.version,
        "recipe": manifest.recipe_name,
        "stage": manifest.stage,
        "base": manifest.base.name,
        "dataset_version": manifest.dataset.version,
        "bits_per_byte_base": numbers.get("base"),
        "bits_per_byte_adapter": numbers.get("adapter"),
        "gates": {gate.name: gate.passed for gate in manifest.gates},
        "metrics": manifest.metrics,
        "created_at": manifest.created_at.isoformat(),
    }


def models_text(rows: Sequence[dict[str, Any]]) -> str:
    """The versions as aligned lines, newest last."""
    if not rows:
        return "  none trained yet"
    lines = []
    for row in rows:
        gates = " ".join(f"{'✓' if passed else '✗'} {name}" for name, passed in row["gates"].items()) or "not evaluated"
        bits = (
            f"{row['bits_per_byte_base']:.3f} → {row['bits_per_byte_adapter']:.3f} bits/byte"
            if row["bits_per_byte_adapter"] is not None
            else ""
        )
        lines.append(f"  {row['version']:<32} {row['stage']:<11} {bits:<24} {gates}")
    return "\n".join(lines)


def evaluation_text(manifest: ModelManifest) -> str:
    """A version's evaluation as a small table of base and adapter, with the verdict of each gate below it."""
    evaluation = manifest.evaluation or {}
    rows = [
        (f"bits per byte, {row['name']}", _pair(row), f"{row['n_clusters']} documents")
        for row in evaluation.get("likelihoods", [])
    ]
    rows += [
        (f"style distance, {row['kind']}", _pair(row), f"the author's own {row['author']:.3f}")
        for row in evaluation.get("styles", [])
    ]
    copied = evaluation.get("recitation") or {}
    if {"base", "adapter"} <= copied.keys():
        shares = "".join(f"{copied[whose]['copied']:>10.1%}" for whose in ("base", "adapter"))
        rows.append(("8-word runs copied", shares, f"longest {copied['adapter']['longest_run']} words"))
    lines = [f"  {name:<26}{numbers}   {note}" for name, numbers, note in rows]
    gates = [f"  {'✓' if gate.passed else '✗'} {gate.name:<16} {gate.text}" for gate in manifest.gates]
    return "\n".join([f"  {'lower is better':<26}{'base':>10}{'adapter':>10}", *lines, "", *gates])


def _pair(row: dict[str, Any]) -> str:
    return f"{row['base']:>10.3f}{row['adapter']:>10.3f}"


def document_rows(stores: Stores, author: str, platform: str | None, cleaned: bool) -> Iterator[dict[str, Any]]:
    """The raw documents, including tombstones, or the cleaned ones, as dicts for JSON."""
    stores.warehouse.profiles.get(author)
    if cleaned:
        table = stores.features.table(author, "cleaned_documents")
        where = f"platform = '{platform}'" if platform and platform.isidentifier() else None
        for row in table.rows(table.lance.schema.names, where):
            yield {"id": row["document_id"], **row}
        return
    for document in stores.warehouse.documents.for_author(author, platform=platform):
        yield {"id": document.id, "content_hash": document.content_hash, **document.model_dump(mode="json")}


def dataset_handle(stores: Stores, author: str, version: str | None) -> TableHandle:
    """A dataset version, the latest by default. Raises NotThere."""
    if version is None:
        table = stores.features.table(author, "instruction_dataset")
        table.pinned  # noqa: B018  raises when there is none
        return table
    return stores.features.snapshot(author, f"instruction_dataset-{int(version):05d}")


def export_dataset(stores: Stores, author: str, folder: Path, version: str | None) -> dict[Path, int]:
    """Export a version: a Hugging Face `datasets` folder, a JSONL file per split, and a dataset card.

    `datasets.load_from_disk(folder)` reads it; README.md is the card, with its picture beside it. An earlier export in
    the folder is replaced. Returns the number of examples in each JSONL file. See:
    https://huggingface.co/docs/datasets/process#save and https://huggingface.co/docs/hub/datasets-cards
    """
    from datasets import Dataset, DatasetDict, disable_progress_bars, enable_progress_bars

    table = dataset_handle(stores, author, version)
    rows = table.lance.to_arrow().sort_by("example_id")
    splits = rows.column("split").to_pylist()
    by_split = {
        split: rows.take([at for at, one in enumerate(splits) if one == split]) if split in splits else rows.slice(0, 0)
        for split in ("train", "validation", "test")
    }
    folder.mkdir(parents=True, exist_ok=True)
    disable_progress_bars()
    # Of a split without rows, `datasets` would write no file, which `load_from_disk` refuses.
    files = {split: None if part.num_rows else 1 for split, part in by_split.items()}
    DatasetDict({split: Dataset(part) for split, part in by_split.items()}).save_to_disk(folder, num_shards=files)
    enable_progress_bars()
    written = {folder / f"{split}.jsonl": part for split, part in by_split.items()}
    for path, part in written.items():
        lines = (json.dumps(row, ensure_ascii=False, default=str) for row in part.to_pylist())
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    _write_card(table, rows, folder)
    return {path: part.num_rows for path, part in written.items()}


def _write_card(table: TableHandle, rows: "pa.Table", folder: Path) -> None:
    from twin_assets.features.preview import card_figure, card_tables

    pinned = table.pinned
    name = f"{table.author}, {pinned.table}"
    about = {name: value for name, value in pinned.about.items() if name not in ("splits", "left_out")}
    about |= {"data version": pinned.data_version, **{f"{name}, version": n for name, n in pinned.inputs.items()}}
    languages = sorted({code for code in rows.column("language").to_pylist() if code})
    splits = [{"split": split, "path": f"{split}.jsonl"} for split in ("train", "validation", "test")]
    head = {"pretty_name": name, "language": languages, "configs": [{"config_name": "default", "data_files": splits}]}
    card_figure(rows).savefig(folder / "card.png", dpi=80)
    text = (
        f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n\n# {name}\n\n"
        "Every `answer` is the author's own text, word for word; every `instruction` was made for it. "
        "`passages` are what the author has written elsewhere on the subject, found by retrieval.\n\n"
        f"{card_tables(rows, pinned.about.get('left_out', {}), about)}\n\n![lengths, tasks and time](card.png)\n"
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def training_curve(stores: Stores, author: str) -> list[dict[str, float]]:
    """The rows `step, loss, …` of the newest version's training; none when no version was trained."""
    versions = stores.models.versions(author)
    if not versions:
        return []
    folder = stores.models.local_folder(versions[-1], stores.settings.cache_dir)
    path = folder / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [row for row in rows if "loss" in row]
