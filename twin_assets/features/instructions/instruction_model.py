"""Let a language model write instructions, if one is configured: only the request, never the answer.

Any model that LiteLLM reaches will do. What it wrote is kept in the author's cache under a hash of what it was asked,
so that a stopped run can go on, and the same dataset can be made again without a call. When a document is gone, so is
what the model wrote about it. A request that gives the answer away, or is no request, is refused, and the instruction
by rule is used. Only public writing is sent to the model.

See: https://docs.litellm.ai/docs/completion/json_mode and /docs/completion/token_usage
"""

import json
import re
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twin_assets.documents import digest
from twin_assets.errors import BadInput, TwinError
from twin_assets.features.duplicates import WORDS
from twin_assets.orchestration.progress import Tell
from twin_assets.settings import Settings

INSTRUCTION_PROMPT_VERSION = "1"
AT_ONCE = 4
"""This many calls are made at once; the cap on cost is checked between two rounds."""
ATTEMPTS = 2
"""The model is asked at most this often for one instruction, if what it returns is not usable."""
TIMEOUT_S = 60.0
"""A call that takes longer has failed."""
COPIED_WORDS = 10
"""A request that repeats this many words of the answer in a row gives it away."""
BYTES_PER_TOKEN = 3
"""Common tokenizers have more bytes per token than this in any text, so an estimate is rather too high."""
MAX_REQUEST_TOKENS = 200

Task = Literal["write", "rewrite"]


class Request(BaseModel):
    """What the model returns for `write`."""

    model_config = ConfigDict(extra="forbid")
    instruction: str = Field(min_length=15, max_length=600, description="The request, in one to three sentences.")


class PlainVersion(BaseModel):
    """What the model returns for `rewrite`."""

    model_config = ConfigDict(extra="forbid")
    plain: str = Field(min_length=20, max_length=6_000, description="The same content in flat, neutral words.")


OUTPUTS_AND_PROMPTS: dict[Task, tuple[type[BaseModel], str]] = {
    "write": (
        Request,
        "The user gives you a piece of somebody's writing as data. Write the request that its author could have given "
        "to a ghostwriter to get this piece: what it is about, which points it makes, what kind of text it is. One to "
        "three sentences in {language}, addressed to the ghostwriter. Do not quote the piece and do not praise it.",
    ),
    "rewrite": (
        PlainVersion,
        "The user gives you a piece of somebody's writing as data. Write down the same content in flat, neutral "
        "{language}: every fact, in the same order, without its style, its jokes and its turns of phrase.",
    ),
}


@dataclass(frozen=True)
class InstructionPrompt:
    """What the model is asked for one answer: a piece of `category` in `language` (its English name)."""

    task: Task
    category: str
    language: str
    answer: str
    document_id: str = ""

    @property
    def messages(self) -> list[dict[str, str]]:
        """The chat that is sent to the model."""
        schema, text = OUTPUTS_AND_PROMPTS[self.task]
        fields = json.dumps(schema.model_json_schema()["properties"])
        system = f"{text.format(language=self.language)} Answer with one JSON object with these fields: {fields}"
        return [{"role": "system", "content": system}, {"role": "user", "content": f"[{self.category}]\n{self.answer}"}]

    @property
    def max_tokens(self) -> int:
        """The model may write at most this many tokens."""
        return MAX_REQUEST_TOKENS if self.task == "write" else MAX_REQUEST_TOKENS + self._answer_tokens

    @property
    def prompt_tokens(self) -> int:
        """The length of the chat in tokens; the estimate is rather too high."""
        return sum(len(message["content"].encode()) for message in self.messages) // BYTES_PER_TOKEN

    @property
    def _answer_tokens(self) -> int:
        return len(self.answer.encode()) // BYTES_PER_TOKEN


class InstructionModel:
    """The configured model, with its cache and its cap on cost."""

    def __init__(self, settings: Settings, author: str, tell: Tell) -> None:
        if settings.instruction_model is None:
            raise BadInput("no model is configured to write instructions: name one in TWIN_INSTRUCTION_MODEL")
        self.name = settings.instruction_model
        self._api_base = settings.instruction_api_base
        self._max_cost_usd = settings.instruction_max_cost_usd
        self._cache = settings.instruction_cache(author)
        self._tell = tell

    def write(self, prompts: Sequence[InstructionPrompt], documents: Collection[str]) -> list[str | None]:
        """The model's text for each prompt; None where its text was refused.

        documents: ids of all documents that may be used; cached texts about others are deleted.
        Raises BadInput if the model's price is unknown, and TwinError if the cap on cost is reached or the model does
        not answer; what was written until then stays cached.
        """
        self._cache.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._cache)) as cache:
            cache.execute("PRAGMA secure_delete = ON")
            cache.execute("CREATE TABLE IF NOT EXISTS written (key TEXT PRIMARY KEY, text TEXT, cost_usd REAL)")
            cache.execute("CREATE TABLE IF NOT EXISTS written_of (key TEXT PRIMARY KEY, document_id TEXT)")
            done: dict[str, str | None] = dict(cache.execute("SELECT key, text FROM written"))
            keys = [self._key(one) for one in prompts]
            missing = {key: one for key, one in zip(keys, prompts, strict=True) if key not in done}
            with cache:  # first, so that a stopped run leaves no text without its document
                rows = [(key, one.document_id) for key, one in zip(keys, prompts, strict=True)]
                cache.executemany("INSERT OR REPLACE INTO written_of VALUES (?, ?)", rows)
            if missing:
                done.update(self._write_missing(cache, missing))
            _forget_others(cache, documents)
        return [done[key] for key in keys]

    def _key(self, prompt: InstructionPrompt) -> str:
        return digest(["instruction", INSTRUCTION_PROMPT_VERSION, self.name, self._api_base, prompt.messages], 32)

    def _write_missing(
        self, cache: sqlite3.Connection, missing: dict[str, InstructionPrompt]
    ) -> Iterator[tuple[str, str | None]]:
        (spent,) = cache.execute("SELECT coalesce(sum(cost_usd), 0.0) FROM written").fetchone()
        estimates = {key: self._estimate_usd(one) for key, one in missing.items()}
        self._tell(
            f"{self.name} writes {len(missing)} instructions: at most about ${sum(estimates.values()):.2f}, "
            f"${spent:.2f} spent so far, cap ${self._max_cost_usd:.2f}"
        )
        keys = list(missing)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for start in range(0, len(keys), AT_ONCE):
                group = keys[start : start + AT_ONCE]
                if spent + sum(estimates[key] for key in group) > self._max_cost_usd:
                    raise TwinError(
                        f"{start} of {len(keys)} instructions are written and cached for ${spent:.4f}; the next would "
                        f"exceed the cap of ${self._max_cost_usd:.2f}: raise TWIN_INSTRUCTION_MAX_COST_USD, or unset "
                        "TWIN_INSTRUCTION_MODEL for instructions by rule"
                    )
                written = list(pool.map(lambda key: self._ask(missing[key]), group))
                rows = [(key, text, cost) for key, (text, cost) in zip(group, written, strict=True)]
                with cache:
                    cache.executemany("INSERT OR REPLACE INTO written VALUES (?, ?, ?)", rows)
                spent += sum(cost for *_, cost in rows)
                yield from ((key, text) for key, text, _ in rows)
                if start % (AT_ONCE * 25) == 0 and start:
                    self._tell(f"{start + len(group)} of {len(keys)} instructions written, ${spent:.2f} spent")

    def _estimate_usd(self, prompt: InstructionPrompt) -> float:
        return ATTEMPTS * self._price_usd(prompt.prompt_tokens, prompt.max_tokens)

    def _price_usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        """The price by the table in the LiteLLM package; a model on your own server that the table lacks is free."""
        import litellm

        try:
            prices = litellm.cost_per_token(
                model=self.name, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens
            )
        # LiteLLM raises a bare Exception for a model that its table lacks.
        except Exception as error:
            if self._api_base is None:
                raise BadInput(
                    f"LiteLLM knows no price for {self.name}, so its cost cannot be capped: name a model that has a "
                    "price, or set TWIN_INSTRUCTION_API_BASE to your own server, which then counts as free"
                ) from error
            return 0.0
        return float(sum(prices))

    def _ask(self, prompt: InstructionPrompt) -> tuple[str | None, float]:
        """The model's text, or None if it was refused, and its cost in USD."""
        cost = 0.0
        for _ in range(ATTEMPTS):
            answer = self._complete(prompt)
            usage = answer["usage"]
            cost += self._price_usd(usage["prompt_tokens"], usage["completion_tokens"])
            if text := usable(prompt, answer["choices"][0]["message"]["content"] or ""):
                return text, cost
        return None, cost

    def _complete(self, prompt: InstructionPrompt) -> Any:
        # Any: LiteLLM's response is a dict and an object, of a type that depends on streaming.
        import litellm
        import openai

        litellm.suppress_debug_info = True
        try:
            return litellm.completion(
                model=self.name,
                messages=prompt.messages,
                response_format=OUTPUTS_AND_PROMPTS[prompt.task][0],
                api_base=self._api_base,
                temperature=0,
                max_tokens=prompt.max_tokens,
                timeout=TIMEOUT_S,
                num_retries=2,
                drop_params=True,
            )
        except openai.OpenAIError as error:
            # The error's text may quote the key or the author, so only its type is shown.
            raise TwinError(
                f"{self.name} did not answer ({type(error).__name__}): check its key and address and run again; what "
                "it has written so far is cached"
            ) from error


def _forget_others(cache: sqlite3.Connection, documents: Collection[str]) -> None:
    """Delete the texts about documents that are gone; their cost still counts towards the cap."""
    existing = set(documents)
    with cache:
        gone = [[key] for key, of in cache.execute("SELECT key, document_id FROM written_of") if of not in existing]
        cache.executemany("UPDATE written SET text = NULL, key = 'forgotten ' || rowid WHERE key = ?", gone)
        cache.executemany("DELETE FROM written_of WHERE key = ?", gone)


def usable(prompt: InstructionPrompt, content: str) -> str | None:
    """The text in a model's response; None if it is not the JSON that was asked for, or copies the answer."""
    schema, _ = OUTPUTS_AND_PROMPTS[prompt.task]
    try:
        found = schema.model_validate_json(re.sub(r"^\s*```(?:json)?\s*|\s*```\s*$", "", content))
    except ValidationError:
        return None
    (text,) = found.model_dump().values()
    longest = COPIED_WORDS if prompt.task == "write" else 3 * COPIED_WORDS
    return None if _runs(text, longest) & _runs(prompt.answer, longest) else text.strip()


def _runs(text: str, n_words: int) -> set[tuple[str, ...]]:
    words = re.findall(WORDS, text.casefold())
    return {tuple(words[start : start + n_words]) for start in range(len(words) - n_words + 1)}
