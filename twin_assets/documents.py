"""What crosses into the warehouse: one class per kind of document, each the single definition of its shape."""

import hashlib
import json
import re
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

AUTHOR_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
"""An author's slug: it is a partition key, a folder name and a model name."""


class Category(StrEnum):
    """What a document is; processing differs by this and never by platform."""

    ARTICLE = "article"
    POST = "post"
    CODE = "code"


Visibility = Literal["public", "private"]
Use = Literal["training", "quoting"]
Stage = Literal["candidate", "production", "rejected", "archived"]


def utcnow() -> datetime:
    """Now, aware and in UTC, cut to milliseconds because that is what the warehouse keeps."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def digest(value: Any, length: int = 64) -> str:
    """The first `length` hex digits of sha256 over `value` as canonical JSON; the one hash used for every identity."""
    return hashlib.sha256(_canonical(value).encode("utf-8", "surrogatepass")).hexdigest()[:length]


# One encoder for all: json.dumps would make one for each of a run's hundred thousand digests.
_canonical = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str).encode


class Stored(BaseModel):
    """A document of the warehouse: unknown keys are an error, so that a typo never becomes a silent field."""

    # Built when one is first used: definitions import all of them and use none.
    model_config = ConfigDict(extra="forbid", validate_assignment=True, defer_build=True)


class RawDocument(Stored):
    """One piece of an author's writing as its source gave it. `_id` is `author:source_id:external_id`."""

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
    archived_at: datetime | None = Field(default=None, description="when the export it came from was made")
    metadata: dict[str, Any] = Field(default_factory=dict)
    deleted_at: datetime | None = None
    left_out: list[Use] = Field(default_factory=list)

    @field_validator("published_at", "updated_at", "fetched_at", "archived_at", "deleted_at")
    @classmethod
    def _aware(cls, value: datetime | None) -> datetime | None:
        if value is None:
            return None
        value = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return value.replace(microsecond=value.microsecond // 1000 * 1000)

    @property
    def id(self) -> str:
        """The warehouse key."""
        return f"{self.author}:{self.source_id}:{self.external_id}"

    @property
    def content_hash(self) -> str:
        """Hash of the author's content; counts of likes and the time of fetching do not belong to it."""
        fields = ("title", "content", "url", "content_type", "category", "language", "visibility", "published_at")
        return digest([getattr(self, name) for name in fields])


class Consent(Stored):
    """The owner's statement that the content is theirs."""

    who: str
    when: datetime = Field(default_factory=utcnow)

    @classmethod
    def stated(cls, text: str) -> Self:
        """`who` or `who, 2026-11-24`; without a date it is stated now."""
        who, _, day = (part.strip() for part in text.rpartition(","))
        try:
            when = datetime.combine(date.fromisoformat(day), datetime.min.time()).astimezone()
        except ValueError:
            return cls(who=text.strip())
        return cls(who=who, when=when)


class Proof(Stored):
    """What showed that a source is its author's: a token on its page, or rel="me" links both ways; where and when."""

    kind: Literal["token", "rel_me"]
    url: str
    at: datetime = Field(default_factory=utcnow)


class Source(Stored):
    """One place an author's writing comes from."""

    id: str
    platform: str
    where: str = Field(description="handle, URL, folder or archive")
    token_env: str | None = Field(default=None, description="NAME of the environment variable with the token")
    cron: str | None = None
    options: dict[str, str] = Field(default_factory=dict)
    proof: Proof | None = Field(default=None, description="None: only the profile's consent vouches for it")


DEFAULT_RECIPE = "smollm2-cpu"
"""What a new author follows, and what drafts before anything is trained: its base model lies on the machine."""


class RecipeChoice(Stored):
    """A recipe the author subscribes to, with what differs for this author."""

    name: str
    overrides: dict[str, Any] = Field(default_factory=dict)


class ApiKey(Stored):
    """An API key; only its sha256 is kept."""

    label: str
    sha256: str
    created_at: datetime = Field(default_factory=utcnow)


class AuthorProfile(Stored):
    """Who an author is, where they write, what is trained for them."""

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
            raise ValueError(f"author id {value!r}: use 1 to 63 of a-z, 0-9 and '-', not starting with '-'")
        return value

    def overrides(self, recipe: str) -> dict[str, Any]:
        """What differs in a recipe for this author."""
        return next((choice.overrides for choice in self.recipes if choice.name == recipe), {})

    def source(self, source_id: str) -> Source | None:
        """The source with this id, if there is one."""
        return next((source for source in self.sources if source.id == source_id), None)


class Gate(Stored):
    """One line of the verdict that promotion reads."""

    name: str
    value: float | None
    limit: float | None
    passed: bool
    text: str = ""


class BaseModelRef(Stored):
    """Which weights an adapter sits on. `revision` is a hub commit or the sha256 of a local model's weights."""

    name: str
    revision: str
    precision: Literal["fp32", "bf16", "fp16", "nf4"] = "fp32"


class DatasetRef(Stored):
    """The immutable dataset table a model was trained on."""

    table: str
    version: str
    data_version: str


class ModelManifest(Stored):
    """A version of the registry: it exists once this stands in the warehouse. `_id` is `author@version`."""

    author: str
    version: str
    recipe_name: str
    recipe: dict[str, Any]
    recipe_hash: str
    base: BaseModelRef
    serving: Literal["adapter", "merged"] = "adapter"
    batchable: bool = True
    path: str = ""
    """Where its files lie: not stored, since they move with the data directory; the registry knows when it is read."""
    weights_sha256: str
    dataset: DatasetRef
    preference_pairs: DatasetRef | None = None
    """What a preference stage learned from; None: the recipe has none."""
    prompt_version: str
    prompt_template: Literal["tokenizer", "ours"]
    code_version: str
    tracking_run: str | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    evaluation: dict[str, Any] | None = None
    gates: list[Gate] = Field(default_factory=list)
    stage: Stage = "candidate"
    """Stored when it is rejected; whether it is or was in production is read from the alias, with who, when and why."""
    promoted_by: str | None = None
    promoted_at: datetime | None = None
    reason: str | None = None
    created_at: datetime = Field(default_factory=utcnow)

    @property
    def id(self) -> str:
        """The registry key, and the `model` of the HTTP API."""
        return f"{self.author}@{self.version}"

    @property
    def passed(self) -> bool:
        """Evaluated, and through every gate."""
        return self.evaluation is not None and bool(self.gates) and all(gate.passed for gate in self.gates)

    def prompt_warning(self, prompt_version: str) -> str | None:
        """What to tell whoever drafts with it when prompts now are of another version than it learned from."""
        if self.prompt_version == prompt_version:
            return None
        return (
            f"version {self.version} was trained on prompts of version {self.prompt_version}, and prompts are now of "
            f"version {prompt_version}: its drafts may be worse, train it again with `twin run {self.author} --recipe "
            f"{self.recipe_name}`"
        )


class SeenPassage(Stored):
    """A passage that a model was shown, as it was then. score: the search's; None for a linked page."""

    chunk_id: str
    title: str
    url: str
    text: str
    score: float | None = None
    linked: bool = False


class Interaction(Stored):
    """One draft that was asked for, what the model saw, what it wrote, and what its author made of it.

    It is opened when the draft is asked for and closed whatever happens; one that is `open` and old was cut off by a
    crash. What came with later versions has defaults, so that older records load; those were all `done`.
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
    """The request as the model saw it, in the words of the format; None in records that did not keep it."""
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
    """Of all tries."""
    tries: int = 1
    finish_reason: Literal["stop", "length"] | None = None
    copied_share: float | None = None
    warnings: list[str] = Field(default_factory=list)
