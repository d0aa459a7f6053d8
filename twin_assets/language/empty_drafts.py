"""Recognizes drafts that say nothing: nearly empty ones, rows of hashtags, and echoes of the request.

Evaluation counts such drafts, and drafting replaces them, by the same rule. An echo is only cut off if it is at the
start and ends with its line or sentence. If the sentence goes on, it may be the author's own way to begin.
"""

import re
from collections.abc import Sequence

from twin_assets.documents import Category
from twin_assets.language.recitation import words

MIN_WORDS = 12
"""Prose of fewer words than this, and of fewer than MIN_CHARACTERS, is nearly empty."""

MIN_CHARACTERS = 72
"""About the length of MIN_WORDS English words; it serves languages that put no spaces between words."""

MIN_CODE_WORDS = 4
"""Code with fewer names and keywords than this is nearly empty."""

ECHO_WORDS = 120
"""Of a longer instruction only the first line can be an echo, and only this many words of a line are compared."""

WORDS_PER_ECHO_ERROR = 8
"""An echo may differ from the instruction in one out of this many words."""

_ADDRESS = re.compile(r"https?://\S+|www\.\S+|[#@]\w+")
_TOKEN = re.compile(r"\S+")
_ENDS_HERE = re.compile(r"[^\S\n]*(?:\n|$)")


def is_nearly_empty(draft: str, asked: Sequence[str], category: Category | None = None) -> bool:
    """True if little is left of a draft without its hashtags, its links and its echo of the `asked` texts."""
    own = without_echo(draft, asked)
    if category == Category.CODE:
        return len(words(own)) < MIN_CODE_WORDS
    own = _ADDRESS.sub(" ", own)
    n_characters = sum(not character.isspace() for character in own)
    return len(words(own)) < MIN_WORDS and n_characters < MIN_CHARACTERS


def has_own_words(draft: str, asked: Sequence[str]) -> bool:
    """True if a draft has at least one word that is not an echo, hashtag or link."""
    return bool(words(_ADDRESS.sub(" ", without_echo(draft, asked))))


def without_echo(draft: str, asked: Sequence[str]) -> str:
    """The draft without any repetition, at its start, of one of the `asked` texts or its first line."""
    for _ in range(len(asked) + 1):
        end = max((_echo_end(draft, line) for line in _lines(asked)), default=0)
        if not end:
            break
        draft = draft[end:].lstrip()
    return draft


def may_be_echo(beginning: str, asked: Sequence[str]) -> bool:
    """True if a draft with this beginning may still turn out to repeat one of the `asked` texts."""
    begun = _compared_words(beginning)
    return any(
        len(begun) <= len(line) + len(line) // WORDS_PER_ECHO_ERROR
        and _distances(line[: len(begun)], begun)[-1] <= max(1, len(begun) // WORDS_PER_ECHO_ERROR)
        for line in map(_compared_words, _lines(asked))
    )


def _lines(asked: Sequence[str]) -> list[str]:
    """What an echo can repeat: a whole text, unless it is long, and its first line, which says what to do.

    The other lines are text to continue or rewrite, and a draft may rightly begin with them.
    """
    found = [text for text in asked if text.strip() and len(text.split()) <= ECHO_WORDS]
    found += [line for text in asked if len((line := text.strip().partition("\n")[0]).split()) > 2]
    return list(dict.fromkeys(found))


def _compared_words(text: str) -> list[str]:
    return [key for token in _TOKEN.findall(text) if (key := "".join(words(token)))][:ECHO_WORDS]


def _echo_end(draft: str, line: str) -> int:
    """Where a repetition of `line` at the draft's start ends; 0 if there is none. A heading does not count as one."""
    target = _compared_words(line)
    if not target or draft.startswith("#"):
        return 0
    tokens = [(key, m.end()) for m in _TOKEN.finditer(draft) if (key := "".join(words(m[0])))]
    tokens = tokens[: len(target) + len(target) // WORDS_PER_ECHO_ERROR + 1]
    distances = _distances(target, [key for key, _ in tokens])
    best = min(range(len(distances)), key=lambda n: (distances[n], -n))
    if not best or distances[best] > len(target) // WORDS_PER_ECHO_ERROR:
        return 0
    end = tokens[best - 1][1]
    after = _ENDS_HERE.match(draft, end)
    if after:
        return after.end()
    return end if draft[end - 1] in '.!?:”"' else 0


def _distances(target: Sequence[str], draft_words: Sequence[str]) -> list[int]:
    """The edit distance in words between `target` and each beginning of `draft_words`, from the empty one on."""
    row = list(range(len(target) + 1))
    found = [row[-1]]
    for word in draft_words:
        above, row = row, [row[0] + 1]
        for n, wanted in enumerate(target, 1):
            row.append(min(above[n] + 1, row[-1] + 1, above[n - 1] + (word != wanted)))
        found.append(row[-1])
    return found
