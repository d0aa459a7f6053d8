"""The evaluation process: one model version, its base and its adapter, on the clusters held out of its dataset.

    python -m twin_assets.evaluation.evaluate        started by the asset `evaluation_report` through Dagster Pipes

A process of its own, so that the model's memory goes when it is done. Its result is `evaluation.json` beside the
adapter, written at once at the end: a run killed on the way leaves nothing, and one that finds the file has nothing to
do. The same version gives the same bytes: rows are chosen and drafts seeded by hashes.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from filelock import FileLock

from twin_assets.child_process import pipes_child
from twin_assets.documents import ModelManifest, digest
from twin_assets.errors import BadInput
from twin_assets.evaluation.held_out import Row, choose, draft_rows
from twin_assets.evaluation.likelihood import ScoredRow, by_cluster, likelihoods
from twin_assets.evaluation.recitation import Recitation, recitation
from twin_assets.evaluation.result import (
    Copying,
    Draft,
    Evaluation,
    Options,
    StyleDistance,
    store_evaluation,
    stored_evaluation,
)
from twin_assets.evaluation.style import StyleSpace, blocks
from twin_assets.language.generation import Generator, Generators, Sampling
from twin_assets.language.prompts import DraftRequest, encode_example, encode_prompt, windows
from twin_assets.stores import Stores, open_stores
from twin_assets.stores.features import TableHandle

COLUMNS = (
    "example_id",
    "cluster_id",
    "task",
    "category",
    "language",
    "published_at",
    "instruction",
    "passages",
    "answer",
)

STYLE_CHARACTERS = 1_000_000
"""Training text of one kind that the author's spread is taken from: some 1,000 blocks, a second of work."""

Tell = Callable[[str], None]
Kind = tuple[str, bool]
"""Prose or code, and whether it is English: texts are compared with their own kind only."""


def evaluate(
    manifest: ModelManifest, dataset: TableHandle, generator: Generator | None, options: Options, tell: Tell
) -> Evaluation:
    """Measure one version on its dataset's test split.

    generator: holds the base model, and the adapter under `manifest.id`; needed only when something is held out.
    """
    held_out = choose(dataset.rows(COLUMNS, "split = 'test'"), options)
    found = Evaluation(
        made_by=options.made_by,
        version=manifest.version,
        dataset=manifest.dataset.table,
        base_model=f"{manifest.base.name}@{manifest.base.revision}",
        n_clusters=held_out.n_clusters,
        n_rows=len(held_out.rows),
        n_left_out=held_out.n_left_out,
        n_too_long=0,
    )
    if generator is None or not held_out.rows:
        return found
    scored = list(_score(generator, manifest, held_out.rows, tell))
    found.likelihoods = likelihoods(by_cluster(scored))
    found.n_too_long = len(held_out.rows) - len(scored)
    found.drafts, prompts = _draft(generator, manifest, draft_rows(held_out.rows, options.n_drafts), options, tell)
    if found.drafts:
        tell("comparing the drafts with the training texts")
        training = _Training(dataset)
        found.recitation = _recitation(found.drafts, prompts, training)
        found.styles = _styles(found.drafts, held_out.rows, training.by_kind)
    return found


def _room(manifest: ModelManifest, generator: Generator) -> tuple[int, int]:
    """(context tokens, prompt tokens): what the version was trained with, and what a draft leaves of it."""
    context = min(int(manifest.recipe.get("context_tokens", generator.context_tokens)), generator.context_tokens)
    return context, context - int(manifest.recipe.get("answer_tokens", context // 2))


def _score(generator: Generator, manifest: ModelManifest, rows: Sequence[Row], tell: Tell) -> Iterator[ScoredRow]:
    context, room = _room(manifest, generator)
    for n, row in enumerate(rows, 1):
        if n % 10 == 0 or n == len(rows):
            tell(f"scored {n} of {len(rows)} held-out rows")
        try:
            example = encode_example(generator.tokenizer, DraftRequest.of_row(row), row["answer"], room)
        except BadInput:
            continue
        pieces = list(windows(example, context, score_closing=False))
        base, adapter = generator.nll(pieces), generator.nll(pieces, manifest.id)
        yield ScoredRow(row["cluster_id"], row["category"], row["published_at"], example.answer_bytes, base, adapter)


def _draft(
    generator: Generator, manifest: ModelManifest, rows: Sequence[Row], options: Options, tell: Tell
) -> tuple[list[Draft], list[str]]:
    """Drafts for the rows by base and adapter, and the prompts they were made from."""
    drafts: list[Draft] = []
    prompts: list[str] = []
    _, room = _room(manifest, generator)
    for n, row in enumerate(rows, 1):
        try:
            prompt = encode_prompt(generator.tokenizer, DraftRequest.of_row(row), room)
        except BadInput:
            continue
        sampling = Sampling(
            max_new_tokens=options.draft_tokens, temperature=0.7, seed=int(digest(row["example_id"], 8), 16)
        )
        fields = {name: row[name] for name in ("example_id", "category", "language", "instruction")}
        base, adapter = (generator.generate(prompt, sampling, name) for name in (None, manifest.id))
        drafts.append(Draft(**fields, base=base, adapter=adapter, author=row["answer"]))
        prompts.append(prompt.text)
        tell(f"drafted {n} of {len(rows)} held-out prompts")
    return drafts, prompts


class _Training:
    """The training answers, read once; on the way past, enough of each kind is kept to know the author's style."""

    def __init__(self, dataset: TableHandle) -> None:
        self._dataset = dataset
        self.by_kind: dict[Kind, list[str]] = {}

    def __iter__(self) -> Iterator[str]:
        kept: dict[Kind, int] = {}
        for row in self._dataset.rows(["answer", "category", "language"], "split = 'train'"):
            kind = _kind(row["category"], row["language"])
            if kept.get(kind, 0) < STYLE_CHARACTERS:
                kept[kind] = kept.get(kind, 0) + len(row["answer"])
                self.by_kind.setdefault(kind, []).append(row["answer"])
            yield row["answer"]


def _kind(category: str, language: str | None) -> Kind:
    return ("code", False) if category == "code" else ("prose", language == "en")


def _recitation(drafts: Sequence[Draft], prompts: Sequence[str], training: _Training) -> dict[str, Copying]:
    texts = [draft.base for draft in drafts] + [draft.adapter for draft in drafts]
    found = recitation(texts, [*prompts, *prompts], training)
    return {"base": _copying(found[: len(drafts)]), "adapter": _copying(found[len(drafts) :])}


def _copying(found: Sequence[Recitation]) -> Copying:
    return Copying(
        longest_run=max(one.longest_run for one in found),
        copied=round(sum(one.copied for one in found) / len(found), 4),
    )


def _styles(drafts: Sequence[Draft], held_out: Sequence[Row], training: dict[Kind, list[str]]) -> list[StyleDistance]:
    """Distances per kind of text, over sets of as many blocks as the smallest of the three has."""
    found = []
    for kind in sorted({_kind(draft.category, draft.language) for draft in drafts}):
        space = StyleSpace.of(training.get(kind, []), english=kind[1])
        own = [draft for draft in drafts if _kind(draft.category, draft.language) == kind]
        sets = [
            list(blocks(texts))
            for texts in (
                [draft.base for draft in own],
                [draft.adapter for draft in own],
                [row["answer"] for row in held_out if _kind(row["category"], row["language"]) == kind],
            )
        ]
        n = min(len(one) for one in sets)
        if space is None or not n:
            continue
        base, adapter, author = (round(space.distance(one[:n]), 4) for one in sets)
        found.append(
            StyleDistance(kind=kind[0], english=kind[1], n_blocks=n, base=base, adapter=adapter, author=author)
        )
    return found


def run(stores: Stores, author: str, version: str, options: Options, tell: Tell) -> Evaluation:
    """Evaluate a version of the registry and store the result; what is stored already is not measured again."""
    manifest = stores.models.version(author, version)
    lock = stores.settings.data_dir / "locks" / author / f"evaluation-{version}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        if found := stored_evaluation(manifest, options):
            return found
        dataset = stores.features.snapshot(author, manifest.dataset.table)
        tell(f"loading {manifest.base.name} and {manifest.version}")
        generator = Generators(stores).for_manifest(manifest) if dataset.count("split = 'test'") else None
        found = evaluate(manifest, dataset, generator, options, tell)
        store_evaluation(manifest, found)
        return found


def main() -> None:
    """Read the request that Dagster Pipes carries, evaluate, and say so in the run's log."""
    with pipes_child() as pipes:
        request: dict[str, Any] = dict(pipes.extras)
        options = Options.model_validate(request["options"])
        run(open_stores(), request["author"], request["version"], options, pipes.log.info)


if __name__ == "__main__":
    main()
