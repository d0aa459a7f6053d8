import pytest

from twin_assets.documents import Category
from twin_assets.features.cleaning import clean, cleaned_row
from twin_assets.features.cleaning.document import without_tracking
from twin_assets_tests.conftest import raw


def test_a_post_keeps_what_makes_the_voice():
    text = "Line one.  \r\n\r\nLine two 🌊 #tides @constance-ferry"
    assert clean(raw("p", text, category=Category.POST)) == "Line one.\n\nLine two 🌊 #tides @constance-ferry\n"


def test_code_is_kept_exact():
    text = "def f():\n\n\n\n    return '&amp;'   \n"
    assert clean(raw("c.py", text, category=Category.CODE)) == text


def test_broken_encoding_is_repaired_and_typography_kept():
    assert clean(raw("a", "donâ€™t stop — “quoted”")) == "don’t stop — “quoted”\n"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example/x?utm_source=feed&id=3", "https://a.example/x?id=3"),
        ("https://a.example/x?a=%20b", "https://a.example/x?a=%20b"),
        ("https://a.example/x?fbclid=1", "https://a.example/x"),
    ],
)
def test_only_tracking_parameters_go(url, expected):
    assert without_tracking(url) == expected


def test_language_is_a_property_of_the_document():
    english = raw("e", "The harbour was quiet and the gauge told the truth for once this week.")
    chinese = raw("z", "港口很安静,水位计这周终于说了实话,我在灰色的日志里写下了这个数字。")
    rows = [cleaned_row(document, trainable=True, quotable=True) for document in (english, chinese)]
    assert [row["language"] for row in rows] == ["en", "zh"]


def test_a_document_without_text_makes_no_row():
    assert cleaned_row(raw("empty", " \n\n "), trainable=True, quotable=True) is None
