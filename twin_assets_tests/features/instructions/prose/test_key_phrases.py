import pytest

from twin_assets.features.instructions.prose.key_phrases import KeyPhrases, joined, words_of

TEXTS = [f"The morning was slow and the harbour lay still under number {n}." for n in range(30)]
PIECE = "The tide gauge lies. A tide gauge hangs on a chain, and the brass float rusts in the morning harbour."


def phrases_among(texts):
    return KeyPhrases(map(words_of, texts))


def test_phrases_are_what_a_piece_says_and_the_authors_others_do_not():
    phrases = phrases_among([*TEXTS, PIECE]).extract(PIECE, 3, "en")
    assert "tide gauge" in " ".join(phrases)
    assert all(phrase in PIECE for phrase in phrases)
    assert not [phrase for phrase in phrases if "morning" in phrase or "harbour" in phrase]


def test_phrases_stand_in_the_order_of_the_piece_and_share_no_word():
    phrases = phrases_among([*TEXTS, PIECE]).extract(PIECE, 4, "en")
    assert phrases == sorted(phrases, key=PIECE.find)
    words = " ".join(phrases).casefold().split()
    assert len(words) == len(set(words))


def test_one_document_more_rarely_changes_them():
    assert phrases_among([*TEXTS, PIECE, "Bread rises."]).extract(PIECE, 3, "en") == phrases_among(
        [*TEXTS, PIECE]
    ).extract(PIECE, 3, "en")


def test_where_words_cannot_be_told_apart_or_weighed_there_are_none():
    assert phrases_among(["潮水仪器" * 5] * 30).extract("潮水仪器挂在链条上。", 3, "zh") == []
    assert phrases_among(["Der Pegel lügt."]).extract("Der Pegel lügt.", 3, "de") == []
    german = phrases_among([f"Der Morgen war still und {n}." for n in range(30)])
    assert german.extract("Der Pegel ist müde, der Pegel war still.", 1, "de") == ["Pegel"]


def test_phrases_are_joined_as_one_says_them():
    assert [joined(list(names)) for names in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]


@pytest.mark.parametrize(
    ("text", "language", "before", "after"),
    [
        ("Ein Walross schläft im Hafen", "de", ["Regen fällt"] * 19, ["Regen fällt"] * 20),
        ("The walrus sleeps in the harbour", "en", ["the walrus"] * 4, ["the walrus"] * 40),
    ],
    ids=["enough documents to weigh words by", "a word that becomes common"],
)
def test_what_phrases_are_found_shows_in_the_fingerprint(text, language, before, after):
    one, other = phrases_among(before), phrases_among(after)
    assert one.extract(text, 3, language) != other.extract(text, 3, language)
    assert one.fingerprint(words_of(text), language) != other.fingerprint(words_of(text), language)
    assert one.fingerprint(words_of(text), language) == phrases_among(before).fingerprint(words_of(text), language)
