"""A member's writing as LinkedIn exports it: rows of CSV, links that contain a URN, articles as pages of HTML.

A CSV record begins where a line starts with a date and a link to LinkedIn, whatever the quotes say: LinkedIn closes and
opens a quote at each line break of a post, so that a CSV reader sees one post as many records. This way a record with
broken quotes damages only itself. The Member Data Portability API sends the same rows.

See: https://www.linkedin.com/help/linkedin/answer/a1339364
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from twin_assets.content.feeds import remove, xml_text
from twin_assets.content.metadata.dates import parse_date
from twin_assets.errors import BadItem

if TYPE_CHECKING:
    from lxml.html import HtmlElement

Row = dict[str, str]
"""A record by column; columns are named by their letters in lower case, since their spelling varies."""

SURPLUS = "surplus"
"""The key for the surplus cells of a record that has more cells than columns, because its quotes are broken."""

_LINKED_RECORD = re.compile(
    r'^"?(?:\d{4}-\d{2}-\d{2}[^,"\n]{0,20})?"?,"?https?://(?:[\w-]+\.)*linkedin\.com/', re.MULTILINE | re.IGNORECASE
)
_DATED_RECORD = re.compile(r'^"?\d{4}-\d{2}-\d{2}[^,"\n]{0,20}"?,', re.MULTILINE)
_BACKSLASHED_QUOTE = re.compile(r'(?<!\\)\\"')
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}(?::\d{2})?)?")
_POST = re.compile(r"\b(share|ugcPost|activity)[:-](\d{6,})|\b(groupPost)[:-](\d+-\d+)")
_ARTICLE_LINK = re.compile(r"linkedin\.com/pulse/(?:draft/)?([^/?#]+)")
_TAG = re.compile(r"<[a-zA-Z][^<>]*>")
_DATE_OF_NAME = re.compile(r"^\d{4}-\d{2}-\d{2}[ T_]\d{2}[:_-]\d{2}[:_-]\d{2}(?:\.\d+)?-")
_FURNITURE = (
    ".//h1[1] | .//p[@class='created' or @class='published'] | .//script | .//style | .//iframe | .//img"
    " | .//figure[not(.//pre)] | .//figcaption | .//video | .//audio | .//svg | .//form | .//button"
)


@dataclass(frozen=True)
class PostUrn:
    """The identifier of a post; its number is the same in the API and in the archive."""

    kind: str
    number: str

    @property
    def url(self) -> str:
        """The URL of the post's own page."""
        return f"https://www.linkedin.com/feed/update/urn:li:{self.kind}:{self.number}/"


@dataclass(frozen=True)
class Article:
    """A long article. slug: the last part of its URL. is_draft: never published."""

    slug: str
    title: str | None
    url: str | None
    content: str
    content_type: str
    published_at: datetime | None
    is_draft: bool


def rows(text: str, needed: str, *, backslashes: bool = False) -> Iterator[Row]:
    r"""The records of a CSV file.

    needed: a column that must be there. backslashes: quotes in cells are written `\"`, as in Comments.csv.
    Raises BadItem when that column is missing.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").lstrip()
    head, _, body = text.partition("\n")
    columns = [column(name) for name in _cells(head)]
    if needed not in columns:
        shown = ", ".join(name for name in columns if name)[:200]
        raise BadItem(f"has no column {needed} (but {shown or 'nothing'}): give the archive as LinkedIn sent it")
    if backslashes:
        body = _BACKSLASHED_QUOTE.sub('""', body)
    is_linked = len(columns) > 1 and columns[1].endswith("link")
    for cells in _records(body, _LINKED_RECORD if is_linked else _DATED_RECORD):
        row = {name: cell.strip() for name, cell in zip(columns, cells, strict=False) if name}
        surplus = ",".join(cells[len(columns) :]).strip(", \n")
        yield row | {SURPLUS: surplus} if surplus else row


def column(name: str) -> str:
    """The normalised name of a column or field: `Share Commentary` and `ShareCommentary` are the same."""
    return re.sub(r"[^a-z]", "", name.lower())


def _records(body: str, beginning: re.Pattern[str]) -> Iterator[list[str]]:
    begins = [found.start() for found in beginning.finditer(body)]
    # Before the first known date only the quotes show where a record ends.
    yield from filter(any, _parsed(body[: begins[0]] if begins else body))
    for begin, end in pairwise([*begins, len(body)]):
        yield _cells(body[begin:end])


def _cells(record: str) -> list[str]:
    """One record's cells. What CSV reads as further records are further lines of its text."""
    cells: list[str] = []
    for line in _parsed(record):
        if cells:
            cells[-1] += "\n" + (line[0] if line else "")
            cells += line[1:]
        else:
            cells = line
    return cells


def _parsed(text: str) -> list[list[str]]:
    try:
        return list(csv.reader(io.StringIO(text)))
    except csv.Error as error:
        raise BadItem(f"is damaged ({error}): ask LinkedIn for a new archive") from error


def unwrapped(commentary: str) -> str:
    r"""A post without the quotes that LinkedIn writes around each of its line breaks (`one"\n""\n"two`).

    The author's own quotation marks stay: a text is unwrapped only when every line break is wrapped, and if an empty
    line is too, or the first line has one quotation mark too many.
    """
    text = commentary.strip()
    if "\n" not in text or text.count('"\n"') != text.count("\n"):
        return text
    is_balanced = text.partition("\n")[0].count('"') % 2 == 0
    if is_balanced and '"\n""\n"' not in text:
        return text
    lines = text.replace('"\n"', "\n")
    is_quoted_whole = is_balanced and lines.startswith('"') and lines.endswith('"')
    return (lines[1:-1] if is_quoted_whole else lines).strip()


def moment(text: str) -> datetime | None:
    """The first date in a text, with its time (in UTC) if there is one."""
    found = _MOMENT.search(text)
    return parse_date(found[0]) if found else None


def post_urn(link: str) -> PostUrn | None:
    """The post that a link, a URN or an API path refers to, in any of LinkedIn's spellings."""
    found = list(_POST.finditer(unquote(link).partition("?")[0]))
    if not found:
        return None
    last = found[-1]  # a `/posts/` link begins with words from the post
    return PostUrn(last[1] or last[3], last[2] or last[4])


def article_slug(url: str) -> str | None:
    """The slug in an article's URL; None for any other URL."""
    found = _ARTICLE_LINK.search(unquote(url))
    return found[1] if found else None


def slug_of_file(name: str) -> str:
    """An article's slug from its file's name, which in some exports begins with a date."""
    return _DATE_OF_NAME.sub("", PurePosixPath(name).stem) or PurePosixPath(name).stem


def read_article(html: str, name: str) -> Article:
    """Read an article of the archive. name: that of its file. Raises BadItem when it has no text."""
    page = _page(html)
    url = next((str(link.get("href", "")) for link in page.iterfind(".//h1//a")), "")
    created, published = _stamp(page, "created"), _stamp(page, "published")
    return Article(
        slug=article_slug(url) or slug_of_file(name),
        title=_text(page.find(".//h1")) or _text(page.find(".//title")) or None,
        url=url or None,
        content=_prose(page),
        content_type="text/html",
        published_at=published or created or moment(PurePosixPath(name).name),
        is_draft=created is not None and published is None,
    )


def article_of_row(row: Row) -> Article | None:
    """Read an article as the API sends it, in columns that LinkedIn does not document; None when the text is missing.

    Raises BadItem when it contains only pictures.
    """
    text = _first(row, "content", "articlecontent", "articlebody", "body", "html", "text")
    if not text:
        return None
    is_html = bool(_TAG.search(text))
    url = _first(row, "articlelink", "articleurl", "link", "url")
    title = _first(row, "title", "articletitle")
    return Article(
        slug=article_slug(url) or title,
        title=title or None,
        url=url or None,
        content=_prose(_page(text)) if is_html else text,
        content_type="text/html" if is_html else "text/plain",
        published_at=moment(_first(row, "publisheddate", "publishedon", "publishedat", "published", "date")),
        is_draft="draft" in _first(row, "state", "status", "articlestate").lower(),
    )


def _first(row: Row, *columns: str) -> str:
    return next((row[name] for name in columns if row.get(name)), "")


def _page(html: str) -> "HtmlElement":
    from lxml import etree
    from lxml import html as lxml_html

    try:
        parser = lxml_html.HTMLParser(encoding="utf-8")
        return lxml_html.document_fromstring(xml_text(html).encode(), parser=parser)
    except (etree.ParserError, ValueError) as error:
        raise BadItem("is not an HTML page: ask LinkedIn for a new archive") from error


def _prose(page: "HtmlElement") -> str:
    from lxml import html as lxml_html

    body = page.find("body")
    if body is None:
        raise BadItem("has no text: an empty page is not a document")
    remove(body, elements=body.xpath(_FURNITURE))
    for link in body.iterfind(".//a[@href]"):
        link.set("href", _direct(str(link.get("href"))))
    if not body.text_content().strip():
        raise BadItem("has no text: pictures alone are not a document")
    inner = [body.text or "", *(lxml_html.tostring(child, encoding="unicode") for child in body)]
    return "".join(inner).strip()


def _direct(href: str) -> str:
    """A link without the redirect that LinkedIn puts before links to other sites."""
    try:
        parts = urlsplit(href)
    except ValueError:
        return href
    if (parts.hostname or "").endswith("linkedin.com") and parts.path.startswith("/redir/"):
        return parse_qs(parts.query).get("url", [href])[0]
    return href


def _stamp(page: "HtmlElement", word: str) -> datetime | None:
    return next((moment(_text(line)) for line in page.iterfind(f".//p[@class='{word}']")), None)


def _text(element: "HtmlElement | None") -> str:
    return "" if element is None else " ".join(str(element.text_content()).split())
