"""The plain version of a piece, from which the author's own is to be written: made by rules, without a model.

This is a back-off and no paraphrase. It takes away what carries a voice in English and is marked on the surface:
contractions, sentence openers and intensifiers, a hundred coloured words, emphasis, emoji, hashtags, exclamation marks,
dashes, semicolons and asides, and in posts the line breaks. It keeps the facts, their order and most of the words, so a
model learns from it to put rhythm and colour back, not to restructure. Adjectives stay: to tell them without a tagger
is guesswork. Code and addresses stay as they are. Other languages than English have no plain version by rule.
"""

import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

from twin_assets.documents import Category
from twin_assets.features.cleaning.blocks import change_prose, code_lines

MIN_CHANGE = 0.06
"""Share of words and marks that must differ: with less, to rewrite the piece would be to copy it."""
WRAPPED = 60
"""Characters of a line that an editor may have wrapped."""

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
    "merely|precisely|exactly|fairly|somewhat|indeed|of course|in fact"
)
PLAIN_WORDS = {
    "utilize": "use", "utilise": "use", "utilizes": "uses", "utilizing": "using", "leverage": "use",
    "leverages": "uses", "leveraging": "using", "commence": "begin", "purchase": "buy", "purchased": "bought",
    "terminate": "end", "terminates": "ends", "demonstrate": "show", "demonstrates": "shows", "demonstrated": "showed",
    "obtain": "get", "obtained": "got", "require": "need", "requires": "needs", "required": "needed",
    "attempt": "try", "attempts": "tries", "attempted": "tried", "construct": "build", "constructed": "built",
    "awful": "bad", "terrible": "bad", "horrible": "bad", "dreadful": "bad", "lousy": "bad", "nasty": "bad",
    "ugly": "bad", "hideous": "bad", "miserable": "bad", "terrific": "good", "excellent": "good", "superb": "good",
    "fantastic": "good", "wonderful": "good", "brilliant": "good", "great": "good", "awesome": "good", "neat": "good",
    "amazing": "good", "incredible": "good", "beautiful": "good", "elegant": "good", "gorgeous": "good",
    "lovely": "good", "delightful": "good", "tiny": "small", "minuscule": "small", "huge": "large", "enormous": "large",
    "massive": "large", "gigantic": "large", "vast": "large", "immense": "large", "tremendous": "large",
    "crucial": "important", "vital": "important", "essential": "important", "weird": "strange", "bizarre": "strange",
    "odd": "strange", "peculiar": "strange", "crazy": "strange", "insane": "strange", "nifty": "useful",
    "handy": "useful", "tricky": "difficult", "tough": "difficult", "trivial": "easy", "straightforward": "easy",
    "stupid": "bad", "silly": "bad", "dumb": "bad", "clever": "good", "smart": "good", "fascinating": "interesting",
    "intriguing": "interesting", "tedious": "boring", "dull": "boring", "annoying": "inconvenient",
    "frustrating": "inconvenient", "blazing": "fast", "rapid": "fast", "swift": "fast", "sluggish": "slow",
    "plethora": "number", "myriad": "number", "bunch": "number", "handful": "number", "folks": "people",
    "guys": "people", "kids": "children", "stuff": "things",
    "ubiquitous": "common", "shiny": "new", "ancient": "old", "therefore": "so", "thus": "so", "hence": "so",
    "nevertheless": "but", "nonetheless": "but", "moreover": "also", "furthermore": "also",
    "whilst": "while", "upon": "on", "perhaps": "maybe",
}  # fmt: skip

_KEPT = re.compile(r"(`[^`\n]+`|!?\[[^\]\n]*\]\([^)\n]*\)|<[^>\n]+>|https?://\S+)")
_EMPHASIS = re.compile(r"(?<![\w*_])(\*{1,3}|_{1,3})(?=[^\s*_])(.+?)(?<=[^\s*_])\1(?![\w*_])", re.DOTALL)
_EMOJI = re.compile("[ \t]*[\u2190-\u21ff\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\ufe0f\u200d\U0001f000-\U0001faff]+")
_HASHTAGS = re.compile(r"(?<!\S)#\w+[ \t]*")
_LIST_MARK = re.compile(r"^[ \t]*([-*+•–]|\d{1,2}[.)])[ \t]+", re.MULTILINE)
_WORD = re.compile(r"\b[A-Za-z][a-z]*(?:['’][a-z]+)?\b")
_OPENER = re.compile(rf"(^|(?<=[.!?:]\s)|(?<=\n))(?:{OPENERS}),\s+(\w)", re.IGNORECASE)
_INTENSIFIER = re.compile(rf"\s*,?\s\b(?:{INTENSIFIERS})\b(?=\s+[a-z])(?!\s+(?:as|like|enough|not)\b)")
_ARTICLE = re.compile(rf"\b([Aa])n? (?:{INTENSIFIERS}) ([a-z])")
_ASIDE = re.compile(r"\s\(([a-z][^()\n]{3,160}\s[^()\n]+)\)")
_DASH = re.compile(r"(?<=\S)(?:\s?—\s?|[ \t]+[–-]{1,2}[ \t]+)(?=[\w“‘(*])")
_CONJUNCTION = re.compile(r",\s+(and|but|so)\s+(I|you|he|she|it|we|they|this|there|that(?=['’]s|\s+(?:is|was)\b))\b")
_SEMICOLON = re.compile(r";(\s+)(\w)")
_HAS = re.compile(r"\b(it|that|there|he|she|who|what)['’]s (?=(?:been|got|had|become)\b)", re.IGNORECASE)
_HAD = re.compile(r"['’]d (?=(?:better|been)\b)")
_TRAILING = re.compile(r"(?:…|\.{3,})(?=\s+[a-z])")
_MORE = re.compile(r"\b(?:more|most)\s+$", re.IGNORECASE)
_THAT = re.compile(r"\s+that\b")
_SHOUT = re.compile(r"!+(?=\s|$)|(?:…|\.{3,})(?=\s|$)")
_HEADING = re.compile(r"^#{1,6} ", re.MULTILINE)
_ENDED = re.compile(r"[.!?:,;…][\"”’')*_]*$")
_TOKENS = re.compile(r"\w+|[^\w\s]|\n")


def plain_version(text: str, category: Category, language: str | None) -> str | None:
    """An English text without its marks of voice; None when it has none by rule, or too few to be worth a rewrite."""
    if language != "en" or category is Category.CODE:
        return None
    plain = change_prose(text, _plain_prose)
    if category is Category.POST and not _HEADING.search(plain) and not code_lines(plain):
        plain = _in_one_paragraph(plain)
    plain = plain.strip()
    return plain if plain and change(text, plain) >= MIN_CHANGE else None


def plain_sentence(sentence: str, language: str | None) -> str:
    """One sentence, flat where it is English."""
    return _plain_prose(sentence) if language == "en" else sentence


def change(before: str, after: str) -> float:
    """Share of the words, marks and line breaks of two texts that the other lacks, 0 to 1 (1 minus Dice, as bags)."""
    first, second = Counter(_TOKENS.findall(before)), Counter(_TOKENS.findall(after))
    total = first.total() + second.total()
    return 1 - 2 * (first & second).total() / total if total else 0.0


def _plain_prose(prose: str) -> str:
    prose = _EMPHASIS.sub(r"\2", prose)
    for change_words in (_plain_marks, _plain_words):
        prose = _outside_code(prose, change_words)
    return prose


def _outside_code(prose: str, change_part: Callable[[str], str]) -> str:
    """Changes what lies between spans of code, links and addresses; these split into the odd parts."""
    parts = _KEPT.split(prose)
    return "".join(part if number % 2 else change_part(part) for number, part in enumerate(parts))


def _plain_marks(part: str) -> str:
    part = _HASHTAGS.sub("", _EMOJI.sub("", part))
    part = _ASIDE.sub(lambda match: f", {match[1].rstrip('.!?')},", part)
    part = _DASH.sub(lambda match: ",\n" if "\n" in match[0] else ", ", part)
    part = _SEMICOLON.sub(lambda match: f".{match[1]}{match[2].upper()}", part)
    part = re.sub(r",\s*([.,;:!?])", r"\1", part)
    part = _CONJUNCTION.sub(_new_sentence, part)
    return _SHOUT.sub(".", _TRAILING.sub(",", part))


def _plain_words(part: str) -> str:
    part = _OPENER.sub(lambda match: match[1] + match[2].upper(), part)
    part = _HAD.sub(" had ", _HAS.sub(r"\1 has ", part.replace("However, ", "But ")))
    part = _WORD.sub(_plain_word, part)
    part = _ARTICLE.sub(lambda match: f"{match[1]}{'n' if match[2] in 'aeiou' else ''} {match[2]}", part)
    part = _INTENSIFIER.sub("", part)
    return re.sub(r"(?<=\S) {2,}", " ", part)


def _plain_word(match: re.Match[str]) -> str:
    word = match[0].replace("’", "'")
    plain = CONTRACTIONS.get(word.lower()) or PLAIN_WORDS.get(word.lower())
    if word.lower() in PLAIN_WORDS and _has_no_plain_word_here(match):
        return match[0]
    if plain is None:
        stem, ending = next(((word[: -len(e)], text) for e, text in ENDINGS.items() if word.endswith(e)), (word, ""))
        return stem + ending if ending else match[0]
    return plain[0].upper() + plain[1:] if word[0].isupper() else plain


def _has_no_plain_word_here(match: re.Match[str]) -> bool:
    """`more straightforward` is not `more easy`, and what is required that is not needed that."""
    before, after = match.string[max(0, match.start() - 8) : match.start()], match.string[match.end() :][:8]
    return bool(_MORE.search(before) or (match[0].lower().startswith("require") and _THAT.match(after)))


def _in_one_paragraph(prose: str) -> str:
    """Lines that were sentences become some, and so do list items; a long line before another was wrapped."""
    sentences = []
    for line, after in pairwise([*prose.split("\n"), ""]):
        words = _LIST_MARK.sub("", line).strip()
        goes_on = len(words) >= WRAPPED and after.strip() and not _LIST_MARK.match(after)
        if words:
            words = words[0].upper() + words[1:] if _LIST_MARK.match(line) else words
            sentences.append(words if goes_on or _ENDED.search(words) else f"{words}.")
    return " ".join(sentences)


def _new_sentence(match: re.Match[str]) -> str:
    subject = match[2]
    return f". But {subject}" if match[1] == "but" else f". {subject[0].upper()}{subject[1:]}"
