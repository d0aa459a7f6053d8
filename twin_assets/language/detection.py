"""Detects the language of a text."""

from functools import cache
from typing import Any

MIN_LETTERS = 20
MIN_PROBABILITY = 0.7
_KNOWN_AS = {
    "nb": "no", "nn": "no", "arz": "ar", "ary": "ar", "wuu": "zh", "yue": "zh", "uzs": "uz", "sdh": "ku",
    "iw": "he", "in": "id", "ji": "yi",
}  # fmt: skip
"""Replacements for codes of single languages, by their macrolanguage, and for codes that ISO 639-1 has withdrawn.

See: https://iso639-3.sil.org/code_tables/macrolanguage_mappings/data
"""


def language_code(given: str | None) -> str | None:
    """One code for each language: `nb`, `nn-NO` and `no` all become `no`. None for an empty or missing code."""
    code = (given or "").replace("_", "-").partition("-")[0].strip().lower()
    return _KNOWN_AS.get(code, code) or None


def detect_language(text: str) -> str | None:
    """The ISO 639-1 code of a text's language; None if the text is too short or too mixed to tell."""
    if sum(character.isalpha() for character in text) < MIN_LETTERS:
        return None
    code, probability = _identifier().classify(text[:4_000])
    return language_code(code) if probability >= MIN_PROBABILITY else None


@cache
def _identifier() -> Any:
    # Any: py3langid has no types.
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
