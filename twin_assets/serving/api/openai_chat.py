"""Requests and responses in the shape of OpenAI's chat completions.

See: https://platform.openai.com/docs/api-reference/chat. We add the field `twin`: format and links in a request;
sources, versions and warnings in a response. A field of a request that a draft cannot honour becomes a warning.
"""

import time
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from twin_assets.documents import Category
from twin_assets.errors import BadInput
from twin_assets.language.generation import Sampling
from twin_assets.serving.drafting import AS_LONG_AS_TRAINED, MAX_LINKS, Draft, DraftSpec
from twin_assets.serving.model_choice import parse_model

MAX_ANSWER_TOKENS = 8_192
MAX_MESSAGES = 200

HARMLESS = frozenset({"metadata", "prompt_cache_key", "safety_identifier", "service_tier", "store", "user"})
"""Fields of a request that change nothing about a draft, and so need no warning."""


class TextPart(BaseModel):
    """A part of a message; only text is supported."""

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One turn of the chat."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    @property
    def text(self) -> str:
        """The whole text of the message."""
        return self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)


class StreamOptions(BaseModel):
    """Whether a stream ends with the token counts."""

    include_usage: bool = False


class TwinOptions(BaseModel):
    """Options that OpenAI's request has no field for."""

    model_config = ConfigDict(extra="forbid")

    format: Category | None = Field(default=None, description="article, post or code")
    links: list[str] = Field(default_factory=list, max_length=MAX_LINKS, description="pages to draw on")


class ChatRequest(BaseModel):
    """A request for a draft. model: `<author>` for the version in production, or `<author>@<version>`."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(max_length=300)
    messages: list[Message] = Field(min_length=1, max_length=MAX_MESSAGES)
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1, le=MAX_ANSWER_TOKENS)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=MAX_ANSWER_TOKENS)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    n: Literal[1] | None = None
    twin: TwinOptions = Field(default_factory=TwinOptions)

    def draft_spec(self) -> DraftSpec:
        """The same as a DraftSpec. Raises BadInput if the chat does not end with a message of the user."""
        author, version = parse_model(self.model)
        turns = [message for message in self.messages if message.role in ("user", "assistant")]
        if not turns or turns[-1].role != "user":
            raise BadInput("the last message must be the user's: it says what to write")
        return DraftSpec(
            author=author,
            prompt=turns[-1].text,
            version=version,
            category=self.twin.format,
            links=tuple(self.twin.links),
            history=_turns(turns[:-1]),
            sampling=self._sampling(),
            warnings=tuple(self._unsupported_warnings()),
        )

    def _sampling(self) -> Sampling:
        usual = AS_LONG_AS_TRAINED
        return Sampling(
            max_new_tokens=self.max_completion_tokens or self.max_tokens or usual.max_new_tokens,
            temperature=usual.temperature if self.temperature is None else self.temperature,
            top_p=usual.top_p if self.top_p is None else self.top_p,
            seed=self.seed,
        )

    def _unsupported_warnings(self) -> list[str]:
        warnings = []
        if any(message.role in ("system", "developer") for message in self.messages):
            warnings.append(
                "system messages are not used, as the model was trained on users' prompts alone: say it in the prompt"
            )
        asked = self.model_extra or {}
        if unknown := sorted(name for name, value in asked.items() if value and name not in HARMLESS):
            warnings.append(f"not supported and not used: {', '.join(unknown)}")
        return warnings


def _turns(messages: list[Message]) -> tuple[tuple[str, str], ...]:
    """Earlier messages as (prompt, draft) turns; several messages in a row from one side are joined."""
    turns: list[tuple[str, str]] = []
    prompt = ""
    for message in messages:
        if message.role == "user":
            prompt = f"{prompt}\n\n{message.text}" if prompt else message.text
        elif prompt:
            turns.append((prompt, message.text))
            prompt = ""
        elif turns:
            turns[-1] = (turns[-1][0], f"{turns[-1][1]}\n\n{message.text}")
    return tuple(turns)


def completion(draft: Draft, model: str) -> dict[str, Any]:
    """A finished draft as a chat completion."""
    return {
        "id": f"chatcmpl-{draft.id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": draft.text, "refusal": None},
                "logprobs": None,
                "finish_reason": draft.finish_reason,
            }
        ],
        "usage": _usage(draft),
        "twin": draft.about(),
    }


def _usage(draft: Draft) -> dict[str, int]:
    return {
        "prompt_tokens": draft.prompt_tokens,
        "completion_tokens": draft.draft_tokens,
        "total_tokens": draft.prompt_tokens + draft.draft_tokens,
    }


class Chunks:
    """The chunks of one streamed completion: the first one names the role, the last one carries `twin`."""

    def __init__(self, stream_id: str, model: str, include_usage: bool) -> None:
        self._head = {
            "id": stream_id,
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
        }
        self._include_usage = include_usage
        self._begun = False

    def piece(self, text: str) -> dict[str, Any]:
        """The chunk with the next characters."""
        return self._chunk({"content": text})

    def last(self, draft: Draft) -> list[dict[str, Any]]:
        """The last chunks: the end, and the usage in a chunk without choices if it was asked for."""
        chunks = [self._chunk({}, draft.finish_reason)]
        if self._include_usage:
            chunks.append(self._head | {"choices": [], "usage": _usage(draft)})
        chunks[-1]["twin"] = draft.about()
        return chunks

    def _chunk(self, delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
        role = {} if self._begun else {"role": "assistant"}
        self._begun = True
        return self._head | {"choices": [{"index": 0, "delta": role | delta, "finish_reason": finish_reason}]}
