"""The evaluation process: one model version, its base and its adapter, on the clusters held out of its dataset.

    python -m twin_assets.evaluation.evaluate        started by the asset `evaluation_report` through Dagster Pipes

A process of its own, so that the model's memory goes when it is done. Its result is `evaluation.json` beside the
adapter, written at once at the end: a run killed on the way leaves nothing, and one that finds the file has nothing to
do. The same version gives the same bytes: rows are chosen and drafts seeded by hashes.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from filelock import FileLock

from twin_assets.documents import Category, ModelManifest, digest
from twin_assets.errors import BadInput
from twin_assets.evaluation.held_out import Row, choose, draft_rows
from twin_assets.evaluation.instruments.endings import endings
from twin_assets.evaluation.instruments.likelihood import ScoredRow, by_cluster, likelihoods
from twin_assets.evaluation.instruments.style import StyleSpace, blocks
from twin_assets.evaluation.models import NAMES, Models, open_models
from twin_assets.evaluation.result import (
    Copying,
    Draft,
    Evaluation,
    Options,
    StyleDistance,
    StyleGap,
    WholeDrafts,
    store_evaluation,
    stored_evaluation,
)
from twin_assets.language.empty_drafts import is_nearly_empty
from twin_assets.language.generation import Sampling, open_backend
from twin_assets.language.prompts import (
    DraftRequest,
    EncodedPrompt,
    asked,
    encode_example,
    encode_prompt,
    passage_limits,
    room,
    windows,
)
from twin_assets.language.recitation import Recitation, recitation, words
from twin_assets.orchestration.progress import Tell
from twin_assets.orchestration.subprocesses import pipes_child
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

WHOSE = ("base", "adapter", "author")
"""Fields of a draft: what two models made of a prompt, and what the author wrote."""

LEAST_WORDS = 40
"""One run of the length that drafting allows does not make a copy of a short draft."""

Kind = tuple[str, bool]
"""Prose or code, and whether it is English: texts are compared with their own kind only."""


def evaluate(
    manifest: ModelManifest, dataset: TableHandle, models: Models | None, options: Options, tell: Tell
) -> Evaluation:
    """Measure one version on its dataset's test split. models: needed only when something is held out."""
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
    if models is None or not held_out.rows:
        return found
    found.engine = models.engine
    scored = list(_score(models, manifest, held_out.rows, tell))
    found.likelihoods = likelihoods(by_cluster(scored))
    found.n_too_long = len(held_out.rows) - len(scored)
    tell("scoring where a turn ends")
    found.endings = endings(models, held_out.rows, *_room(manifest, models), passage_limits(manifest.recipe))
    found.drafts, prompts = _draft(models, manifest, draft_rows(held_out.rows, options.n_drafts), options, tell)
    if found.drafts:
        tell("comparing the drafts with the training texts")
        training = _Training(dataset)
        found.whole_drafts = _whole_drafts(found.drafts)
        found.recitation = _recitation(found.drafts, prompts, training)
        found.styles, found.style_gaps = _styles(found.drafts, held_out.rows, training.by_kind)
    return found


def _room(manifest: ModelManifest, models: Models) -> tuple[int, int]:
    """(context tokens, prompt tokens), as the version was trained and drafts. Raises BadRecipe."""
    context = int(manifest.recipe.get("context_tokens", models.context_tokens))
    return room(context, int(manifest.recipe.get("answer_tokens", context // 2)), models.context_tokens)


def _request(manifest: ModelManifest, row: Row) -> DraftRequest:
    """What a row asks for, with as much context as the version was trained to see and drafts by."""
    return DraftRequest.of_row(row, passage_limits(manifest.recipe))


def _score(models: Models, manifest: ModelManifest, rows: Sequence[Row], tell: Tell) -> Iterator[ScoredRow]:
    context, prompt_tokens = _room(manifest, models)
    for n, row in enumerate(rows, 1):
        if n % 10 == 0 or n == len(rows):
            tell(f"scored {n} of {len(rows)} held-out rows")
        try:
            example = encode_example(models.tokenizer, _request(manifest, row), row["answer"], prompt_tokens)
        except BadInput:
            continue
        pieces = list(windows(example, context, score_closing=False))
        base, adapter = models.nats("base", pieces), models.nats("adapter", pieces)
        yield ScoredRow(row["cluster_id"], row["category"], row["published_at"], example.answer_bytes, base, adapter)


def _draft(
    models: Models, manifest: ModelManifest, rows: Sequence[Row], options: Options, tell: Tell
) -> tuple[list[Draft], list[EncodedPrompt]]:
    """Drafts for the rows by base and adapter, and the prompts they were made from."""
    drafts: list[Draft] = []
    prompts: list[EncodedPrompt] = []
    _, prompt_tokens = _room(manifest, models)
    for n, row in enumerate(rows, 1):
        try:
            prompt = encode_prompt(models.tokenizer, _request(manifest, row), prompt_tokens)
        except BadInput:
            continue
        seed = int(digest(row["example_id"], 8), 16)
        sampling = Sampling(max_new_tokens=options.draft_tokens, seed=seed)
        sampling = sampling.for_category(Category(row["category"]))
        fields = {name: row[name] for name in ("example_id", "category", "language", "instruction")}
        base, adapter = (models.draft(name, prompt, sampling) for name in NAMES)
        drafts.append(Draft(**fields, base=base, adapter=adapter, author=row["answer"]))
        prompts.append(prompt)
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


def _whole_drafts(drafts: Sequence[Draft]) -> list[WholeDrafts]:
    """The share of whole drafts by category, so that one that is mute in prose is not hidden by its code."""
    return [
        WholeDrafts(
            category=category,
            n_drafts=len(own),
            base=round(sum(_is_whole(draft, draft.base) for draft in own) / len(own), 4),
            adapter=round(sum(_is_whole(draft, draft.adapter) for draft in own) / len(own), 4),
        )
        for category in sorted({draft.category for draft in drafts})
        for own in [[draft for draft in drafts if draft.category == category]]
    ]


def _is_whole(draft: Draft, text: str) -> bool:
    """True if a draft is not nearly empty, or is as long as what the author wrote there."""
    empty = is_nearly_empty(text, asked(draft.instruction), Category(draft.category))
    return not empty or (bool(text.strip()) and len(words(text)) >= len(words(draft.author)))


def _recitation(drafts: Sequence[Draft], prompts: Sequence[EncodedPrompt], training: _Training) -> dict[str, Copying]:
    """Of the drafts, and of the author's own texts for the same prompts: how much one repeats oneself anyway."""
    texts = [getattr(draft, whose) for whose in WHOSE for draft in drafts]
    shown = [[passage.text for passage in prompt.kept_passages] for prompt in prompts]
    found = recitation(texts, [prompt.text for prompt in prompts] * len(WHOSE), shown * len(WHOSE), training)
    n = len(drafts)
    return {whose: _copying(found[at * n : (at + 1) * n]) for at, whose in enumerate(WHOSE)}


def _copied_of_a_draft(found: Recitation) -> float:
    """The share of a draft's words that are copied; of a short one, as if it were LEAST_WORDS long."""
    return (found.trained.share + found.shown.share) * found.n_words / max(found.n_words, LEAST_WORDS)


def _copying(found: Sequence[Recitation]) -> Copying:
    return Copying(
        longest_run=max(one.trained.longest_run for one in found),
        copied=round(sum(one.trained.share for one in found) / len(found), 4),
        shown=round(sum(one.shown.share for one in found) / len(found), 4),
        shown_longest_run=max(one.shown.longest_run for one in found),
        worst=round(max(_copied_of_a_draft(one) for one in found), 4),
    )


def _styles(
    drafts: Sequence[Draft], held_out: Sequence[Row], training: dict[Kind, list[str]]
) -> tuple[list[StyleDistance], list[StyleGap]]:
    """Distances per kind of text, and the kinds that have none. A kind without a word of drafts is not passed over."""
    found: list[StyleDistance] = []
    gaps: list[StyleGap] = []
    for kind in sorted({_kind(draft.category, draft.language) for draft in drafts}):
        own = [draft for draft in drafts if _kind(draft.category, draft.language) == kind]
        answers = [row["answer"] for row in held_out if _kind(row["category"], row["language"]) == kind]
        sets = {
            "base": list(blocks(draft.base for draft in own)),
            "adapter": list(blocks(draft.adapter for draft in own)),
            "author": list(blocks(answers)),
        }
        measured = _style(kind, sets, StyleSpace.of(training.get(kind, []), english=kind[1]))
        if isinstance(measured, StyleGap):
            gaps.append(measured)
        else:
            found.append(measured)
    return found, gaps


def _style(kind: Kind, sets: dict[str, list[str]], space: StyleSpace | None) -> StyleDistance | StyleGap:
    """The distances of one kind, over sets of as many blocks as the smallest of the three has."""
    name, english = kind
    if not sets["adapter"]:
        return StyleGap(kind=name, english=english, reason="adapter wrote nothing")
    if not sets["base"]:
        return StyleGap(kind=name, english=english, reason="base wrote nothing")
    if not sets["author"]:
        return StyleGap(kind=name, english=english, reason="nothing held out")
    if space is None:
        return StyleGap(kind=name, english=english, reason="too little training text")
    n = min(len(one) for one in sets.values())
    distances = {whose: round(space.distance(one[:n]), 4) for whose, one in sets.items()}
    return StyleDistance(kind=name, english=english, n_blocks=n, **distances)


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
        if dataset.count("split = 'test'"):
            with open_models(open_backend(stores), manifest, tell) as models:
                found = evaluate(manifest, dataset, models, options, tell)
        else:
            found = evaluate(manifest, dataset, None, options, tell)
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
