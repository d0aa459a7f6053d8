"""HTML to the author's text as markdown: trafilatura finds the main text and drops menus, footers and share buttons."""

from dataclasses import dataclass
from datetime import UTC, datetime

MIN_MAIN_TEXT = 40
"""Characters; less is a page without a text, such as an index or an error page."""


@dataclass(frozen=True)
class Page:
    """What a page holds, apart from everything around it."""

    title: str | None
    text: str
    url: str | None
    published_at: datetime | None
    language: str | None


def html_to_markdown(html: str) -> str:
    """The main text of a page or of a fragment, as markdown; headings, lists, quotes, code and links are kept.

    A fragment too short for a main text, such as a feed's note, comes back as all of its text.
    """
    import trafilatura

    whole = html if "<body" in html.lower() else f"<html><body><article>{html}</article></body></html>"
    text = trafilatura.extract(
        whole,
        output_format="markdown",
        include_formatting=True,
        include_links=True,
        include_comments=False,
        favor_recall=whole is not html,
    )
    return text or str(trafilatura.html2txt(whole) or "")


def extract_page(html: str, url: str | None = None) -> Page | None:
    """The main text with title, date and language of a whole page; None when it has no main text."""
    import trafilatura

    text = trafilatura.extract(
        html, url=url, output_format="markdown", include_formatting=True, include_links=True, include_comments=False
    )
    if not text or len(text) < MIN_MAIN_TEXT:
        return None
    about = trafilatura.extract_metadata(html, default_url=url)
    return Page(
        title=about.title or None,
        text=text,
        url=about.url or url,
        published_at=parse_date(about.date),
        language=about.language,
    )


def parse_date(value: object) -> datetime | None:
    """A date or time as YAML, HTML and feeds write it, aware, in UTC when it names no zone; None for anything else."""
    from dateutil import parser

    if value is None or value == "":
        return None
    try:
        parsed = value if isinstance(value, datetime) else parser.parse(str(value), default=datetime(1970, 1, 1))
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, ArithmeticError):  # a year of 400 digits overflows, or cannot be divided
        return None
