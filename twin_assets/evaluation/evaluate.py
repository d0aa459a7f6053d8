"""The evaluation process: measures one model version against its base model on the held-out clusters of its dataset.

    python -m twin_assets.evaluation.evaluate        started by the asset `evaluation_report` through Dagster Pipes

It is a separate process, so that the model's memory is freed when it ends. The result is `evaluation.json` beside the
adapter, written in one step at the end: a run that is killed earlier leaves nothing, and a run that finds the file has
nothing to do. The same version always gives the same bytes, because hashes choose the rows and seed the drafts.
"""

from collections import Counter
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
    context_limits,
    encode_example,
    encode_prompt,
    token_limits,
    windows,
)
from twin_assets.language.recitation import Recitation, RecitationSearch, words
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
"""How much training text of each kind the author's style is measured on: about 1,000 blocks, a second of work."""

WRITERS = ("base", "adapter", "author")
"""The fields of a draft that hold a text: the two models' drafts, and what the author wrote."""

MIN_WORDS = 40
"""A draft shorter than this counts as this long when its copied share is taken: a single run that drafting allows is
not to make a copy of it."""

Kind = tuple[str, bool]
"""`prose` or `code`, and whether it is English; texts are only compared with texts of the same kind."""


def evaluate(
    manifest: ModelManifest, dataset: TableHandle, models: Models | None, options: Options, tell: Tell
) -> Evaluation:
    """Measure one version on its dataset's test split. models: may be None when nothing is held out."""
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
    found.endings = endings(models, held_out.rows, *_token_limits(manifest, models), context_limits(manifest.recipe))
    found.drafts, prompts = _draft(models, manifest, draft_rows(held_out.rows, options.n_drafts), options, tell)
    if found.drafts:
        tell("comparing the drafts with the training texts")
        found.whole_drafts = _whole_drafts(found.drafts)
        found.recitation, style_texts = _read_training_texts(dataset, found.drafts, prompts)
        found.styles, found.style_gaps = _styles(found.drafts, held_out.rows, style_texts)
    return found


def _token_limits(manifest: ModelManifest, models: Models) -> tuple[int, int]:
    """(context tokens, prompt tokens), the same as in training and drafting. Raises BadRecipe."""
    context = int(manifest.recipe.get("context_tokens", models.context_tokens))
    return token_limits(context, int(manifest.recipe.get("answer_tokens", context // 2)), models.context_tokens)


def _request(manifest: ModelManifest, row: Row) -> DraftRequest:
    """The request of a row, showing as many passages as in the version's training and drafting."""
    return DraftRequest.from_row(row, context_limits(manifest.recipe))


def _score(models: Models, manifest: ModelManifest, rows: Sequence[Row], tell: Tell) -> Iterator[ScoredRow]:
    context, prompt_tokens = _token_limits(manifest, models)
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
    """Drafts for the rows by base and adapter, and the prompt of each."""
    drafts: list[Draft] = []
    prompts: list[EncodedPrompt] = []
    _, prompt_tokens = _token_limits(manifest, models)
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


def _read_training_texts(
    dataset: TableHandle, drafts: Sequence[Draft], prompts: Sequence[EncodedPrompt]
) -> tuple[dict[str, Copying], dict[Kind, list[str]]]:
    """What each writer's texts copy, and enough training answers of each kind to know the author's style.

    The answers are read in one pass; only STYLE_CHARACTERS of each kind stay in memory.
    """
    search = _recitation_search(drafts, prompts)
    style_texts: dict[Kind, list[str]] = {}
    n_characters: Counter[Kind] = Counter()
    for row in dataset.rows(["answer", "category", "language"], "split = 'train'"):
        search.read(row["answer"])
        kind = _kind(row["category"], row["language"])
        if n_characters[kind] < STYLE_CHARACTERS:
            n_characters[kind] += len(row["answer"])
            style_texts.setdefault(kind, []).append(row["answer"])
    results, n = search.results(), len(drafts)
    copying = {writer: _copying(results[at * n : (at + 1) * n]) for at, writer in enumerate(WRITERS)}
    return copying, style_texts


def _kind(category: str, language: str | None) -> Kind:
    return ("code", False) if category == "code" else ("prose", language == "en")


def _whole_drafts(drafts: Sequence[Draft]) -> list[WholeDrafts]:
    """The share of whole drafts by category: a model that writes no prose must not hide behind its code."""
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
    """True if a draft is not nearly empty, or is at least as long as the author's own text."""
    empty = is_nearly_empty(text, asked(draft.instruction), Category(draft.category))
    return not empty or (bool(text.strip()) and len(words(text)) >= len(words(draft.author)))


def _recitation_search(drafts: Sequence[Draft], prompts: Sequence[EncodedPrompt]) -> RecitationSearch:
    """A search for copies in the texts of all WRITERS, one writer after the other.

    The author's own texts for the same prompts show how much people repeat themselves anyway.
    """
    texts = [getattr(draft, writer) for writer in WRITERS for draft in drafts]
    shown = [[passage.text for passage in prompt.kept_passages] for prompt in prompts]
    return RecitationSearch(texts, [prompt.text for prompt in prompts] * len(WRITERS), shown * len(WRITERS))


def _copied_share(found: Recitation) -> float:
    """The share of a draft's words that are copied; a draft shorter than MIN_WORDS counts as that long."""
    return (found.trained.share + found.shown.share) * found.n_words / max(found.n_words, MIN_WORDS)


def _copying(found: Sequence[Recitation]) -> Copying:
    return Copying(
        longest_run=max(one.trained.longest_run for one in found),
        copied=round(sum(one.trained.share for one in found) / len(found), 4),
        shown=round(sum(one.shown.share for one in found) / len(found), 4),
        shown_longest_run=max(one.shown.longest_run for one in found),
        worst=round(max(_copied_share(one) for one in found), 4),
    )


def _styles(
    drafts: Sequence[Draft], held_out: Sequence[Row], training: dict[Kind, list[str]]
) -> tuple[list[StyleDistance], list[StyleGap]]:
    """The style distances by kind of text, and the kinds without one; a kind without any drafted text is among them."""
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
    """The distances for one kind, each over as many blocks as the smallest of the three sets has."""
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
    """Evaluate a version of the registry and store the result, unless that result is already stored."""
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
    """Read the request from Dagster Pipes, evaluate the version, and report progress in the run's log."""
    with pipes_child() as pipes:
        request: dict[str, Any] = dict(pipes.extras)
        options = Options.model_validate(request["options"])
        run(open_stores(), request["author"], request["version"], options, pipes.log.info)


if __name__ == "__main__":
    main()
