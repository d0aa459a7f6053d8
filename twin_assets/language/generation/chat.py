"""Generation by a chat provider through LiteLLM: a model that writes well, but no adapters and no likelihoods.

The provider applies its own chat template, so its model does not see exactly the tokens that ours are trained on; the
session's `engine` says so. A prompt only ever holds what may be quoted, so private writing is not sent.
See: https://docs.litellm.ai/docs/completion/input
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from twin_assets.documents import ModelManifest
from twin_assets.errors import BadInput, Busy, TwinError
from twin_assets.language.base_models import BaseSpec, load_tokenizer, resolve_base
from twin_assets.language.generation.sampling import Sampling
from twin_assets.language.generation.session import OnToken, PieceStream, Session, Stop
from twin_assets.language.prompts import EncodedPrompt, Window
from twin_assets.orchestration.progress import Tell, silent
from twin_assets.settings import secret

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from twin_assets.settings import Settings
    from twin_assets.stores import Stores

CONTEXT_TOKENS = 8_192
"""The context assumed for a model that LiteLLM does not know."""

TIMEOUT_S = 120.0
NO_KEY = "no-key"


class Chat:
    """A backend with one model, the provider's."""

    def __init__(self, stores: "Stores") -> None:
        """Raises BadInput if the settings name no model."""
        if not stores.settings.chat_model:
            raise BadInput("TWIN_GENERATION=chat needs TWIN_CHAT_MODEL: LiteLLM's name of a model, provider/model")
        self._stores = stores

    def open(self, model: "ModelManifest | BaseSpec", tell: Tell = silent) -> "ChatSession":
        """Open a session with the provider's model.

        model: a base model, of which only the tokenizer is used, to estimate lengths. Raises TwinError for a version.
        """
        if isinstance(model, ModelManifest):
            raise TwinError(
                f"{model.id} is an adapter, which a chat provider cannot run: unset TWIN_GENERATION, or ask for "
                f"{model.author}@untrained"
            )
        settings = self._stores.settings
        options = {"model": settings.chat_model, "api_base": settings.chat_api_base, "api_key": _key(settings)}
        return ChatSession(options, load_tokenizer(resolve_base(model, settings, tell).path))


def _key(settings: "Settings") -> str | None:
    """The API key; None leaves it to LiteLLM, which reads the provider's usual environment variable.

    Your own server with OpenAI's protocol may need no key, but OpenAI's client refuses to call without one.
    """
    if settings.generation_key_env:
        return secret(settings.generation_key_env)
    own_server = settings.chat_api_base and str(settings.chat_model).startswith("openai/")
    return NO_KEY if own_server and not os.environ.get("OPENAI_API_KEY") else None


class ChatSession(Session):
    """A session with a chat provider's model."""

    def __init__(self, options: dict[str, Any], tokenizer: "PreTrainedTokenizerBase") -> None:
        """options: model, api_base and api_key for litellm.completion. tokenizer: only for estimating lengths."""
        import litellm

        self._options = {name: value for name, value in options.items() if value}
        self.tokenizer = tokenizer
        self.engine = f"{options['model']} (the provider's own template)"
        self.context_tokens = CONTEXT_TOKENS
        with suppress(Exception):  # it raises a bare Exception for an unknown model
            self.context_tokens = int(litellm.get_model_info(options["model"])["max_input_tokens"] or CONTEXT_TOKENS)

    def _pieces(self, prompt: EncodedPrompt, sampling: Sampling, stop: Stop, on_token: OnToken) -> PieceStream:
        import litellm
        import openai

        litellm.suppress_debug_info = True
        request = {
            "messages": list(prompt.messages),
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            **({} if sampling.seed is None else {"seed": sampling.seed}),
        }
        answer = None
        try:
            answer = litellm.completion(
                **self._options, **request, stream=True, timeout=TIMEOUT_S, drop_params=True, num_retries=1
            )
            for chunk in answer:
                if stop is not None and stop.is_set():
                    return
                text = chunk.choices[0].delta.content if chunk.choices else None
                if text:
                    if on_token is not None:
                        on_token()
                    yield text
        except openai.RateLimitError as error:
            raise Busy(f"{self._options['model']} is busy: try again in a moment", retry_after_s=10) from error
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            # The error's text may contain the key, so it is not shown.
            raise TwinError(
                f"{self._options['model']} did not answer, because its provider refused the key "
                f"({type(error).__name__}): check TWIN_GENERATION_KEY_ENV"
            ) from error
        except openai.OpenAIError as error:
            raise TwinError(f"{self._options['model']} did not answer: {str(error)[:300]}") from error
        finally:
            _close_stream(answer)

    def score(self, windows: Sequence[Window]) -> None:
        """None, because a chat provider gives no likelihoods."""
        return


def _close_stream(answer: Any) -> None:
    """Close the connection, so that the provider stops writing. LiteLLM's own stream can only do so in asyncio."""
    # Any: each provider has its own type of stream, and some cannot be closed.
    close = getattr(getattr(answer, "completion_stream", None), "close", None)
    if close is not None:
        close()
