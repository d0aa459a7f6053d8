"""From HTML to the author's text as markdown: trafilatura finds a page's main text, markdownify converts it.

trafilatura's own markdown loses every block quote (2.3.1), and with it the line between the author's words and other
people's. So its tree is converted instead, and a paragraph that the page quotes becomes a quote again.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from twin_assets.content.metadata.dates import parse_date

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag
    from lxml.etree import _Element
    from lxml.html import HtmlElement

MIN_MAIN_TEXT = 40
"""A page with less main text than this, in characters, has none, such as an index or an error page."""

MAX_DEPTH = 100
"""Elements nested deeper than this are replaced by their contents: markdownify recurses, and no text needs more."""

_NO_PROSE = (
    "script, style, noscript, template, head, nav, footer, aside, form, button, input, select, textarea, iframe, "
    "object, svg, canvas, img, picture, video, audio, figcaption, [hidden], [aria-hidden=true]"
)
_PAGE_CHROME = re.compile(
    r"(^|[-_])(share|sharing|sharedaddy|sharebuttons?|addtoany|social|feedflare|newsletter|subscribe|breadcrumbs?|"
    r"jp-relatedposts|related(-posts)?|post-nav(igation)?|pagination|cookie-?(banner|notice|consent))([-_]|$)",
    re.IGNORECASE,
)
_ANCHOR_TEXT = re.compile(r"[#¶§🔗↩︎↑^\[\]\s\d]*")
_LANGUAGE_CLASS = re.compile(r"(?:language|lang|highlight-source)-([\w+#-]+)")
# trafilatura's tree is TEI; see https://trafilatura.readthedocs.io/en/latest/corefunctions.html
_HTML_TAGS = {"quote": "blockquote", "item": "li", "ref": "a", "lb": "br", "row": "tr", "del": "s"}
_HTML_STYLES = {"#b": "strong", "#i": "em", "#u": "u", "#t": "code", "#sub": "sub", "#sup": "sup"}


@dataclass(frozen=True)
class Page:
    """A page's main text and what the page says about it."""

    title: str | None
    text: str
    url: str | None
    published_at: datetime | None
    language: str | None


def html_to_markdown(html: str) -> str:
    """The main text of a page, or all prose of a fragment, as markdown: headings, lists, quotes, code and links.

    A fragment is what a feed or an export gives as the text. A page without a recognisable main text is treated as one.
    """
    is_page = "<body" in html.lower()
    return (_main_text(html, None) if is_page else None) or _markdown(html)


def extract_page(html: str, url: str | None = None) -> Page | None:
    """The main text with title, date and language of a whole page; None when it has no main text."""
    import trafilatura

    text = _main_text(html, url)
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


def _main_text(html: str, url: str | None) -> str | None:
    import trafilatura

    tree = trafilatura.load_html(html)
    if tree is None:
        return None
    _prepare(tree)
    quoted = {_squeezed(part) for part in tree.xpath("//blockquote//p | //blockquote[not(.//p)]")}
    found = trafilatura.bare_extraction(
        tree, url=url, include_formatting=True, include_links=True, include_comments=False
    )
    if found is None or found.body is None:
        return None
    return _markdown(_tei_to_html(found.body, quoted - {""}))


def _prepare(tree: "HtmlElement") -> None:
    """Mark up what trafilatura would guess wrong: preformatted text is code, not a quote, and <q> is not a block."""
    from lxml import etree

    for pre in list(tree.iter("pre")):
        text = "".join(pre.itertext())
        language = _LANGUAGE_CLASS.search(
            " ".join(part.get("class", "") for part in (*pre.iterancestors(), *pre.iter()))
        )
        for child in list(pre):
            pre.remove(child)
        pre.text = None
        code = etree.SubElement(pre, "code", {"class": language[0]} if language else {})
        code.text = text
    for quote in list(tree.iter("q")):
        quote.text = f"“{quote.text or ''}"
        last = quote[-1] if len(quote) else None
        if last is None:
            quote.text += "”"
        else:
            last.tail = f"{last.tail or ''}”"
    etree.strip_tags(tree, "q")


def _tei_to_html(body: "_Element", quoted: set[str]) -> str:
    from lxml import etree

    for element in list(body.iter("p")):
        if _squeezed(element) in quoted and next(element.iterancestors("quote"), None) is None:
            element.tag = "quote"
    for element in body.iter("*"):
        _to_html(element)
    return etree.tostring(body, encoding="unicode", method="html")


def _to_html(element: "_Element") -> None:
    tag, style = str(element.tag), element.get("rend", "")
    if tag == "head":
        element.tag = style or "h3"
    elif tag == "list":
        element.tag = style if style in ("ol", "ul") else "ul"
    elif tag == "hi":
        element.tag = _HTML_STYLES.get(style, "span")
    elif tag == "cell":
        element.tag = "th" if element.get("role") == "head" else "td"
    elif tag == "code":
        is_block = "\n" in _text(element) and next(element.iterancestors("pre"), None) is None
        element.tag = "pre" if is_block else "code"
    elif tag == "ref":
        element.set("href", element.get("target", ""))
        element.tag = "a"
    else:
        element.tag = _HTML_TAGS.get(tag, tag)


def _markdown(html: str) -> str:
    """All prose of some HTML as markdown."""
    from bs4 import BeautifulSoup
    from markdownify import MarkdownConverter

    soup = BeautifulSoup(html, "lxml")
    _flatten(soup)
    _drop_page_chrome(soup)
    converter = MarkdownConverter(
        heading_style="atx",
        bullets="-",
        wrap=True,  # with no width: lines end where the author's did, not where the source file's did
        wrap_width=None,
        code_language_callback=_code_language,
        escape_asterisks=False,
        escape_underscores=False,
        table_infer_header=True,
    )
    return str(converter.convert_soup(soup)).strip()


def _flatten(soup: "BeautifulSoup") -> None:
    """Unwrap elements nested deeper than MAX_DEPTH; an outermost quote stays a quote however deep it is."""
    depths, quotes = {id(soup): 0}, {id(soup): 0}
    deep = []
    for element in soup.find_all(True):
        above = id(element.parent)
        depths[id(element)] = depths[above] + 1
        quotes[id(element)] = quotes[above] + (element.name == "blockquote")
        if depths[id(element)] > MAX_DEPTH and (element.name != "blockquote" or quotes[above]):
            deep.append(element)
    for element in deep:
        element.unwrap()


def _drop_page_chrome(soup: "BeautifulSoup") -> None:
    for element in soup.select(_NO_PROSE):
        element.extract()
    length = len(soup.get_text())
    for element in soup.find_all(_is_page_chrome):
        # An element that holds most of the text stays, even if its class contains such a word.
        if len(element.get_text()) * 2 < length:
            element.extract()
    for link in soup.find_all("a"):
        in_page = str(link.get("href", "")).startswith("#")
        if in_page and _ANCHOR_TEXT.fullmatch(link.get_text()):
            link.extract()
        elif in_page or not link.get("href"):
            link.unwrap()


def _is_page_chrome(element: "Tag") -> bool:
    names = [*element.get_attribute_list("class"), element.get("id")]
    return any(_PAGE_CHROME.search(str(name)) for name in names if name)


def _code_language(pre: "Tag") -> str:
    classes = [name for part in (pre, *pre.parents, *pre.find_all("code")) for name in part.get_attribute_list("class")]
    found = _LANGUAGE_CLASS.search(" ".join(str(name) for name in classes if name))
    return found[1] if found else ""


def _text(element: "_Element") -> str:
    return "".join(str(part) for part in element.itertext())


def _squeezed(element: "_Element") -> str:
    return " ".join(_text(element).split())
