"""Feeds as broken as they come. See benchmarks/fuzz.py, which found what stands here."""

import random

import pytest

from twin_assets.content.feeds import parse_html, plain_text, read_feed, remove, without_half_characters
from twin_assets.content.web import Response
from twin_assets.errors import BadSource
from twin_assets_tests.benchmarks import fuzz


def feed(body: bytes) -> Response:
    return Response("https://a.example/feed", 200, "application/rss+xml", body, "utf-8")


@pytest.mark.parametrize("reference", [b"&#xD83D;", b"&#xd83d;", b"&#55357;", b"&#x00D83D;", b"&#0055357;"])
def test_half_a_character_is_replaced_however_it_is_written(reference):
    assert without_half_characters(b"<a>" + reference + b"&#x1F600;&#65;</a>") == b"<a>&#xFFFD;&#x1F600;&#65;</a>"


def test_a_feed_that_feedparser_stumbles_over_is_a_source_that_cannot_be_read():
    body = fuzz.damaged(fuzz.FEED.encode(), random.Random("feed 829"))
    with pytest.raises(BadSource, match="is broken and cannot be read"):
        read_feed(feed(body))


def test_what_is_removed_takes_comments_along_and_leaves_the_text_after_it():
    body = parse_html("<p>one <!-- note --> two <img src='x'> three&#27;</p>")
    remove(body, elements=body.xpath(".//img | .//comment()"))
    assert plain_text(body) == "one two three\x1b"


def test_damaged_input_of_every_kind_is_read_or_refused_and_nothing_else_is_lost(capsys):
    fuzz.main(500)
    assert "no crash, no hang, no document lost" in capsys.readouterr().out
