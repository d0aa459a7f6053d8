"""Find what a piece is about, in a few of its own phrases: runs of words that are rare in the author's other pieces.

A run of rare words may be a scrap of a sentence ("line error message"). So a phrase has to be a name, or all its words
have to occur again, and the title must not say it already. Only a piece without a title may have other phrases, because
nothing else says what it is about.

Words are weighed by TF-IDF over the author's own documents (Spärck Jones 1972) and phrases by their words, much as RAKE
does (Rose et al. 2010, section 1.2). YAKE's package states three licences (LGPL, GPL and one of its own), and the
extractors of nltk and spaCy download data on first use. Document frequencies are rounded to powers of two, so that one
more document rarely changes another's phrases.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from twin_assets.documents import digest
from twin_assets.features.instructions.prose.generic_words import IN_ANY_TEXT

MAX_WORDS = 3
"""A phrase has at most this many words."""
COMMON = 0.25
"""A word that occurs in a larger share of an author's documents is no key word."""
ENOUGH_DOCUMENTS = 20
"""With fewer documents, counts cannot tell how common a word is, and only English has a list of common words."""

_WORD = re.compile(r"[^\W\d_](?:[\w’'-]*\w)?")
_BREAK = re.compile(r"[.,;:!?()\[\]{}\"“”„«»*|<>#=—–/\\\n]+|\s-\s")
_VERB_OR_ADVERB = re.compile(r"[a-z].*(?:ed|ing|ly)$")
"""Endings of English verbs and adverbs, which are rarely what a piece is about."""
_DATES = frozenset({
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday",
})  # fmt: skip
_CONTRACTED = re.compile(r"['’](ll|ve|re|d|m)$|n['’]t$")
_POSSESSIVE = re.compile(r"['’]s$")
UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]")


class KeyPhrases:
    """Finds the key phrases of a piece. documents: the words (`words_of`) of each of the author's documents."""

    def __init__(self, documents: Iterable[Iterable[str]]) -> None:
        self._documents: Counter[str] = Counter()
        self._n_documents = 0
        self._weighed: dict[str | None, dict[str, str]] = {}
        for words in documents:
            self._n_documents += 1
            self._documents.update(words)

    def fingerprint(self, words: Iterable[str], language: str | None) -> str:
        """A hash that stays the same as long as `extract` finds the same in a text of these words."""
        # This runs for all documents, and they share most of their words.
        known = self._weighed.setdefault(language, {})
        weighed = []
        for word in words:
            if (found := known.get(word)) is None:
                found = known[word] = f"{word} {self._weight(word)} {self._is_common(word, language)}"
            weighed.append(found)
        return digest([self._n_documents >= ENOUGH_DOCUMENTS, weighed], 16)

    def extract(self, prose: str, n: int, language: str | None, title: str = "") -> list[str]:
        """At most `n` phrases of a prose text, verbatim and in its order.

        The list is empty for scripts without spaces, for languages other than English if the author has few documents,
        and, if there is a title, when fewer than two phrases say something.
        """
        if UNSPACED.search(prose) or (self._n_documents < ENOUGH_DOCUMENTS and language != "en"):
            return []
        counts = Counter(word.casefold() for word in _WORD.findall(f"{prose} {title}"))
        candidates = dict.fromkeys(phrase for part in _BREAK.split(prose) for phrase in self._runs(part, language))
        in_title = set(words_of(title))
        telling = [
            phrase
            for phrase in candidates
            if not in_title.issuperset(words_of(phrase))
            and (_is_said_again(phrase, counts, language) or _is_name(phrase))
        ]
        if title and len(telling) < 2:
            return []
        chosen_from = telling if len(telling) >= 2 else candidates
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
        """True if one of these lower-case words is a key word; False if the author's documents are too few to tell."""
        if self._n_documents < ENOUGH_DOCUMENTS and language != "en":
            return False
        return any(not self._is_common(word, language) for word in words)

    def _runs(self, part: str, language: str | None) -> Iterable[str]:
        """Runs of at most MAX_WORDS key words between common words, without parts of longer names."""
        run: list[str] = []
        before = ""
        for number, token in enumerate([*part.split(), ""]):
            if _WORD.fullmatch(token) and not self._is_common(token.casefold(), language):
                run.append(token)
                continue
            kept, after = run[:MAX_WORDS], [*run[MAX_WORDS:], token][0]
            if run and not (_are_of_a_name(before, kept[0]) or _are_of_a_name(kept[-1], after)):
                yield " ".join(kept)
            # The capital of a sentence's first word does not make it a part of a name.
            run, before = [], token if number else ""

    def _score(self, phrase: str, counts: Counter[str]) -> float:
        """The weight of a phrase by its words. A word that occurs only once may be chance and counts a fifth."""
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
    """True if all words of a phrase occur again and none is a verb or adverb; a single word also needs a capital."""
    words = phrase.split()
    if any(counts[word.casefold()] < 2 for word in words):
        return False
    if language in ("en", None) and any(map(_VERB_OR_ADVERB.match, words)):
        return False
    return len(words) > 1 or not phrase.islower()


def _is_name(phrase: str) -> bool:
    """True for `Turing Award`, not for `Linux kernel`: all words begin with a capital; a single word needs two."""
    words = phrase.split()
    capitals = all(word[0].isupper() for word in words) and not _DATES.intersection(phrase.casefold().split())
    return capitals and (len(words) > 1 or sum(character.isupper() for character in phrase) > 1)


def _are_of_a_name(word: str, following: str) -> bool:
    """True if two adjacent words both begin with a capital."""
    return word[:1].isupper() and following[:1].isupper()


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, each once, sorted."""
    return sorted({word.casefold() for word in _WORD.findall(text)})


def joined(phrases: Sequence[str]) -> str:
    """The phrases as `a, b and c`."""
    return f"{', '.join(phrases[:-1])} and {phrases[-1]}" if len(phrases) > 1 else "".join(phrases)
