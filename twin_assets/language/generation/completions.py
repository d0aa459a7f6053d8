"""Generation by a server that takes token ids: POST /v1/completions, as vLLM serves it.

The prompt is sent as our own token ids, so that the model sees exactly what it was trained on. Each version is loaded
under its own name, `author@version`, and no name is ever used for other weights, because a server that reloads a name
may answer from what it cached for the old weights (vllm-project/vllm#42125). We decide what `author` alone means.

This code has never run against a real vLLM server, which needs a GPU; the tests use a local server with the same
protocol. See: https://docs.vllm.ai/en/latest/features/lora.html
"""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import httpx

from twin_assets.documents import ModelManifest
from twin_assets.errors import BadInput, Busy, TwinError
from twin_assets.language.base_models import BaseSpec, context_of, load_tokenizer, resolve_base
from twin_assets.language.generation.in_process import ADAPTER_FOLDER
from twin_assets.language.generation.sampling import Sampling
from twin_assets.language.generation.session import OnToken, PieceStream, Session, Stop
from twin_assets.language.prompts import EncodedPrompt, Window
from twin_assets.orchestration.progress import Tell, silent
from twin_assets.settings import secret

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from twin_assets.stores import Stores

CONNECT_S = 10.0
TOKEN_S = 120.0
"""How long a server may take for one token, including reading the prompt and serving others first."""


class Completions:
    """A backend with the models of a completions server. Safe to use from several threads."""

    def __init__(self, stores: "Stores") -> None:
        """Raises BadInput if the settings name no server."""
        settings = stores.settings
        if not settings.generation_url:
            raise BadInput("TWIN_GENERATION=completions needs TWIN_GENERATION_URL: the server's address, with /v1")
        self._stores = stores
        key = secret(settings.generation_key_env) if settings.generation_key_env else None
        self._client = httpx.Client(
            base_url=settings.generation_url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(TOKEN_S, connect=CONNECT_S),
        )
        self._loading = threading.Lock()

    def open(self, model: "ModelManifest | BaseSpec", tell: Tell = silent) -> "CompletionsSession":
        """Open a session with a version, which the server is asked to load, or with a base model."""
        base = model.base if isinstance(model, ModelManifest) else model
        spec = BaseSpec(name=base.name, revision=base.revision, precision=base.precision)
        name = base.name
        if isinstance(model, ModelManifest):
            name = model.id
            self._load(model)
        resolved = resolve_base(spec, self._stores.settings, tell)
        return CompletionsSession(self._client, name, load_tokenizer(resolved.path), context_of(resolved))

    def _load(self, manifest: ModelManifest) -> None:
        """Ask the server to load a version's adapter, unless it has it. A restarted server has forgotten it."""
        with self._loading:
            if manifest.id in self._served():
                return
            body = {"lora_name": manifest.id, "lora_path": self._adapter_path(manifest)}
            answer = ask(self._client, "POST", "load_lora_adapter", body)
            if answer.is_error and "already" not in answer.text:
                raise TwinError(
                    f"the completions server did not load {manifest.id} from {body['lora_path']}: {_reason(answer)}; "
                    "it needs access to that folder (TWIN_GENERATION_ADAPTERS) and must allow runtime loading "
                    "(VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, --enable-lora)"
                )

    def _served(self) -> set[str]:
        answer = ask(self._client, "GET", "models")
        return {row["id"] for row in answer.json().get("data", [])} if answer.is_success else set()

    def _adapter_path(self, manifest: ModelManifest) -> str:
        """The adapter's folder as the server sees it: under TWIN_GENERATION_ADAPTERS, or else the same as here."""
        root = self._stores.settings.generation_adapters
        if root:
            return f"{root.rstrip('/')}/{manifest.author}/{manifest.recipe_name}/{manifest.version}/{ADAPTER_FOLDER}"
        return str(self._stores.models.local_folder(manifest, self._stores.settings.cache_dir) / ADAPTER_FOLDER)


class CompletionsSession(Session):
    """A session with a model of the server, which itself decides how long to keep its adapters."""

    def __init__(
        self, client: httpx.Client, model: str, tokenizer: "PreTrainedTokenizerBase", context_tokens: int
    ) -> None:
        self._client = client
        self._model = model
        self.tokenizer = tokenizer
        self.context_tokens = context_tokens
        self.engine = f"completions server {client.base_url}"

    def _body(self, prompt: EncodedPrompt, sampling: Sampling) -> dict[str, Any]:
        return {
            "model": self._model,
            "prompt": prompt.ids,
            "max_tokens": min(sampling.max_new_tokens, self.context_tokens - len(prompt.ids)),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "repetition_penalty": sampling.repetition_penalty,
            "stream": True,
            "stream_options": {"include_usage": True},
            **({} if sampling.seed is None else {"seed": sampling.seed}),
        }

    def _pieces(self, prompt: EncodedPrompt, sampling: Sampling, stop: Stop, on_token: OnToken) -> PieceStream:
        counted = 0
        with _streamed(self._client, self._body(prompt, sampling)) as lines:
            for chunk in _chunks(lines):
                if stop is not None and stop.is_set():
                    return
                text = "".join(choice.get("text") or "" for choice in chunk.get("choices", []))
                total = (chunk.get("usage") or {}).get("completion_tokens", counted + bool(text))
                for _ in range(total - counted if on_token else 0):
                    on_token()  # type: ignore[misc]
                counted = max(counted, total)
                if text:
                    yield text

    def score(self, windows: Sequence[Window]) -> list[float] | None:
        """The nats of each window's masked tokens, from `prompt_logprobs`; None if the server gives none."""
        found = []
        for window in windows:
            body = {"model": self._model, "prompt": window.ids, "max_tokens": 1, "prompt_logprobs": 0}
            answer = ask(self._client, "POST", "completions", body)
            choices = answer.json().get("choices") if answer.is_success else None
            logprobs = choices[0].get("prompt_logprobs") if choices else None
            if not logprobs:
                return None
            found.append(_nats(window, logprobs))
        return found


def ask(client: httpx.Client, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
    """Send one request. Raises TwinError if the server cannot be reached."""
    try:
        return client.request(method, path, json=body)
    except httpx.TransportError as error:
        raise _unreachable(client, error) from error


@contextmanager
def _streamed(client: httpx.Client, body: dict[str, Any]) -> Iterator[Iterator[str]]:
    """The lines of a streamed answer. Leaving the context closes the connection, which tells the server to stop."""
    try:
        with client.stream("POST", "completions", json=body) as answer:
            if answer.is_error:
                answer.read()
                _raise_refused(answer)
            yield answer.iter_lines()
    except httpx.TransportError as error:
        raise _unreachable(client, error) from error


def _chunks(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The events of a stream. Raises TwinError if the server reports an error, or if the last event is missing."""
    for line in lines:
        if not line.startswith("data:"):
            continue
        if line.endswith("[DONE]"):
            return
        chunk = json.loads(line.removeprefix("data:"))
        if "error" in chunk:
            raise TwinError(f"the completions server stopped: {_message(chunk)}")
        yield chunk
    raise TwinError("the completions server stopped before the end of its answer")


def _raise_refused(answer: httpx.Response) -> NoReturn:
    """Raise Busy if the server says so, and otherwise TwinError with the server's own message."""
    if answer.status_code in (429, 503):
        wait = answer.headers.get("retry-after", "")
        raise Busy("the completions server is busy: try again in a moment", int(wait) if wait.isdigit() else 5)
    raise TwinError(f"the completions server refused ({answer.status_code}): {_reason(answer)}")


def _reason(answer: httpx.Response) -> str:
    try:
        return _message(answer.json())
    except ValueError:
        return answer.text[:200]


def _message(body: Any) -> str:
    error = body.get("error", body) if isinstance(body, dict) else body
    return str(error.get("message", error) if isinstance(error, dict) else error)[:200]


def _unreachable(client: httpx.Client, error: httpx.TransportError) -> TwinError:
    return TwinError(
        f"the completions server {client.base_url} cannot be reached ({type(error).__name__}): start it, or change "
        "TWIN_GENERATION_URL"
    )


def _nats(window: Window, logprobs: list[dict[str, dict[str, float]] | None]) -> float:
    """Sum the negative log-likelihoods of a window's masked tokens."""
    total = 0.0
    for token, scored, entry in zip(window.ids, window.mask, logprobs, strict=True):
        if scored and entry is not None:
            total -= entry[str(token)]["logprob"]
    return total
