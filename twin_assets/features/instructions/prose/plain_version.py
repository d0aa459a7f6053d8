"""Make the plain version of a piece, by rules and without a model; a rewrite task turns it back into the author's own.

This is a fallback and no paraphrase. It removes what carries a voice in English and shows on the surface: contractions,
sentence openers and intensifiers, a hundred colourful words, emphasis, emoji, hashtags, exclamation marks, dashes,
semicolons and asides, and in posts the line breaks. It keeps the facts, their order and most of the words, so a model
learns from it to restore rhythm and colour, not to restructure. Adjectives stay, because finding them without a tagger
would be guesswork. Code and URLs stay as they are. Languages other than English have no plain version by rule.
"""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from twin_assets.documents import Category
from twin_assets.features.cleaning.blocks import change_prose, code_lines

MIN_CHANGE = 0.06
"""At least this share of words and marks has to differ; with less, rewriting the plain version would be copying it."""
MIN_WORDS_CHANGED = 3
"""At least this many words have to occur in only one of the two versions, counted in both."""
WRAPPED = 60
"""A line of at least this many characters may have been wrapped by an editor."""

CONTRACTIONS = {
    "can't": "cannot", "won't": "will not", "shan't": "shall not", "ain't": "is not", "let's": "let us",
    "it's": "it is", "that's": "that is", "there's": "there is", "here's": "here is", "what's": "what is",
    "who's": "who is", "he's": "he is", "she's": "she is", "where's": "where is", "how's": "how is", "i'm": "I am",
    "gonna": "going to", "wanna": "want to", "gotta": "have to", "kinda": "somewhat",
}  # fmt: skip
ENDINGS = {"n't": " not", "'re": " are", "'ve": " have", "'ll": " will", "'d": " would"}

OPENERS = (
    "well|oh|ah|hey|look|listen|sure|okay|ok|anyway|alas|indeed|honestly|frankly|seriously|basically|actually|"
    "of course|in fact|naturally|obviously|clearly|admittedly|fortunately|unfortunately|sadly|luckily|happily|"
    "after all|mind you|"
    "in other words|you see|needless to say|to be fair|to be honest|believe me|trust me|as it turns out|now|so|"
    "yes|no"
)
INTENSIFIERS = (
    "really|very|quite|just|actually|basically|simply|literally|pretty|totally|completely|absolutely|utterly|entirely|"
    "extremely|incredibly|remarkably|surprisingly|amazingly|ridiculously|terribly|awfully|wildly|truly|certainly|"
    "definitely|obviously|clearly|particularly|especially|essentially|perfectly|thoroughly|seriously|honestly|"
    "merely|exactly|fairly|somewhat|indeed|of course|in fact"
)
PLAIN_WORDS = {
    "utilize": "use", "utilise": "use", "utilizes": "uses", "utilizing": "using", "leverage": "use",
    "leverages": "uses", "leveraging": "using", "commence": "begin", "purchase": "buy", "purchased": "bought",
    "terminate": "end", "terminates": "ends", "demonstrate": "show", "demonstrates": "shows",
    "obtain": "get", "obtained": "got", "require": "need", "requires": "needs", "required": "needed",
    "attempt": "try", "attempts": "tries", "attempted": "tried", "construct": "build", "constructed": "built",
    "awful": "bad", "terrible": "bad", "horrible": "bad", "dreadful": "bad", "lousy": "bad", "nasty": "bad",
    "ugly": "bad", "hideous": "bad", "miserable": "bad", "terrific": "good", "excellent": "good", "superb": "good",
    "fantastic": "good", "wonderful": "good", "brilliant": "good", "great": "good", "awesome": "good", "neat": "good",
    "amazing": "good", "incredible": "good", "beautiful": "good", "elegant": "good", "gorgeous": "good",
    "lovely": "good", "delightful": "good", "tiny": "small", "minuscule": "small", "huge": "large", "enormous": "large",
    "massive": "large", "gigantic": "large", "vast": "large", "immense": "large", "tremendous": "large",
    "crucial": "important", "vital": "important", "essential": "important", "weird": "strange", "bizarre": "strange",
    "peculiar": "strange", "crazy": "strange", "insane": "strange", "nifty": "useful",
    "handy": "useful", "tricky": "difficult", "tough": "difficult", "trivial": "easy", "straightforward": "easy",
    "stupid": "bad", "silly": "bad", "fascinating": "interesting",
    "intriguing": "interesting", "tedious": "boring", "dull": "boring", "annoying": "inconvenient",
    "frustrating": "inconvenient", "blazing": "fast", "rapid": "fast", "swift": "fast", "sluggish": "slow",
    "plethora": "number", "myriad": "number", "bunch": "number", "handful": "number", "folks": "people",
    "guys": "people", "kids": "children", "stuff": "things",
    "ubiquitous": "common", "shiny": "new", "ancient": "old", "therefore": "so", "thus": "so", "hence": "so",
    "nevertheless": "but", "nonetheless": "but", "moreover": "also", "furthermore": "also",
    "whilst": "while", "upon": "on", "perhaps": "maybe",
}  # fmt: skip

_KEPT = re.compile(
    r"`[^`\n]+`|“[^”\n]+”|\"[^\"\n]+\"|!?\[[^\]\n]*\](?:\([^)\n]*\)|\[[^\]\n]*\])|<[^>\n]+>|https?://\S+"
)
MAX_HIDDEN = 0xF8FF - 0xE100
_HIDDEN = re.compile(r"[\ue100-\uf8ff]")
_EMPHASIS = re.compile(r"(?<![\w*_])(\*{1,3}|_{1,3})(?=[^\s*_])(.+?)(?<=[^\s*_])\1(?![\w*_])", re.DOTALL)
_ARROWS = "[\u2190-\u21ff\u2794\u2798-\u27af\u27b1-\u27be\u2b00-\u2b11\u2b60-\u2bb8\U0001f800-\U0001f8ff]"
_ARROW = rf"(?:{_ARROWS}(?!\ufe0f)|(?<=\w ){_ARROWS}(?=\ufe0f \w))"
"""An arrow that says something. With a variation selector behind it, it is an emoji, unless it is between words."""
_EMOJI = re.compile(
    rf"[ \t]*(?:(?!{_ARROW})[\u2190-\u21ff\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\ufe0f\u200d\U0001f000-\U0001faff])+"
)
_HASHTAGS = re.compile(r"(?<!\S)#(?=\w*[^\W\d_])\w+[ \t]*")
"""A hashtag has a letter in it; `#42` is a number."""
_LIST_MARK = re.compile(r"^[ \t]*([-*+•–]|\d{1,2}[.)])[ \t]+", re.MULTILINE)
_WORD = re.compile(r"\b[A-Za-z][a-z]*(?:['’][a-z]+)?\b")
_OPENER = re.compile(rf"(^|(?<=[.!?:]\s)|(?<=\n\n))(?:{OPENERS}),\s+(\w)", re.IGNORECASE)
_INTENSIFIER = re.compile(
    rf"(?<=\w)\s(?:{INTENSIFIERS})\b(?=\s+[a-z])(?!\s+(?:as|like|enough|not|in case|about|now|fine)\b)"
)
_NEGATED = re.compile(r"(?:\b(?:not|never|no|nor|neither|without|hardly|cannot)|n['’]t)(?:\s+\w+){0,3}$", re.IGNORECASE)
"""The beginning of a negated phrase, whose intensifier stays: `not so` would say more than `not quite so`."""
_JUST, _HAVE = re.compile(r"\s*just\b"), re.compile(r"\b(?:has|have|had)$|['’](?:ve|s|d)$")
"""`just` stays after a form of `have`: `has come` does not say the same as `has just come`."""
_ARTICLE = re.compile(rf"\b([Aa])n?(\s)(?:{INTENSIFIERS})\s([a-z]+)")
_SWAPPED = re.compile(rf"\b(?:([Aa])n?(\s))?({'|'.join(PLAIN_WORDS)})\b", re.IGNORECASE)
_VOWEL = re.compile(r"(?!us[eu]|uti|ubiq|uni(?![nmd])|eu|one)[aeiou]", re.IGNORECASE)
_INVERTED = re.compile(r"\b(\w+)n['’]t (I|you|he|she|it|we|they)\b(?=[^.!?\n]*\?)", re.IGNORECASE)
_ASIDE = re.compile(r"\s\(([a-z][^()\n]{3,160}\s[^()\n]+)\)")
_CLAUSE = re.compile(
    r"\b(I|you|he|she|it|we|they|which|who|is|are|was|were|has|have|had|does?|did|can|will|would|could|should)\b"
)
_DASH = re.compile(r"(?<=\S)(?:\s?—\s?|[ \t]+[–-]{1,2}[ \t]+)([\w“‘(*\ue100-\uf8ff])")
_BEGINS_CLAUSE = re.compile(r"(?:it|this|that|I|you|he|she|we|they|there|if|when)\b(?!\s+(?:is|was)\s+to\b)")
_CONJUNCTION = re.compile(r",\s+(and|but|so)\s+(I|you|he|she|it|we|they|this|there|that(?=['’]s|\s+(?:is|was)\b))\b")
_SEMICOLON = re.compile(r";(\s+)(\w)")
_HAS = re.compile(r"\b(it|that|there|he|she|who|what)['’]s (?=(?:been|got|had|become)\b)", re.IGNORECASE)
_GOT = re.compile(r"['’]ve got(?=\s(?:an?|the|this|that|these|those|my|your|our|some|no|two|three|\d+)\b)")
_GOES_ON = re.compile(r"[^.!?\n]*,\s+but\s")
_NOT_ONLY = re.compile(r"\bnot only\b[^.!?\n]*$", re.IGNORECASE)
_HAD = re.compile(
    r"['’]d (?=(?:(?:just|never|already|always|only|ever) )?(?:better|been|had|got|gone|done|made|said|seen|taken|"
    r"given|written|known|drawn|shown|thought|found|left|told|forgotten|chosen|broken|"
    r"(?!need|feed|heed|proceed|succeed|exceed|speed|embed|shed\b|wed\b)\w+ed)\b)"
)
_TRAILING = re.compile(r"(?:…|\.{3,})(?=\s+[a-z])")
_MORE = re.compile(r"\b(?:more|most)\s+$", re.IGNORECASE)
_THAT = re.compile(r"\s+that\b")
_SHOUT = re.compile(r"!+(?=[\s)\"”*_]|$)|(?:…|\.{3,})(?=\s|$)")
_HEADING = re.compile(r"^#{1,6} ", re.MULTILINE)
_OWN_LINE = re.compile(r"\s*[#|>]|.*(  $|\\$| \| )")
_NEW_BLOCK = re.compile(r"\s*([#|>]|[-*+•]\s|\d{1,2}[.)]\s|<|\[[^\]]*\]:|[-=]{2,}\s*$|.* \| )")
_ENDED = re.compile(r"[.!?:,;…][\"”’')*_]*$|https?://\S+$|!\[[^\]]*\]\([^)]*\)$|>$")
_TOKENS = re.compile(r"\w+|[^\w\s]|\n")


def plain_version(text: str, category: Category, language: str | None) -> str | None:
    """An English text without its marks of voice; None for another language, for code, or if too little changes."""
    if language != "en" or category is Category.CODE:
        return None
    if category is Category.POST and not _HEADING.search(text) and not code_lines(text):
        plain = " ".join(_sentences(_plain_prose(text)))
    else:
        text = change_prose(text, _unwrapped)
        plain = change_prose(text, _plain_prose)
    plain = plain.strip("\n")
    enough = change(text, plain) >= MIN_CHANGE and _words_changed(text, plain) >= MIN_WORDS_CHANGED
    return plain if plain and enough else None


def plain_sentence(sentence: str, language: str | None) -> str:
    """The plain version of one sentence; in a language other than English, the sentence itself."""
    return _plain_prose(sentence) if language == "en" else sentence


def change(before: str, after: str) -> float:
    """The share, 0 to 1, of the words, marks and line breaks of two texts that differ (1 minus Dice coefficient)."""
    first, second = Counter(_TOKENS.findall(before)), Counter(_TOKENS.findall(after))
    total = first.total() + second.total()
    return 1 - 2 * (first & second).total() / total if total else 0.0


def _words_changed(before: str, after: str) -> int:
    first, second = (Counter(_WORD.findall(text)) for text in (before, after))
    return (first - second).total() + (second - first).total()


def _plain_prose(prose: str) -> str:
    """Make prose plain, except spans of code, quotations, links and URLs, which a private-use character stands for."""
    kept: list[str] = []

    def hide(match: re.Match[str]) -> str:
        kept.append(match[0])
        return chr(0xE100 + len(kept) - 1) if len(kept) <= MAX_HIDDEN else match[0]

    hidden = _KEPT.sub(hide, _HIDDEN.sub("", prose))
    plain = _plain_words(_plain_marks(_EMPHASIS.sub(r"\2", hidden)))
    return _HIDDEN.sub(lambda match: kept[ord(match[0]) - 0xE100], plain)


def _plain_marks(part: str) -> str:
    part = _HASHTAGS.sub("", _EMOJI.sub("", part))
    part = _ASIDE.sub(_as_clause, part)
    part = _DASH.sub(_without_dash, part)
    part = _SEMICOLON.sub(lambda match: f".{match[1]}{match[2].upper()}", part)
    part = re.sub(r",\s*([.,;:!?])", r"\1", part)
    part = _CONJUNCTION.sub(_new_sentence, part)
    return _SHOUT.sub(".", _TRAILING.sub(",", part))


def _without_dash(dash: re.Match[str]) -> str:
    """A comma, or a full stop if a clause follows the only dash of a sentence; two dashes around a list stay."""
    text, start, end = dash.string, dash.start(), dash.start(1)
    begin = max(text.rfind(stop, 0, start) for stop in (". ", "! ", "? ", "\n\n"))
    stops = [at for stop in (". ", "! ", "? ", "\n\n") if (at := text.find(stop, end)) >= 0]
    before, after = _DASH.search(text, max(begin, 0), start), _DASH.search(text, end, min(stops, default=len(text)))
    between = text[before.end() : start] if before else text[end : after.start()] if after else ""
    if "," in between:
        return dash[0]
    space = "\n" if "\n" in dash[0] else " "
    is_sentence = not (before or after) and _BEGINS_CLAUSE.match(text, end)
    return f".{space}{dash[1].upper()}" if is_sentence else f",{space}{dash[1]}"


def _as_clause(aside: re.Match[str]) -> str:
    """An aside with a verb goes between commas; a mere list of names or tools stays in its brackets."""
    return f", {aside[1].rstrip('.!?')}," if _CLAUSE.search(aside[1]) else aside[0]


def _plain_words(part: str) -> str:
    part = _OPENER.sub(lambda match: match[1] + match[2].upper(), part)
    part = _GOT.sub(" have", part)
    part = _HAD.sub(" had ", _HAS.sub(r"\1 has ", part.replace("However, ", "But ")))
    part = _INVERTED.sub(_not_inverted, part)
    part = _WORD.sub(lambda match: _expanded(match[0]), part)
    part = _ARTICLE.sub(lambda match: match[0] if _is_needed(match) else _with_article(*match.groups()), part)
    part = _INTENSIFIER.sub(lambda match: match[0] if _is_needed(match) else "", part)
    part = _SWAPPED.sub(_plain_word, part)
    return re.sub(r"(?<=\S) {2,}(?=\S)", " ", part)


def _is_needed(match: re.Match[str]) -> bool:
    before = match.string[max(0, match.start() - 40) : match.start()]
    return bool(_NEGATED.search(before) or (_JUST.match(match[0]) and _HAVE.search(before)))


def _with_article(article: str, space: str, word: str) -> str:
    return f"{article}{'n' if _VOWEL.match(word) else ''}{space}{word}"


def _not_inverted(match: re.Match[str]) -> str:
    """Turn `haven't I` into `have I not`."""
    if match[1].lower() == "ai":
        return match[0]
    verb = {"ca": "can", "wo": "will", "sha": "shall"}.get(match[1].lower(), match[1])
    return f"{verb.capitalize() if match[1][0].isupper() else verb} {match[2]} not"


def _expanded(found: str) -> str:
    """A word with its contraction expanded."""
    word = found.replace("’", "'")
    plain = CONTRACTIONS.get(word.lower())
    if plain is None:
        stem, ending = next(((word[: -len(e)], text) for e, text in ENDINGS.items() if word.endswith(e)), (word, ""))
        return stem + ending if ending else found
    return plain[0].upper() + plain[1:] if word[0].isupper() else plain


def _plain_word(match: re.Match[str]) -> str:
    article, space, word = match.groups()
    if _has_no_plain_word_here(match):
        return match[0]
    plain = PLAIN_WORDS[word.lower()]
    plain = plain[0].upper() + plain[1:] if word[0].isupper() else plain
    return _with_article(article, space, plain) if article else plain


def _has_no_plain_word_here(match: re.Match[str]) -> bool:
    """True in `more straightforward` (not `more easy`), `required that` (not `needed that`) and `will thus`."""
    before, after = match.string[max(0, match.start() - 8) : match.start()], match.string[match.end() :][:8]
    if PLAIN_WORDS[match[3].lower()] == "so" and before.strip() and before.rstrip()[-1] not in ".!?,;:":
        return True
    return bool(_MORE.search(before) or (match[3].lower().startswith("require") and _THAT.match(after)))


def _sentences(prose: str) -> Iterator[str]:
    """Yield lines and list items as sentences; a long line with another below it counts as wrapped and gets no stop."""
    for line, after in pairwise([*prose.split("\n"), ""]):
        words = _LIST_MARK.sub("", line).strip()
        goes_on = len(words) >= WRAPPED and after.strip() and not _LIST_MARK.match(after)
        if words:
            words = words[0].upper() + words[1:] if _LIST_MARK.match(line) else words
            yield words if goes_on or _ENDED.search(words) else f"{words}."


def _unwrapped(prose: str) -> str:
    """Join the lines of each paragraph; in wrapped lines, uneven lengths would show what has been changed."""
    lines: list[str] = []
    for before, line in pairwise(["", *prose.split("\n")]):
        if before.strip() and line.strip() and not (_OWN_LINE.match(before) or _NEW_BLOCK.match(line)):
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line)
    return "\n".join(lines)


def _new_sentence(match: re.Match[str]) -> str:
    subject = match[2]
    if _NOT_ONLY.search(match.string[: match.start()]) or _GOES_ON.match(match.string, match.end()):
        return match[0]
    return f". {subject[0].upper()}{subject[1:]}" if match[1] == "and" else f". {match[1].capitalize()} {subject}"
