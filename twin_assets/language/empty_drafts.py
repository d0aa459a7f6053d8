"""When a draft says nothing: it is (nearly) empty, a row of hashtags, or repeats what it was asked.

Evaluation counts such drafts and drafting draws them again, by the same rule. An echo is only cut off where it stands
at the start and ends with its line or sentence: what goes on from there may be the author's own way to begin.
"""

import re
from collections.abc import Sequence

from twin_assets.documents import Category
from twin_assets.language.recitation import words

MIN_WORDS = 12
"""Prose of fewer words than this, and of fewer than MIN_CHARACTERS, is nearly empty."""

MIN_CHARACTERS = 72
"""As many as MIN_WORDS words of English take: for languages that write no spaces between their words."""

MIN_CODE_WORDS = 4
"""Code of fewer names and keywords than this is nearly empty."""

ECHO_WORDS = 120
"""A longer instruction is compared with the draft's beginning by its first line only, of that this many words."""

ECHO_MISTAKES = 8
"""An echo may differ from the instruction in one word of this many."""

_ADDRESS = re.compile(r"https?://\S+|www\.\S+|[#@]\w+")
_TOKEN = re.compile(r"\S+")
_ENDS_HERE = re.compile(r"[^\S\n]*(?:\n|$)")


def is_nearly_empty(draft: str, asked: Sequence[str], category: Category | None = None) -> bool:
    """True if little is left of a draft without its echo of what was `asked`, its hashtags and its links."""
    own = without_echo(draft, asked)
    if category == Category.CODE:
        return len(words(own)) < MIN_CODE_WORDS
    own = _ADDRESS.sub(" ", own)
    n_characters = sum(not character.isspace() for character in own)
    return len(words(own)) < MIN_WORDS and n_characters < MIN_CHARACTERS


def has_own_words(draft: str, asked: Sequence[str]) -> bool:
    """True if a draft holds at least one word that is no echo, hashtag or link."""
    return bool(words(_ADDRESS.sub(" ", without_echo(draft, asked))))


def without_echo(draft: str, asked: Sequence[str]) -> str:
    """The draft without a repetition of one of the `asked` texts, or of its first line, at its start."""
    for _ in range(len(asked) + 1):
        end = max((_echo_end(draft, line) for line in _lines(asked)), default=0)
        if not end:
            break
        draft = draft[end:].lstrip()
    return draft


def may_be_echo(beginning: str, asked: Sequence[str]) -> bool:
    """True if a draft that begins like this may yet turn out to repeat one of the `asked` texts."""
    begun = _spoken(beginning)
    return any(
        len(begun) <= len(line) + len(line) // ECHO_MISTAKES
        and _distances(line[: len(begun)], begun)[-1] <= max(1, len(begun) // ECHO_MISTAKES)
        for line in map(_spoken, _lines(asked))
    )


def _lines(asked: Sequence[str]) -> list[str]:
    """What an echo may repeat: a whole text, unless it is long, and its first line, which says what to do.

    No further line: those are material to go on from or to write anew, and a draft may well begin with it.
    """
    found = [text for text in asked if text.strip() and len(text.split()) <= ECHO_WORDS]
    found += [line for text in asked if len((line := text.strip().partition("\n")[0]).split()) > 2]
    return list(dict.fromkeys(found))


def _spoken(text: str) -> list[str]:
    return [key for token in _TOKEN.findall(text) if (key := "".join(words(token)))][:ECHO_WORDS]


def _echo_end(draft: str, line: str) -> int:
    """Where in the draft a repetition of `line` at its start ends; 0 when there is none. A heading is none."""
    target = _spoken(line)
    if not target or draft.startswith("#"):
        return 0
    spoken = [(key, m.end()) for m in _TOKEN.finditer(draft) if (key := "".join(words(m[0])))]
    spoken = spoken[: len(target) + len(target) // ECHO_MISTAKES + 1]
    distances = _distances(target, [key for key, _ in spoken])
    best = min(range(len(distances)), key=lambda n: (distances[n], -n))
    if not best or distances[best] > len(target) // ECHO_MISTAKES:
        return 0
    end = spoken[best - 1][1]
    after = _ENDS_HERE.match(draft, end)
    if after:
        return after.end()
    return end if draft[end - 1] in '.!?:”"' else 0


def _distances(target: Sequence[str], spoken: Sequence[str]) -> list[int]:
    """Edit distance in words between `target` and each beginning of `spoken`, the empty one first."""
    row = list(range(len(target) + 1))
    found = [row[-1]]
    for word in spoken:
        above, row = row, [row[0] + 1]
        for n, wanted in enumerate(target, 1):
            row.append(min(above[n] + 1, row[-1] + 1, above[n - 1] + (word != wanted)))
        found.append(row[-1])
    return found
