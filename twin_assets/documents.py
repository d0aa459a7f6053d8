"""What the warehouse stores: one class for each kind of document, each the only definition of its shape."""

import hashlib
import json
import re
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

AUTHOR_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
"""The form of an author's id, which is also a partition key, a folder name and a model name."""


class Category(StrEnum):
    """What kind of text a document is. Processing depends on this and never on the platform."""

    ARTICLE = "article"
    POST = "post"
    CODE = "code"


Visibility = Literal["public", "private"]
Use = Literal["training", "quoting"]
Stage = Literal["candidate", "production", "rejected", "archived"]


def utcnow() -> datetime:
    """The current time in UTC, cut to milliseconds because the warehouse keeps no more."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def digest(value: Any, length: int = 64) -> str:
    """The first `length` hex digits of the sha256 of `value` as canonical JSON. Every identity is made by this hash."""
    return hashlib.sha256(_canonical(value).encode("utf-8", "surrogatepass")).hexdigest()[:length]


# One encoder for all calls: json.dumps would make one for each of a run's hundred thousand digests.
_canonical = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str).encode


class Stored(BaseModel):
    """A document of the warehouse. Unknown keys are errors, so that no typo silently becomes a field."""

    # Validators are built on first use, because definitions import all these classes and use none.
    model_config = ConfigDict(extra="forbid", validate_assignment=True, defer_build=True)


class RawDocument(Stored):
    """One piece of an author's writing, as its source gave it. Its `_id` is `author:source_id:external_id`."""

    author: str
    source_id: str
    platform: str
    category: Category
    external_id: str
    url: str | None = None
    title: str | None = None
    content: str
    content_type: str = "text/markdown"
    language: str | None = None
    visibility: Visibility = "public"
    published_at: datetime | None = None
    updated_at: datetime | None = None
    fetched_at: datetime = Field(default_factory=utcnow)
    archived_at: datetime | None = Field(default=None, description="when the export that it came from was made")
    metadata: dict[str, Any] = Field(default_factory=dict)
    deleted_at: datetime | None = None
    left_out: list[Use] = Field(default_factory=list)
    """The uses that the author excludes this document from; set by the author, never by a crawler."""

    @field_validator("published_at", "updated_at", "fetched_at", "archived_at", "deleted_at")
    @classmethod
    def _aware(cls, value: datetime | None) -> datetime | None:
        if value is None:
            return None
        value = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return value.replace(microsecond=value.microsecond // 1000 * 1000)

    @property
    def id(self) -> str:
        """The document's `_id` in the warehouse."""
        return f"{self.author}:{self.source_id}:{self.external_id}"

    @property
    def content_hash(self) -> str:
        """A hash of the author's content, without counts of likes and the time of fetching."""
        fields = ("title", "content", "url", "content_type", "category", "language", "visibility", "published_at")
        return digest([getattr(self, name) for name in fields])


class Consent(Stored):
    """The author's statement that the content is theirs: who said so, and when."""

    who: str
    when: datetime = Field(default_factory=utcnow)

    @classmethod
    def stated(cls, text: str) -> Self:
        """Parse `who` or `who, 2026-11-24`; without a date, the consent is given now."""
        who, _, day = (part.strip() for part in text.rpartition(","))
        try:
            when = datetime.combine(date.fromisoformat(day), datetime.min.time()).astimezone()
        except ValueError:
            return cls(who=text.strip())
        return cls(who=who, when=when)


class Proof(Stored):
    """What proves that a source is the author's: a token on its page, or mutual rel="me" links; with URL and time."""

    kind: Literal["token", "rel_me"]
    url: str
    at: datetime = Field(default_factory=utcnow)


class Source(Stored):
    """One place that an author's writing comes from."""

    id: str
    platform: str
    where: str = Field(description="a handle, a URL, a folder or an archive")
    token_env: str | None = Field(default=None, description="NAME of the environment variable with the token")
    cron: str | None = None
    options: dict[str, str] = Field(default_factory=dict)
    proof: Proof | None = Field(
        default=None, description="None: only the consent in the profile vouches for the source"
    )


DEFAULT_RECIPE = "smollm2-cpu"
"""The recipe of a new author, whose base model also drafts before anything is trained; it needs no download."""


class RecipeChoice(Stored):
    """A recipe that the author subscribes to, with the author's own values for some of its keys."""

    name: str
    overrides: dict[str, Any] = Field(default_factory=dict)


class ApiKey(Stored):
    """An API key; only its sha256 is kept."""

    label: str
    sha256: str
    created_at: datetime = Field(default_factory=utcnow)


class AuthorProfile(Stored):
    """Who an author is, where they write, and what is trained for them."""

    id: str
    name: str
    consent: Consent
    sources: list[Source] = Field(default_factory=list)
    recipes: list[RecipeChoice] = Field(default_factory=list)
    promotion: Literal["manual", "automatic"] = "manual"
    train_private: bool = False
    api_keys: list[ApiKey] = Field(default_factory=list)
    created_at: datetime = Field(default_factory=utcnow)

    @field_validator("id")
    @classmethod
    def _slug(cls, value: str) -> str:
        if not AUTHOR_ID.fullmatch(value):
            raise ValueError(
                f"author id {value!r} is not usable: use 1 to 63 of a-z, 0-9 and '-', not starting with '-'"
            )
        return value

    def overrides(self, recipe: str) -> dict[str, Any]:
        """The author's own values for keys of a recipe."""
        return next((choice.overrides for choice in self.recipes if choice.name == recipe), {})

    def source(self, source_id: str) -> Source | None:
        """The source with this id; None if there is none."""
        return next((source for source in self.sources if source.id == source_id), None)


class Gate(Stored):
    """One line of the verdict that decides on promotion."""

    name: str
    value: float | None
    limit: float | None
    passed: bool
    text: str = ""


class BaseModelRef(Stored):
    """The weights that an adapter is made for. revision: a hub commit, or the sha256 of a local model's weights."""

    name: str
    revision: str
    precision: Literal["fp32", "bf16", "fp16", "nf4"] = "fp32"


class DatasetRef(Stored):
    """The immutable dataset table that a model was trained on."""

    table: str
    version: str
    data_version: str


class ModelManifest(Stored):
    """A model version. It exists once its manifest is in the warehouse. Its `_id` is `author@version`."""

    author: str
    version: str
    recipe_name: str
    recipe: dict[str, Any]
    recipe_hash: str
    base: BaseModelRef
    serving: Literal["adapter", "merged"] = "adapter"
    batchable: bool = True
    path: str = ""
    """Where the version's files are. The registry sets this on reading; it is not stored, since the data may move."""
    weights_sha256: str
    dataset: DatasetRef
    preference_pairs: DatasetRef | None = None
    """The pairs that the preference stage learned from; None if the recipe has no such stage."""
    prompt_version: str
    prompt_template: Literal["tokenizer", "ours"]
    code_version: str
    tracking_run: str | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    evaluation: dict[str, Any] | None = None
    gates: list[Gate] = Field(default_factory=list)
    stage: Stage = "candidate"
    """Only a rejection is stored here. Whether the version is or was in production is read from the alias."""
    promoted_by: str | None = None
    promoted_at: datetime | None = None
    reason: str | None = None
    created_at: datetime = Field(default_factory=utcnow)

    @property
    def id(self) -> str:
        """The key in the registry, and the `model` in the HTTP API."""
        return f"{self.author}@{self.version}"

    @property
    def passed(self) -> bool:
        """True if the version was evaluated and passed every gate."""
        return self.evaluation is not None and bool(self.gates) and all(gate.passed for gate in self.gates)

    def prompt_warning(self, prompt_version: str) -> str | None:
        """A warning for drafts, if the version was trained on prompts of another version; else None."""
        if self.prompt_version == prompt_version:
            return None
        return (
            f"version {self.version} was trained on prompts of version {self.prompt_version}, and prompts are now of "
            f"version {prompt_version}: its drafts may be worse, train it again with `twin run {self.author} --recipe "
            f"{self.recipe_name}`"
        )


class SeenPassage(Stored):
    """A passage as a model was shown it. score: from the search; None for a linked page."""

    chunk_id: str
    title: str
    url: str
    text: str
    score: float | None = None
    linked: bool = False


class Interaction(Stored):
    """One draft: the request, what the model saw, what it wrote, and what the author thought of it.

    An interaction is opened when the draft is asked for and closed however it ends; one that stays `open` was cut off
    by a crash. Fields that older records lack have defaults; those records were all `done`.
    """

    id: str
    author: str
    model_version: str
    prompt: str
    draft: str = ""
    sources: list[str] = Field(default_factory=list)
    rating: Literal["good", "bad"] | None = None
    edited: str | None = None
    consented: bool = False
    created_at: datetime = Field(default_factory=utcnow)

    outcome: Literal["open", "done", "cancelled", "failed"] = "done"
    error: str | None = None
    closed_at: datetime | None = None
    category: Category | None = None
    links: list[str] = Field(default_factory=list)
    query: str | None = None
    instruction: str | None = None
    """The request as the model saw it, in the words of the format; None in records that lack it."""
    passages: list[SeenPassage] = Field(default_factory=list)
    examples: list[str] = Field(default_factory=list)
    history: list[tuple[str, str]] = Field(default_factory=list)
    """Earlier (prompt, draft) turns that the model saw, oldest first."""
    prompt_text: str | None = None
    prompt_version: str | None = None
    sampling: dict[str, Any] = Field(default_factory=dict)
    first_token_ms: float | None = None
    total_ms: float | None = None
    prompt_tokens: int | None = None
    draft_tokens: int | None = None
    """The number of tokens that the model wrote, in all tries together."""
    tries: int = 1
    finish_reason: Literal["stop", "length"] | None = None
    copied_share: float | None = None
    warnings: list[str] = Field(default_factory=list)
