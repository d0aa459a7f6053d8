"""Which platform reads a place, and what a source is called."""

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin_assets.collection.locations import can_read, platform_for, source_id_for
from twin_assets.collection.registry import crawlers
from twin_assets.errors import BadSource


def test_a_url_and_a_folder_tell_their_platform(tmp_path):
    assert platform_for("https://skerrow.example/feed.xml") == "blog"
    assert platform_for(str(tmp_path)) == "files"


@pytest.mark.parametrize("where", ["http://[x", "http://", "nowhere", "ftp://a.example/", ""])
def test_a_place_that_nothing_reads_says_what_to_give(where):
    with pytest.raises(BadSource, match=r"nothing can be collected from .*\. Give blog: "):
        platform_for(where)


@pytest.mark.parametrize("where", ["a" * 3000, "/" + "a/" * 3000, "\0", "~nobody-at-all/x", "\ud83c"])
def test_a_place_that_cannot_be_looked_up_is_no_source_of_any_platform(where):
    for look in (platform_for, *(partial(can_read, crawler) for crawler in crawlers().values())):
        with pytest.raises(BadSource, match="cannot be looked up") as error:
            look(where)
        assert len(str(error.value)) < 300


@given(st.lists(st.tuples(st.sampled_from(["blog", "files"]), st.text(min_size=1, max_size=12)), max_size=8))
def test_source_ids_are_readable_distinct_and_the_same_place_keeps_its_own(places):
    taken: dict[str, str] = {}
    for platform, where in places:
        taken[source_id_for(platform, where, taken)] = where
    assert len(taken) == len(set(places))
    assert all(source_id_for(name.split("-")[0], where, taken) == name for name, where in taken.items())
    assert all(name.isascii() and " " not in name for name in taken)
