import zipfile
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies
from hypothesis import settings as effort

from twin_assets.collection.crawl import crawl
from twin_assets.collection.events import Failed, Found, Skipped
from twin_assets.collection.platforms.files import FilesCrawler
from twin_assets.content.metadata.front_matter import read_front_matter
from twin_assets.content.web import WebClient
from twin_assets.documents import Category, Source
from twin_assets.errors import BadItem

TEXT = "The gauge lies. I do not."


@pytest.fixture
def read(tmp_path, settings):
    """read(name, text) -> the event that a file of this name gives."""

    def run(name: str, text: str | bytes):
        root = tmp_path / "site"
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        (root / "other.md").write_text("Another text.")
        source = Source(id="site", platform="files", where=str(root))
        with WebClient(settings) as http:
            events = list(FilesCrawler().collect(source, {}, http))
        named = {event.item if not isinstance(event, Found) else event.item.external_id: event for event in events[:-2]}
        return named[name]

    return run


@pytest.fixture
def item(read):
    """item(text, name) -> the item of a file that has front matter."""

    def run(text: str | bytes, name: str = "tides.md"):
        event = read(name, text)
        assert isinstance(event, Found), event
        return event.item

    return run


YAML = f"""---
title: "On tides: a note"
date: 2024-03-01T08:30:00+02:00
tags: [tides, gauges]
draft: false
---

{TEXT}
"""
TOML = f"""+++
title = "On tides: a note"
date = 2024-03-01T08:30:00+02:00
tags = ["tides", "gauges"]
draft = false
[params]
toc = true
+++

{TEXT}
"""
JSON = f"""{{
  "title": "On tides: a note",
  "date": "2024-03-01T08:30:00+02:00",
  "tags": ["tides", "gauges"],
  "params": {{
    "toc": true
  }},
  "draft": false
}}

{TEXT}
"""
JSON_ON_ONE_LINE = (
    '{"title": "On tides: a note", "date": "2024-03-01T08:30+02:00", "tags": ["tides", "gauges"]} ' + TEXT
)
JSON_FENCED = f""";;;
{{"title": "On tides: a note", "date": "2024-03-01T06:30:00Z", "tags": ["tides", "gauges"]}}
;;;

{TEXT}
"""
JSON_WITHOUT_BRACES = f""";;;
"title": "On tides: a note",
"date": "2024-03-01T06:30:00Z",
"tags": ["tides", "gauges"]
;;;

{TEXT}
"""
NAMED_TOML = TOML.replace("+++", "---toml", 1).replace("+++", "---")
NAMED_JSON = f"---json\n{JSON.removesuffix(TEXT + chr(10))}---\n{TEXT}\n"
KINDS = {
    "yaml": YAML,
    "toml": TOML,
    "json": JSON,
    "json on one line": JSON_ON_ONE_LINE,
    "json fenced": JSON_FENCED,
    "json without braces": JSON_WITHOUT_BRACES,
    "---toml": NAMED_TOML,
    "---json": NAMED_JSON,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("written", [str, lambda text: "\ufeff" + text.replace("\n", "\r\n")], ids=["plain", "dos"])
def test_every_kind_of_front_matter_says_the_same(item, kind, written):
    found = item(written(KINDS[kind]))
    assert (found.title, found.content) == ("On tides: a note", TEXT)
    assert found.published_at == datetime(2024, 3, 1, 6, 30, tzinfo=UTC)
    assert (found.metadata, found.visibility) == ({"tags": ["tides", "gauges"]}, "public")


@pytest.mark.parametrize(
    "text",
    [
        "{% include note.html %}\n\nThe gauge lies.",
        "{: .lead}\nThe gauge lies.",
        "{{< figure >}}\nThe gauge lies.",
        "{\n  a set\n}\nThe gauge lies.",
        "+++ not a fence\nThe gauge lies.",
        ";;; an old comment\nThe gauge lies.",
        "--- a dash\nThe gauge lies.",
        "Text.\n\n+++\ntitle = 'no'\n+++\n",
    ],
)
def test_a_text_that_only_looks_like_front_matter_is_whole(item, text):
    assert item(text).content == text.strip()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("+++\ntitle = 'x'\ndate = = 3\n+++\nText.", "has front matter that is not TOML, line 3"),
        ("+++\ndate = 2024-02-30\n+++\nText.", "has front matter that is not TOML, line 2"),
        ('{\n  "title": "x"\n  "date": 3\n}\nText.', "has front matter that is not JSON, line 3"),
        ('{"title": "x"', "has front matter that is not JSON, line 1"),
        (';;;\n"title": x\n;;;\nText.', "has front matter that is not JSON, line 2"),
        ("---\na: !!bool x\n---\nText.", "has front matter that is not YAML"),
        ("---\na: " + "[" * 20_000 + "\n---\nText.", "has front matter that is not YAML"),
        ('{"a": ' + "[" * 200_000 + "}\nText.", "has front matter that is not JSON"),
        ("+++\ntitle = 'x'\n+++\n", "has front matter and no text: write something below it, or delete it"),
    ],
    ids=range(9),
)
def test_damaged_front_matter_is_named_with_its_line(read, text, says):
    event = read("bad.md", text)
    assert isinstance(event, Failed)
    assert says in event.reason


def test_jekylls_file_names_give_date_and_title(item):
    found = item("---\nlayout: post\n---\nThe gauge lies.", "_posts/2024-01-31-why-gauges-lie.md")
    assert (found.title, found.published_at) == ("Why Gauges Lie", datetime(2024, 1, 31, tzinfo=UTC))
    assert (found.category, found.metadata["layout"]) == (Category.ARTICLE, "post")


def test_what_a_jekyll_post_says_wins_over_its_file_name(item):
    front = "---\ntitle: Gauges\ndate: 2023-05-06\n---\nThe gauge lies."
    found = item(front, "_posts/2024-01-31-why-gauges-lie.md")
    assert (found.title, found.published_at) == ("Gauges", datetime(2023, 5, 6, tzinfo=UTC))
    headed = item("---\nlayout: post\n---\n# Gauges\n\nThey lie.", "_posts/2024-13-45-why-gauges-lie.md")
    assert (headed.title, headed.published_at) == ("Gauges", None)


def test_a_bundles_folder_gives_its_title(item):
    assert item(TEXT, "posts/why-gauges-lie/index.md").title == "why-gauges-lie"
    assert item(TEXT, "blog/2024-01-31-gauges/index.md").published_at == datetime(2024, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("front", "visibility"),
    [
        ("published: false", "private"),
        ("published: 'false'", "private"),
        ("published: true", "public"),
        ("published: 2024-01-01", "public"),
        ("draft: true", "private"),
        ("draft: 'yes'", "private"),
        ("draft: false", "public"),
        ("private: true", "private"),
        ("status: draft", "private"),
        ("status: published", "public"),
        ("visibility: Private", "private"),
        ("publish: false", "private"),
        ("publish: true", "public"),
        ("dg-publish: off", "private"),
        ("Published: No", "private"),
        ("public: no", "private"),
        ("private: 1", "private"),
        ("draft: on", "private"),
        ("unlisted: true", "private"),
        ("status: future", "private"),
        ("status: pending", "private"),
        ("post_status: auto-draft", "private"),
        ("status: [published, Draft]", "private"),
        ("visibility: members", "private"),
        ("visibility: paid", "private"),
        ("access: members only", "private"),
        ("visibility: public", "public"),
        ("password: sesame", "private"),
        ("password: ''", "public"),
        ("build:\n  render: never", "private"),
        ("tags: [draft, private]", "public"),
    ],
)
def test_drafts_are_private(item, front, visibility):
    assert item(f"---\n{front}\n---\n{TEXT}").visibility == visibility


def test_a_draft_is_private_in_every_kind_of_front_matter_and_by_its_folder(item):
    assert item(f"+++\ndraft = true\n+++\n{TEXT}").visibility == "private"
    assert item(f'{{"draft": true}}\n{TEXT}').visibility == "private"
    assert item(TEXT, "_drafts/why-gauges-lie.md").visibility == "private"
    assert item(TEXT, "blog/_drafts/2024-01-31-why.md").visibility == "private"
    assert item(f"+++\npublished = false\n+++\n{TEXT}").visibility == "private"
    assert item(f'{{"status": "future"}}\n{TEXT}').visibility == "private"
    assert item("print('a plan')\n", "drafts/plan.py").visibility == "private"
    page = f"<html><body><main><h1>Gauges</h1><p>{TEXT * 20}</p></main></body></html>"
    assert item(page, "Drafts/why.html").visibility == "private"
    assert item(TEXT, "posts/drafts.md").visibility == "public"


@pytest.mark.parametrize(
    ("front", "url"),
    [
        ("url: https://skerrow.example/tides", "https://skerrow.example/tides"),
        ("url: /tides", None),
        ("permalink: /:categories/:title.html", None),
        ("permalink: https://skerrow.example/tides", "https://skerrow.example/tides"),
        ("slug: tides", None),
        ("aliases: [/old, 'https://old.example/tides']", "https://old.example/tides"),
        ("aliases: https://old.example/tides", "https://old.example/tides"),
        ("url: /tides\ncanonical_url: https://skerrow.example/tides", "https://skerrow.example/tides"),
        ("canonicalURL: https://skerrow.example/tides", "https://skerrow.example/tides"),
        ("url: javascript:alert(1)", None),
        ("url: https://[bad", None),
    ],
)
def test_only_an_absolute_address_is_a_url(item, front, url):
    assert item(f"---\n{front}\n---\n{TEXT}").url == url


@pytest.mark.parametrize(
    ("front", "tags"),
    [
        ("tags: tides gauges", ["tides", "gauges"]),
        ("tags: low tides, gauges", ["low tides", "gauges"]),
        ("tags: [low tides, 2024, null, [x]]", ["low tides", "2024"]),
        ("tags: [tides]\ncategories: harbour tides\nkeywords: [rain]", ["tides", "harbour", "rain"]),
        ("categories:\n  - harbour", ["harbour"]),
        ("taxonomies:\n  tags: [tides]", ["tides"]),
        ("tags: null", []),
    ],
)
def test_tags_are_lists_or_texts(item, front, tags):
    assert item(f"---\n{front}\n---\n{TEXT}").metadata["tags"] == tags


@pytest.mark.parametrize(
    ("front", "language"),
    [("lang: de", "de"), ("language: en-GB", "en"), ("lang: pt_BR", "pt"), ("lang: no", "no"), ("title: x", None)],
)
def test_languages_are_codes(item, front, language):
    assert item(f"---\n{front}\n---\n{TEXT}").language == language


@pytest.mark.parametrize("key", ["description", "excerpt", "summary"])
def test_a_description_is_kept_beside_the_text(item, key):
    found = item(f"---\n{key}: About gauges.\nlayout: page\n---\n{TEXT}")
    assert found.metadata == {"tags": [], "description": "About gauges.", "layout": "page"}
    assert found.content == TEXT


@pytest.mark.parametrize("key", ["date", "pubDate", "publishDate", "published_at", "created", "published"])
def test_a_date_goes_by_many_names(item, key):
    assert item(f"---\ntitle: x\n{key}: 2024-03-01\n---\n{TEXT}").published_at == datetime(2024, 3, 1, tzinfo=UTC)


def test_the_last_change_is_what_the_text_says_it_is(item):
    assert item(f"+++\nlastmod = 2024-03-01\n+++\n{TEXT}").updated_at == datetime(2024, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "+++\ntitle = 'Posts'\n+++\n", "---\n---\n", '{"title": "Posts"}\n'])
def test_a_section_page_without_text_is_skipped(read, text):
    assert read("posts/_index.md", text) == Skipped(
        "posts/_index.md", "is the page of a section or a list, without text of its own"
    )


def test_a_section_page_with_text_is_a_document(item):
    assert item(f"+++\ntitle = 'Posts'\n+++\n{TEXT}", "posts/_index.md").title == "Posts"


def test_a_sites_own_category_is_a_label_of_an_article(item):
    for name in ("_posts/2024-01-31-a.md", "travel.md"):
        found = item(f"---\ncategory: harbour\n---\n{TEXT}", name)
        assert (found.category, found.metadata["tags"]) == (Category.ARTICLE, ["harbour"])
    assert item(f"---\ncategory: post\n---\n{TEXT}", "_posts/2024-01-31-a.md").category is Category.POST


def test_html_with_front_matter_is_a_fragment_and_a_template_is_skipped(item, read):
    found = item(f"---\ntitle: Gauges\n---\n<p>{TEXT}</p>", "_posts/2024-01-31-gauges.html")
    assert (found.content_type, found.content, found.title) == ("text/html", f"<p>{TEXT}</p>", "Gauges")
    loop = "---\nlayout: home\n---\n{% for post in site.posts %}<a>{{ post.title }}</a>{% endfor %}"
    assert isinstance(read("index.html", loop), Skipped)


def test_half_a_character_in_front_matter_spoils_nothing(item):
    found = item('{"title": "Tides \\ud83d", "tags": ["\\ud83d\\ude00", "\\udead"]}\n' + TEXT)
    assert (found.title, found.metadata["tags"]) == ("Tides \ufffd", ["😀", "\ufffd"])


def test_a_site_is_collected_whole_from_a_zip_and_a_second_time_nothing_changes(stores, settings, tmp_path):
    path = tmp_path / "site.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("_posts/2024-01-31-a.md", f"---\nlayout: post\n---\n{TEXT}")
        archive.writestr("_drafts/b.md", TEXT)
        archive.writestr("_site/2024/a.html", "<p>built</p>")
        archive.writestr("content/c.md", TOML)
        archive.writestr("content/_index.md", "+++\ntitle = 'All'\n+++\n")
    source = Source(id="site", platform="files", where=str(path))
    with WebClient(settings) as http:
        first, second = (crawl("ada", source, FilesCrawler(), stores.warehouse, http) for _ in range(2))
    assert (first.new, first.failed, first.complete, second.writes) == (3, [], True, 0)
    assert [row["item"] for row in first.skipped] == ["_site/2024/a.html", "content/_index.md"]


@effort(max_examples=50, deadline=None)
@given(
    strategies.sampled_from(["---\n", "+++\n", ";;;\n", "---toml\n", "---json\n", "{", '{"a": ']),
    strategies.text(alphabet=strategies.sampled_from("ab:1-+;{}[]\"'\n,.=!&*#|> T\ud83d"), max_size=80),
    strategies.sampled_from(["\n---\nText.", "\n+++\nText.", "\n;;;\nText.", "}\nText.", ""]),
)
def test_no_front_matter_breaks_the_reader(opening, inside, closing):
    with suppress(BadItem):
        about, content = read_front_matter(opening + inside + closing)
        assert isinstance(about, dict)
        assert isinstance(content, str)


WRITTEN = ["22:22", "0123", "No", "on", "0x1F", "1_000", "1.10", "2024-01-31", "true", ".5", "0"]


@pytest.mark.parametrize("written", WRITTEN)
def test_a_title_and_tags_are_as_written(item, written):
    found = item(f"---\ntitle: {written}\ntags: [{written}, x]\n---\n{TEXT}")
    assert (found.title, found.metadata["tags"]) == (written, [written, "x"])


def test_numbers_of_json_and_toml_are_as_written(item):
    assert item(f'{{"title": 1.10, "tags": [7, true, 2.50]}}\n{TEXT}').title == "1.10"
    assert item(f'{{"title": "x", "tags": [7, true, 2.50]}}\n{TEXT}').metadata["tags"] == ["7", "true", "2.50"]
    assert item(f"+++\ntitle = 1.10\ntags = [7, 2.50]\n+++\n{TEXT}").metadata["tags"] == ["7", "2.50"]


@pytest.mark.parametrize(
    "front", ["date: 0000-00-00 00:00:00", "date: 0001-01-01", "date: 9999-12-31", "date: 2024-02-30"]
)
def test_an_impossible_date_is_none_and_noted_and_the_text_is_kept(item, front):
    found = item(f"---\n{front}\nstatus: draft\n---\n{TEXT}")
    assert (found.published_at, found.visibility, found.content) == (None, "private", TEXT)
    assert front.removeprefix("date: ") in found.notes[0]


def test_what_cannot_be_read_of_a_collected_text_stands_in_the_report(stores, settings, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.md").write_text(f"---\ndate: 9999-12-31\n---\n{TEXT}")
    source = Source(id="site", platform="files", where=str(tmp_path / "notes"))
    with WebClient(settings) as http:
        report = crawl("ada", source, FilesCrawler(), stores.warehouse, http)
    assert (report.new, report.skipped, [note["item"] for note in report.row()["notes"]]) == (1, [], ["a.md"])


GERMAN = "Der Pegel lügt, aber ich lüge nicht, und morgen schreibe ich auf, wie hoch das Wasser stand."


@pytest.mark.parametrize(
    ("front", "text", "month"),
    [
        ("date: 05.04.2024", GERMAN, 4),
        ("date: 05/04/2024", GERMAN, 4),
        ("date: 05/04/2024\nlang: en-GB", TEXT, 4),
        ("date: 05/04/2024\nlang: en", TEXT, 5),
        ("date: 05/04/2024", "The gauge lies, and I write down tomorrow how high the water stood today.", 5),
        ("date: 5. April 2024\nlanguage: de", GERMAN, 4),
    ],
)
def test_the_day_of_a_date_stands_where_the_texts_language_puts_it(item, front, text, month):
    assert item(f"---\n{front}\n---\n{text}").published_at.month == month
