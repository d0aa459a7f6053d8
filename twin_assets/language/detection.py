"""The language of a text, as a property of the document."""

from functools import cache
from typing import Any

MIN_LETTERS = 20
MIN_PROBABILITY = 0.7


def detect_language(text: str) -> str | None:
    """ISO 639-1 code; None when the text is too short or too mixed to tell (py3langid, Barbaresi 2021)."""
    if sum(character.isalpha() for character in text) < MIN_LETTERS:
        return None
    code, probability = _identifier().classify(text[:4_000])
    return str(code) if probability >= MIN_PROBABILITY else None


@cache
def _identifier() -> Any:
    # Any: py3langid has no types.
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
