"""Which crawlers there are, and the options that a source may set."""

import pytest

from twin_assets.collection.registry import crawlers, wants
from twin_assets.documents import Source
from twin_assets.errors import BadSource


def test_every_file_of_the_folder_that_registers_a_crawler_is_a_platform():
    assert {"blog", "files"} <= set(crawlers())
    assert all(crawler.platform == name and crawler.accepted for name, crawler in crawlers().items())


@pytest.mark.parametrize(("value", "wanted"), [("yes", True), ("True", True), ("no", False), ("false", False)])
def test_an_option_is_yes_or_no(value, wanted):
    assert wants(Source(id="s", platform="p", where="w", options={"posts": value}), "posts") is wanted
    assert wants(Source(id="s", platform="p", where="w"), "posts") is False


def test_an_option_that_is_neither_yes_nor_no_is_an_error_that_names_it():
    with pytest.raises(BadSource, match="option posts of source s is 'sure': give yes or no"):
        wants(Source(id="s", platform="p", where="w", options={"posts": "sure"}), "posts")
