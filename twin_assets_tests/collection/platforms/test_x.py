import json
import zipfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, strategies
from hypothesis import settings as effort

from twin_assets.collection.crawl import crawl
from twin_assets.collection.events import Failed, Found, ListingComplete, Skipped
from twin_assets.collection.locations import can_read, platform_for
from twin_assets.collection.platforms.x import XCrawler
from twin_assets.collection.registry import archive_platform
from twin_assets.content.archives import Archive, Entry, open_archive
from twin_assets.content.web import WebClient
from twin_assets.documents import Category, Source
from twin_assets.errors import BadItem, BadSource

NOW = datetime.now(UTC).replace(microsecond=0)
WHEN = "Wed Oct 10 20:19:24 +0000 2018"
ADA, BOB = "101", "202"
ACCOUNT = {"account": {"username": "ada_l", "accountId": ADA, "accountDisplayName": "Ada", "createdVia": "web"}}


def tweet(tweet_id, text, *, to=None, user=ADA, name="ada_l", at=WHEN, urls=(), media=(), **more):
    """A tweet as the archive has it; to: the id of what it answers, whose author is `user`."""
    row = {
        "retweeted": False,
        "source": '<a href="https://mobile.twitter.com" rel="nofollow">Twitter Web App</a>',
        "entities": {
            "hashtags": [{"text": word[1:], "indices": ["0", "5"]} for word in text.split() if word.startswith("#")],
            "symbols": [],
            "user_mentions": [],
            "urls": [
                {"url": short, "expanded_url": whole, "display_url": whole[:20], "indices": ["0", "23"]}
                for short, whole in urls
            ],
        },
        "display_text_range": ["0", str(len(text))],
        "favorite_count": "1",
        "id_str": str(tweet_id),
        "truncated": False,
        "retweet_count": "0",
        "id": str(tweet_id),
        "created_at": at,
        "favorited": False,
        "full_text": text,
        "lang": "en",
    }
    if media:
        pictures = [{"url": short, "expanded_url": "https://twitter.com/ada_l/status/1/photo/1"} for short in media]
        row["entities"]["media"] = pictures[:1]
        row["extended_entities"] = {"media": pictures}
    if to is not None:
        row |= {
            "in_reply_to_status_id_str": str(to),
            "in_reply_to_status_id": str(to),
            "in_reply_to_user_id_str": user,
            "in_reply_to_user_id": user,
            "in_reply_to_screen_name": name,
        }
    return row | more


def note(note_id, text, at="2018-10-10T20:19:24.000Z", urls=()):
    return {
        "noteTweet": {
            "noteTweetId": str(note_id),
            "updatedAt": at,
            "lifecycle": {"value": "1", "name": "Active"},
            "createdAt": at,
            "core": {
                "styletags": [],
                "urls": [
                    {"expandedUrl": whole, "toIndex": "9", "shortUrl": short, "fromIndex": "0"} for short, whole in urls
                ],
                "text": text,
                "mentions": [],
                "cashtags": [],
                "hashtags": [],
            },
        }
    }


def ytd(name, rows):
    return f"window.YTD.{name} = {json.dumps(rows, indent=2, ensure_ascii=False)}"


def modern(tweets, **files):
    """The members of an archive of today; files: a name with _ for -, and its rows."""
    members = {
        "Your archive.html": "<html></html>",
        "assets/images/logo.svg": "<svg/>",
        "data/README.txt": "YOUR ARCHIVE",
        "data/account.js": ytd("account.part0", [ACCOUNT]),
        "data/tweets.js": ytd("tweets.part0", [{"tweet": row} for row in tweets]),
    }
    for name, rows in files.items():
        members[f"data/{name.replace('_', '-')}.js"] = ytd(f"{name}.part0", rows)
    return members


@pytest.fixture
def export(tmp_path):
    """export(members, days_ago=1) -> the path of an archive with these members."""
    made = []

    def make(members, days_ago=1, top=""):
        path = tmp_path / f"{len(made)}.zip"
        made.append(path)
        when = (NOW - timedelta(days=days_ago)).timetuple()[:6]
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in members.items():
                archive.writestr(zipfile.ZipInfo(top + name, when), text)
        return path

    return make


def events_of(path, **options):
    source = Source(id="x-inbox", platform="x", where=str(path), options=options)
    with open_archive(path) as archive:
        return list(XCrawler().import_archive(source, archive))


@pytest.fixture
def read(export):
    """read(members, option=…) -> the events of an archive with these members."""
    return lambda members, **options: events_of(export(members), **options)


@pytest.fixture
def posts(read):
    """posts(tweets, option=…, file=rows…) -> id to item."""

    def run(tweets, files=None, **options):
        events = read(modern(tweets, **(files or {})), **options)
        return {event.item.external_id: event.item for event in events if isinstance(event, Found)}

    return run


@pytest.fixture
def play(stores, settings, export):
    """play(members, days_ago, options) -> CrawlReport of an archive made then, always into one source."""

    def run(members, days_ago=1, options=None):
        path = str(export(members, days_ago))
        with WebClient(settings) as http:
            source = Source(id="x", platform="x", where=path, options=options or {})
            return crawl("ada", source, XCrawler(), stores.warehouse, http)

    return run


@pytest.fixture
def texts(stores):
    return lambda: {d.external_id: d.content for d in stores.warehouse.documents("ada") if d.deleted_at is None}


def left(events):
    return {event.item: event.reason for event in events if isinstance(event, Skipped)}


def test_a_post_has_its_text_date_address_and_tags(posts):
    item = posts([tweet(5, "Tides lie &amp; gauges &lt;3 &gt; #harbour")])["5"]
    assert (item.content, item.content_type) == ("Tides lie & gauges <3 > #harbour", "text/plain")
    assert item.published_at == datetime(2018, 10, 10, 20, 19, 24, tzinfo=UTC)
    assert item.url == "https://x.com/ada_l/status/5"
    assert (item.category, item.language, item.visibility) == (Category.POST, "en", "public")
    assert item.metadata == {"tweets": 1, "tags": ["harbour"]}


@pytest.mark.parametrize("typed", ["&amp;lt;", "&amp;amp;", "&amp;nbsp;"])
def test_what_the_author_escaped_stays_escaped(posts, typed):
    assert posts([tweet(5, f"In HTML: {typed}")])["5"].content == f"In HTML: {typed.replace('&amp;', '&', 1)}"


def test_short_links_become_whole_and_those_of_pictures_go(posts):
    urls = [("https://t.co/ab", "https://skerrow.example/?a=1&amp;b"), ("https://t.co/abc", "https://ada.example/")]
    row = tweet(5, "See https://t.co/abc, then https://t.co/ab https://t.co/pic", urls=urls, media=["https://t.co/pic"])
    assert posts([row])["5"].content == "See https://ada.example/, then https://skerrow.example/?a=1&amp;b"


def test_a_short_link_that_the_archive_does_not_know_stays(posts):
    row = tweet(5, "See https://t.co/gone and https://t.co/null", urls=[("https://t.co/null", "")])
    assert posts([row])["5"].content == "See https://t.co/gone and https://t.co/null"


def test_a_quote_keeps_the_authors_words_and_names_what_is_quoted(posts):
    row = tweet(5, "So true. https://t.co/q", urls=[("https://t.co/q", "https://twitter.com/bob/status/77?s=20")])
    item = posts([row])["5"]
    assert (item.content, item.metadata["quotes"]) == ("So true.", ["https://x.com/bob/status/77"])


@pytest.mark.parametrize(
    ("typed", "own"),
    [
        ("So true RT @bob: tides lie", "So true"),
        ("“@bob: tides lie” So true", "So true"),
        ('So true "@bob: tides lie"', "So true"),
        ("ART @home is fine", "ART @home is fine"),
    ],
)
def test_words_of_others_that_are_cited_as_people_used_to_are_not_the_authors(posts, typed, own):
    assert posts([tweet(5, typed)])["5"].content == own


def test_reposts_replies_and_posts_without_words_are_skipped_and_counted(read):
    picture, link = "https://t.co/pic", "https://t.co/link"
    events = read(
        modern(
            [
                tweet(1, "RT @bob: tides lie"),
                tweet(2, "RT @bob: gauges too"),
                tweet(3, "@bob no", to=9, user=BOB, name="bob"),
                tweet(4, "@bob hello", in_reply_to_user_id_str=BOB),
                tweet(5, "@bob before there were reply ids"),
                tweet(6, picture, media=[picture]),
                tweet(7, link, urls=[(link, "https://skerrow.example/")]),
                tweet(8, "My own."),
            ]
        )
    )
    assert [event.item.external_id for event in events if isinstance(event, Found)] == ["8"]
    assert left(events) == {
        "reposts": "2 in this archive: what others wrote",
        "replies to others": "3 in this archive: skipped unless the source has the option replies=yes",
        "posts without words": "2 in this archive: only a picture, a link, or what others wrote",
    }
    assert isinstance(events[-1], ListingComplete)


def test_replies_come_when_asked_for_without_the_names_in_front(posts):
    rows = [
        tweet(3, "@bob @eve no, they don't", to=9, user=BOB, name="bob"),
        tweet(4, "@ada_l @bob and here is why", to=3),
        tweet(5, "RT @bob: never"),
    ]
    item = posts(rows, replies="yes")["3"]
    assert item.content == "no, they don't\n\nand here is why"
    assert item.metadata["in_reply_to"] == "https://x.com/bob/status/9"
    assert set(posts(rows)) == set()


def test_a_thread_is_one_post_in_order_under_its_first_id(posts):
    rows = [
        tweet(30, "Third.", to=20, at="Wed Oct 10 20:30:00 +0000 2018"),
        tweet(10, "First. #tides"),
        tweet(20, "@ada_l Second. #gauges", to=10),
        tweet(40, "Another post."),
    ]
    found = posts(rows)
    assert list(found) == ["10", "40"]
    assert found["10"].content == "First. #tides\n\nSecond. #gauges\n\nThird."
    assert found["10"].published_at == datetime(2018, 10, 10, 20, 19, 24, tzinfo=UTC)
    assert found["10"].metadata == {"tweets": 3, "tags": ["gauges", "tides"]}


def test_a_picture_in_a_thread_takes_no_room(posts):
    rows = [tweet(1, "Look."), tweet(2, "https://t.co/p", to=1, media=["https://t.co/p"]), tweet(3, "Nice.", to=2)]
    assert posts(rows)["1"].content == "Look.\n\nNice."


def test_a_branch_is_a_post_of_its_own_and_the_earliest_reply_goes_on_with_the_thread(posts):
    rows = [tweet(1, "Root."), tweet(2, "Goes on.", to=1), tweet(3, "A branch.", to=1), tweet(4, "Its leaf.", to=3)]
    found = posts(rows)
    assert {name: item.content for name, item in found.items()} == {
        "1": "Root.\n\nGoes on.",
        "3": "A branch.\n\nIts leaf.",
    }
    assert found["3"].metadata["in_reply_to"] == "https://x.com/ada_l/status/1"


def test_a_longer_thread_updates_its_post_and_a_late_branch_changes_nothing_of_it(play, texts):
    rows = [tweet(1, "Root."), tweet(2, "Goes on.", to=1)]
    play(modern(rows), days_ago=9)
    report = play(modern([*rows, tweet(3, "And on.", to=2), tweet(4, "By the way.", to=1)]), days_ago=3)
    assert (report.new, report.changed, report.gone) == (1, 1, 0)
    assert texts() == {"1": "Root.\n\nGoes on.\n\nAnd on.", "4": "By the way."}
    assert play(modern(rows), days_ago=5).writes == 0


def test_what_the_author_deleted_is_gone_with_the_next_archive(play, texts):
    play(modern([tweet(1, "Root."), tweet(2, "Goes on.", to=1), tweet(5, "Other.")]), days_ago=9)
    deleted = {"deleted_tweets": [{"tweet": tweet(1, "Root.", deleted_at="2018-11-01T00:00:00.000Z")}]}
    assert play(modern([tweet(2, "Goes on.", to=1), tweet(5, "Other.")], **deleted), days_ago=3).gone == 1
    assert texts() == {"2": "Goes on.", "5": "Other."}


def test_a_second_import_writes_nothing(play):
    members = modern([tweet(1, "Root."), tweet(2, "Goes on.", to=1), tweet(3, "Other.")])
    assert play(members, days_ago=3).new == 2
    assert play(members, days_ago=1).writes == 0


def test_a_chain_that_runs_in_a_circle_loses_nothing_and_ends(posts):
    rows = [tweet(0, "Zero.", to=0), tweet(1, "One.", to=3), tweet(2, "Two.", to=1), tweet(3, "Three.", to=2)]
    assert {name: item.content for name, item in posts(rows).items()} == {
        "0": "Zero.",
        "1": "One.\n\nTwo.\n\nThree.",
    }


LONG = "The gauge at the harbour lies twice a day, and nobody minds, since the tide tables lie with it. " * 5


def test_a_long_post_is_read_whole(posts):
    cut = tweet(
        5, f"{LONG[:270]}… https://t.co/more", urls=[("https://t.co/more", "https://twitter.com/i/web/status/5")]
    )
    whole = f"{LONG}See https://t.co/note &amp; weep."
    urls = [("https://t.co/note", "https://skerrow.example/")]
    found = posts([tweet(4, "Short."), cut], {"note_tweet": [note(99, whole, urls=urls)]})
    assert found["5"].content == f"{LONG}See https://skerrow.example/ & weep."
    assert set(found) == {"4", "5"}
    assert "quotes" not in found["5"].metadata


def test_a_long_reply_in_a_thread_is_read_whole_though_links_differ(posts):
    cut = tweet(
        6, f"@ada_l At https://t.co/one {LONG[:200]}", to=5, urls=[("https://t.co/one", "https://skerrow.example/")]
    )
    whole = note(99, f"At https://t.co/two {LONG}", urls=[("https://t.co/two", "https://skerrow.example/")])
    found = posts([tweet(5, "First."), cut], {"note_tweet": [whole]})
    assert found["5"].content == f"First.\n\nAt https://skerrow.example/ {LONG.strip()}"


def test_a_note_is_told_from_others_by_time_and_beginning(read):
    at = "Thu Oct 11 20:19:24 +0000 2018"
    tweets = [tweet(5, f"{LONG[:250]}…"), tweet(6, f"{LONG[:240]}…", at=at), tweet(7, f"Else. {LONG[:200]}…")]
    notes = [note(90, f"{LONG}One."), note(91, f"{LONG}Two.", at="2018-10-11T20:19:25.000Z"), note(92, "x" * 300)]
    events = read(modern(tweets, note_tweet=notes))
    found = {event.item.external_id: event.item.content for event in events if isinstance(event, Found)}
    assert (found["5"][-4:], found["6"][-4:], found["7"][-1]) == ("One.", "Two.", "…")
    assert left(events) == {"note 92": "is the long text of no tweet in this archive"}


def test_an_edited_post_is_one_post_in_its_last_words(posts):
    first = tweet(5, "Teh gauge.", edit_info={"initial": {"editTweetIds": ["5", "6"], "editsRemaining": "4"}})
    edit = {"initialTweetId": "5", "editControlInitial": {"editTweetIds": ["5", "6"]}}
    rows = [tweet(6, "The gauge.", edit_info={"edit": edit}), first, tweet(7, "Lies.", to=6)]
    [item] = posts(rows).values()
    assert (item.external_id, item.url) == ("5", "https://x.com/ada_l/status/6")
    assert item.content == "The gauge.\n\nLies."


def test_an_answer_to_a_first_version_that_is_gone_still_belongs_to_its_post(posts):
    edit = {"initialTweetId": "5", "editControlInitial": {"editTweetIds": ["5", "6"]}}
    [item] = posts([tweet(6, "The gauge.", edit_info={"edit": edit}), tweet(7, "Lies.", to=5)]).values()
    assert (item.external_id, item.content) == ("5", "The gauge.\n\nLies.")


def test_posts_in_communities_are_public_and_those_to_a_circle_private(posts):
    files = {
        "community_tweet": [{"tweet": tweet(6, "To the sailors.", community_id_str="8")}],
        "twitter_circle_tweet": [{"tweet": tweet(7, "To friends.")}, {"tweet": tweet(5, "First.")}],
    }
    found = posts([tweet(5, "First."), tweet(8, "Fine.")], files)
    assert {name: item.visibility for name, item in found.items()} == {
        "5": "private",
        "6": "public",
        "7": "private",
        "8": "public",
    }


@pytest.mark.parametrize(("last", "visibility"), [("Protect", "private"), ("Unprotect", "public")])
def test_posts_of_an_account_that_is_protected_are_private(posts, last, visibility):
    history = [
        {"protectedHistory": {"protectedAt": "2024-03-01T10:00:00.000Z", "action": last}},
        {"protectedHistory": {"protectedAt": "2024-02-01T10:00:00.000Z", "action": "Protect"}},
    ]
    assert posts([tweet(5, "Hm.")], {"protected_history": history})["5"].visibility == visibility
    assert posts([tweet(5, "Hm.")], {"protected_history": history}, visibility="public")["5"].visibility == "public"


def test_a_post_that_old_archives_call_protected_is_private(posts):
    found = posts([tweet(5, "Hm.") | {"user": {"protected": True}}, tweet(6, "Ha.") | {"user": {"protected": False}}])
    assert (found["5"].visibility, found["6"].visibility) == ("private", "public")


def test_a_source_can_be_private_as_a_whole_and_a_wrong_option_is_named(posts):
    assert posts([tweet(5, "Hm.")], visibility="private")["5"].visibility == "private"
    with pytest.raises(BadSource, match=r"option replies of source .* is 'maybe': give yes or no"):
        posts([tweet(5, "Hm.")], replies="maybe")
    with pytest.raises(BadSource, match="option visibility='friends'"):
        posts([tweet(5, "Hm.")], visibility="friends")


def bare(name, rows):
    """Before 2020: no `tweet` around each."""
    return {"account.js": ytd("account.part0", [ACCOUNT]), "tweet.js": ytd(name, rows), "ageinfo.js": "x = []"}


def by_month(rows):
    old = [
        {key: value for key, value in row.items() if key != "full_text"} | {"text": row["full_text"]} for row in rows
    ]
    text = json.dumps(old[:1], indent=2)
    details = '{\n  "screen_name" : "ada_l",\n  "full_name" : "Ada",\n  "id" : "101"\n}'
    index = [{"file_name": f"data/js/tweets/{month}.js", "year": 2012} for month in ("2012_09", "2012_10")]
    return {
        "index.html": "<html></html>",
        "data/js/user_details.js": f"var user_details =  {details}",
        "data/js/payload_details.js": 'var payload_details = {"tweets": 2}',
        "data/js/tweet_index.js": f"var tweet_index =  {json.dumps(index)}",
        "data/js/tweets/2012_09.js": f" Grailbird.data.tweets_2012_09 = \n {text}",
        "data/js/tweets/2012_10.js": f"Grailbird.data.tweets_2012_10 = \n {json.dumps(old[1:])}",
    }


def parts(rows):
    members = modern(rows[:1])
    return members | {"data/tweets-part1.js": ytd("tweets.part1", [{"tweet": row} for row in rows[1:]])}


LAYOUTS = {
    "today": modern,
    "in parts": parts,
    "one part": lambda rows: {k.replace("tweets.js", "tweets-part0.js"): v for k, v in modern(rows).items()},
    "tweet.js": lambda rows: {k.replace("tweets.js", "tweet.js"): v for k, v in modern(rows).items()},
    "without the wrapper": lambda rows: bare("tweet.part0", rows),
    "by month": by_month,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("top", ["", "twitter-2024-01-01-abc/"])
def test_archives_of_every_age_read_the_same(export, layout, top):
    rows = [tweet(10, "First & = [x] “é” 😀"), tweet(20, "@ada_l Second.", to=10), tweet(30, "RT @bob: no")]
    path = export(LAYOUTS[layout](rows), top=top)
    events = events_of(path)
    [item] = [event.item for event in events if isinstance(event, Found)]
    assert (item.external_id, item.content) == ("10", "First & = [x] “é” 😀\n\nSecond.")
    assert item.url == "https://x.com/ada_l/status/10"
    assert isinstance(events[-1], ListingComplete)
    with open_archive(path) as archive:
        assert XCrawler().recognises(archive.names)


def test_an_unpacked_archive_or_its_data_folder_reads_the_same(export, tmp_path):
    with zipfile.ZipFile(export(modern([tweet(10, "First.")], ageinfo=[]))) as archive:
        archive.extractall(tmp_path / "unpacked")
    for folder in ("unpacked", "unpacked/data"):
        with open_archive(tmp_path / folder) as opened:
            assert XCrawler().recognises(opened.names)
        [found, _] = events_of(tmp_path / folder)
        assert found.item.url == "https://x.com/ada_l/status/10"


def test_without_an_account_file_the_address_names_nobody(read):
    [found, _] = read({"data/tweets.js": ytd("tweets.part0", [{"tweet": tweet(10, "First.")}])})
    assert found.item.url == "https://x.com/i/status/10"


@pytest.mark.parametrize(
    "names",
    [
        ["data/tweets.js", "index.md", "_posts/2024-01-31-a.md"],
        ["tweets.js", "account.js", "package.json"],
        ["tweets/data/js/tweets/2012_10.js", "tweets/data/js/tweet_index.js", "index.md"],
        ["data/deleted-tweets.js", "data/account.js"],
        ["posts.csv", "posts/1.a.html"],
        ["Shares.csv", "Profile.csv"],
        ["README.md"],
        [],
    ],
)
def test_other_folders_are_no_archive(names):
    assert not XCrawler().recognises(names)


def test_it_is_told_by_its_contents_and_nothing_live_is_taken(export, tmp_path, settings):
    path = export(modern([tweet(5, "Hm.")])).rename(tmp_path / "photos.zip")
    with open_archive(path) as archive:
        assert archive_platform(archive) == "x"
    assert platform_for(str(path)) == "x"
    crawler = XCrawler()
    assert can_read(crawler, "inbox")
    for where in ("@ada_l", "https://x.com/ada_l", "https://twitter.com/ada_l", str(path), ""):
        assert not crawler.accepts(where)
    source = Source(id="x", platform="x", where="@ada_l")
    assert crawler.needs_archives(source)
    with (
        WebClient(settings) as http,
        pytest.raises(BadSource, match=r"no free API, .* archive only; .* Request archive"),
    ):
        crawler.collect(source, {}, http)


def test_a_damaged_file_is_named_the_rest_read_and_nothing_taken_as_deleted(read):
    members = parts([tweet(1, "One."), tweet(2, "Two."), tweet(3, "Three.")])
    members["data/tweets-part1.js"] = members["data/tweets-part1.js"][:-300]
    events = read(members)
    assert [event.item.content for event in events if isinstance(event, Found)] == ["One.", "Two."]
    [failed] = [event for event in events if isinstance(event, Failed)]
    assert failed.item == "data/tweets-part1.js"
    assert "is damaged after entry 1" in failed.reason
    assert not isinstance(events[-1], ListingComplete)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "window.YTD.tweets.part0 = ",
        "window.YTD.tweets.part0 = [",
        "alert(1)",
        "x = " + "[" * 100_000,
        b"x = [\xff]",
    ],
    ids=range(6),
)
def test_an_archive_without_a_readable_tweet_is_an_error(read, text):
    with pytest.raises(BadSource, match="holds no readable tweet: nothing is taken as deleted"):
        read(modern([]) | {"data/tweets.js": text})


def test_an_entry_that_is_no_tweet_is_named_and_the_rest_read(read):
    rows = [{"tweet": {"id_str": "7"}}, {"tweet": {"full_text": "x", "id_str": "x"}}, 5, {"tweet": tweet(8, "Fine.")}]
    events = read(modern([]) | {"data/tweets.js": ytd("tweets.part0", rows)})
    failed = [event.item for event in events if isinstance(event, Failed)]
    assert failed == ["7", "data/tweets.js entry 2", "data/tweets.js entry 3"]
    assert [event.item.external_id for event in events if isinstance(event, Found)] == ["8"]
    assert not isinstance(events[-1], ListingComplete)


def manifest(partial=False, files=("data/tweets.js",)):
    facts = {
        "userInfo": {"accountId": ADA, "userName": "ada_l"},
        "archiveInfo": {"isPartialArchive": partial, "generationDate": "2025-01-14T02:11:27.525Z"},
        "dataTypes": {"tweets": {"files": [{"fileName": name, "count": "1"} for name in files]}},
    }
    return {"data/manifest.js": f"window.__THAR_CONFIG = {json.dumps(facts, indent=2)}"}


def test_an_archive_that_says_it_is_a_part_or_lacks_a_file_takes_nothing_as_deleted(read):
    members = modern([tweet(5, "Hm.")])
    assert isinstance(read(members | manifest())[-1], ListingComplete)
    assert not isinstance(read(members | manifest(partial=True))[-1], ListingComplete)
    events = read(members | manifest(files=["data/tweets.js", "data/tweets-part1.js"]))
    assert [event.item for event in events if isinstance(event, Failed)] == ["data/tweets-part1.js"]
    assert not isinstance(events[-1], ListingComplete)


def test_articles_are_skipped_by_name(read):
    events = read(modern([tweet(5, "Hm.")], article=[{"article": {"id": "1"}}]))
    assert left(events) == {
        "data/article.js": "1 of X's articles, in a form that is not documented: give them as files"
    }


def test_half_a_character_in_a_post_spoils_nothing(play, texts):
    broken = tweet(5, "Hm. #\ud83d")
    members = modern([tweet(6, "Fine. #ok")])
    members["data/tweets.js"] = f"x = {json.dumps([{'tweet': broken}, {'tweet': tweet(6, 'Fine. #ok')}])}"
    report = play(members)
    assert [failure["item"] for failure in report.failed] == ["5"]
    assert texts() == {"6": "Fine. #ok"}


def test_a_huge_file_is_read_entry_by_entry(read, monkeypatch):
    monkeypatch.setattr("twin_assets.collection.platforms.x.READ_CHARS", 4_000)
    monkeypatch.setattr("twin_assets.collection.platforms.x.MAX_ENTRY_CHARS", 2_000)
    events = read(modern([tweet(n, f"Number {n}, “é” 😀.") for n in range(1, 300)]))
    assert [event.item.content for event in events[:-1]] == [f"Number {n}, “é” 😀." for n in range(1, 300)]


def test_a_file_beyond_the_limit_is_named(read, monkeypatch):
    monkeypatch.setattr("twin_assets.collection.platforms.x.MAX_FILE_BYTES", 5_000)
    with pytest.raises(BadSource, match="holds no readable tweet"):
        read(modern([tweet(n, "Hm.") for n in range(1, 30)]))


KEYS = strategies.sampled_from(
    ["lang", "edit_info", "edit", "initialTweetId", "core", "user"]
) | strategies.sampled_from(
    ["id", "id_str", "full_text", "text", "entities", "urls", "url", "expanded_url", "media", "created_at"]
)
JSON = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | strategies.text(max_size=8),
    lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)
ROW = strategies.fixed_dictionaries(
    {"id_str": strategies.sampled_from(["1", "2", "3", "4"]), "full_text": strategies.text(max_size=30)},
    optional={
        "in_reply_to_status_id_str": strategies.sampled_from(["1", "2", "3", "4", "9", ""]) | JSON,
        "in_reply_to_user_id_str": strategies.sampled_from([ADA, BOB]) | JSON,
        "created_at": strategies.sampled_from([WHEN, "2012-10-31 00:00:00 +0000"]) | strategies.text(max_size=20),
        "entities": JSON,
        "edit_info": JSON,
    },
)


def archive_of(files: dict[str, bytes]) -> Archive:
    entries = [Entry(name, len(data), NOW, lambda data=data: data) for name, data in files.items()]
    return Archive(Path("fuzz.zip"), entries)


@effort(max_examples=25, deadline=None)
@given(strategies.lists(ROW | JSON, max_size=6), strategies.lists(JSON, max_size=3))
def test_no_archive_breaks_the_reader(rows, notes):
    files = {"data/tweets.js": rows, "data/note-tweet.js": notes, "data/account.js": notes, "data/manifest.js": notes}
    archive = archive_of({name: f"x = {json.dumps(value)}".encode() for name, value in files.items()})
    with suppress(BadSource):
        events = list(XCrawler().import_archive(Source(id="x", platform="x", where="inbox"), archive))
        found = [event.item.external_id for event in events if isinstance(event, Found)]
        assert len(found) == len(set(found))


@effort(max_examples=25, deadline=None)
@given(strategies.binary(max_size=60) | strategies.text('[]{},:"=tx1\\u ', max_size=60).map(str.encode))
def test_no_bytes_break_the_reader(data):
    with suppress(BadSource, BadItem):
        source = Source(id="x", platform="x", where="i")
        events = list(XCrawler().import_archive(source, archive_of({"data/tweets.js": data})))
        assert any(not isinstance(event, ListingComplete) for event in events), "read, and said nothing of it"
