"""What a piece is about, in a few phrases of its own: runs of words that its author's other pieces do not share.

A run of rare words may be a scrap of a sentence ("line error message"). So a phrase is one whose words are all said
again, or a name, and that the title does not say. Only a piece without a title, which has nothing else to say what it
is about, may have others.

Words are weighed by TF-IDF over the author's own documents (Spärck Jones 1972) and phrases by their words, much as RAKE
does (Rose et al. 2010, section 1.2). YAKE's package states three licences (LGPL, GPL and one of its own), and the
extractors of nltk and spaCy fetch data when first used. The document frequencies are rounded to powers of two: one more
document rarely changes another's phrases.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from twin_assets.documents import digest
from twin_assets.features.instructions.prose.generic_words import IN_ANY_TEXT

MAX_WORDS = 3
COMMON = 0.25
"""A word that stands in a larger share of an author's documents is no key word."""
ENOUGH_DOCUMENTS = 20
"""With fewer, how common a word is cannot be told, and only English has a list."""

_WORD = re.compile(r"[^\W\d_](?:[\w’'-]*\w)?")
_BREAK = re.compile(r"[.,;:!?()\[\]{}\"“”„«»*|<>#=—–/\\\n]+|\s-\s")
_VERB_OR_ADVERB = re.compile(r"[a-z].*(?:ed|ing|ly)$")
"""What ends so in English is rarely a thing to write about."""
_DATES = frozenset({
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday",
})  # fmt: skip
_CONTRACTED = re.compile(r"['’](ll|ve|re|d|m)$|n['’]t$")
_POSSESSIVE = re.compile(r"['’]s$")
UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]")


class KeyPhrases:
    """Finds key phrases of pieces of writing, given the words (`words_of`) of each of its author's documents."""

    def __init__(self, documents: Iterable[Iterable[str]]) -> None:
        self._documents: Counter[str] = Counter()
        self._n_documents = 0
        self._weighed: dict[str | None, dict[str, str]] = {}
        for words in documents:
            self._n_documents += 1
            self._documents.update(words)

    def fingerprint(self, words: Iterable[str], language: str | None) -> str:
        """The same as long as `of` finds the same in pieces of a text of these words."""
        # All documents are asked for, and they share most of their words.
        known = self._weighed.setdefault(language, {})
        weighed = []
        for word in words:
            if (found := known.get(word)) is None:
                found = known[word] = f"{word} {self._weight(word)} {self._is_common(word, language)}"
            weighed.append(found)
        return digest([self._n_documents >= ENOUGH_DOCUMENTS, weighed], 16)

    def of(self, prose: str, n: int, language: str | None, title: str = "") -> list[str]:
        """At most `n` phrases of a prose text, as it has them, in its order.

        None where words cannot be told apart or weighed: scripts without spaces, and other languages than English
        where the author has written little. None either, beside a title, where fewer than two stand for something.
        """
        if UNSPACED.search(prose) or (self._n_documents < ENOUGH_DOCUMENTS and language != "en"):
            return []
        counts = Counter(word.casefold() for word in _WORD.findall(f"{prose} {title}"))
        candidates = dict.fromkeys(phrase for part in _BREAK.split(prose) for phrase in self._runs(part, language))
        in_title = set(words_of(title))
        told = [
            phrase
            for phrase in candidates
            if not in_title.issuperset(words_of(phrase))
            and (_is_said_again(phrase, counts, language) or _is_name(phrase))
        ]
        if title and len(told) < 2:
            return []
        chosen_from = told if len(told) >= 2 else candidates
        scored = sorted(chosen_from, key=lambda phrase: (-self._score(phrase, counts), phrase))
        chosen: list[str] = []
        taken: set[str] = set()
        for phrase in scored:
            words = {word.casefold().removesuffix("s") for word in phrase.split()}
            if not words & taken:
                taken |= words
                chosen.append(phrase)
            if len(chosen) == n:
                break
        return [_POSSESSIVE.sub("", phrase) for phrase in sorted(chosen, key=prose.find)]

    def any_key_word(self, words: Iterable[str], language: str | None) -> bool:
        """Whether one of these words, in lower case, is a key word; never where they cannot be told from others."""
        if self._n_documents < ENOUGH_DOCUMENTS and language != "en":
            return False
        return any(not self._is_common(word, language) for word in words)

    def _runs(self, part: str, language: str | None) -> Iterable[str]:
        """Runs of key words between common ones, each of at most MAX_WORDS; no piece of a longer name."""
        run: list[str] = []
        before = ""
        for number, token in enumerate([*part.split(), ""]):
            if _WORD.fullmatch(token) and not self._is_common(token.casefold(), language):
                run.append(token)
                continue
            kept, after = run[:MAX_WORDS], [*run[MAX_WORDS:], token][0]
            if run and not (_are_of_a_name(before, kept[0]) or _are_of_a_name(kept[-1], after)):
                yield " ".join(kept)
            # A sentence's first word is no part of a name for its capital.
            run, before = [], token if number else ""

    def _score(self, phrase: str, counts: Counter[str]) -> float:
        """A word said once may be chance, said again it is a subject; so it counts for a fifth."""
        words = phrase.casefold().split()
        return sum(self._weight(word) * (math.log(counts[word]) or 1 / 5) for word in words) / math.sqrt(len(words))

    def _weight(self, word: str) -> int:
        return max(1, round(math.log2((self._n_documents + 1) / (self._documents[word] + 1))))

    def _is_common(self, word: str, language: str | None) -> bool:
        if (
            len(word) < 3
            or _CONTRACTED.search(word)
            or (language in ("en", None) and word.replace("’", "'") in IN_ANY_TEXT)
        ):
            return True
        return self._n_documents >= ENOUGH_DOCUMENTS and self._documents[word] > COMMON * self._n_documents


def _is_said_again(phrase: str, counts: Counter[str], language: str | None) -> bool:
    """Whether all its words are, and it is no verb; of single words, only what is written as a name says enough."""
    words = phrase.split()
    if any(counts[word.casefold()] < 2 for word in words):
        return False
    if language in ("en", None) and any(map(_VERB_OR_ADVERB.match, words)):
        return False
    return len(words) > 1 or not phrase.islower()


def _is_name(phrase: str) -> bool:
    """Whether all its words begin with a capital, of a single one more: `Linux kernel` is none, `Turing Award` is."""
    words = phrase.split()
    capitals = all(word[0].isupper() for word in words) and not _DATES.intersection(phrase.casefold().split())
    return capitals and (len(words) > 1 or sum(character.isupper() for character in phrase) > 1)


def _are_of_a_name(word: str, following: str) -> bool:
    """Whether two words that stand side by side begin with capitals both."""
    return word[:1].isupper() and following[:1].isupper()


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, each once, in order."""
    return sorted({word.casefold() for word in _WORD.findall(text)})


def joined(phrases: Sequence[str]) -> str:
    """`a, b and c`."""
    return f"{', '.join(phrases[:-1])} and {phrases[-1]}" if len(phrases) > 1 else "".join(phrases)
