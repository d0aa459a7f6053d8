"""From HTML to the author's text as markdown: trafilatura finds a page's main text, markdownify converts it.

trafilatura's own markdown loses every block quote (2.3.1), and with it the line between the author's words and other
people's. So its tree is converted instead, and a paragraph that the page quotes becomes a quote again.
"""

import re
from collections.abc import Mapping, Set
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, cast

from twin_assets.content.code_blocks import language_of, simplify_code_blocks
from twin_assets.content.metadata.dates import parse_date

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag
    from lxml.etree import _Element
    from lxml.html import HtmlElement
    from markdownify import MarkdownConverter

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
_FENCES = re.compile(r"^ *(`{3,})", re.MULTILINE)
_OUTER_RULES = re.compile(r"\A(?:---(?:\n+|\Z))+|(?:\n\n---)+\Z")
_ANCHOR_TEXT = re.compile(r"[#¶§🔗↩︎↑^\[\]\s\d]*")
_CONTAINERS = frozenset({"div", "section", "center", "font", "form", "span", "td"})
_TABLE_PARTS = frozenset({"table", "tbody", "tr"})
_AROUND_PROSE = frozenset(
    {"nav", "header", "footer", "aside", "script", "style", "noscript", "link", "meta", "hr", "br"}
)
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
    soup = _soup(html)
    return (_main_text(soup, None) if is_page else None) or _markdown(soup)


def extract_page(html: str, url: str | None = None) -> Page | None:
    """The main text with title, date and language of a whole page; None when it has no main text."""
    import trafilatura

    text = _main_text(_soup(html), url)
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


def _parsed(html: str) -> "BeautifulSoup":
    from bs4 import BeautifulSoup

    return BeautifulSoup(html, "lxml")


def _soup(html: str) -> "BeautifulSoup":
    """The parsed HTML, in which each block of code is `<pre><code>` with its lines as text."""
    soup = _parsed(html)
    simplify_code_blocks(soup)
    return soup


def _main_text(soup: "BeautifulSoup", url: str | None) -> str | None:
    import trafilatura

    tree = trafilatura.load_html(str(soup))
    if tree is None:
        return None
    _mark_main_text(tree)
    _mark_inline_quotes(tree)
    quoted = {_squeezed(part) for part in tree.xpath("//blockquote//p | //blockquote[not(.//p)]")}
    blocks = {_squeezed(pre): deepcopy(pre) for pre in tree.iter("pre")}
    inline = {_squeezed(code) for code in tree.iter("code") if next(code.iterancestors("pre"), None) is None}
    found = trafilatura.bare_extraction(
        tree, url=url, include_formatting=True, include_links=True, include_comments=False
    )
    if found is None or found.body is None:
        return None
    _restore_code_blocks(found.body, blocks, inline)
    return _markdown(_parsed(_tei_to_html(found.body, quoted - {""})))


def _mark_main_text(tree: "HtmlElement") -> None:
    """Wrap the main text of a page in <article> if the page has no element by which trafilatura would find it.

    Without one, trafilatura collects paragraphs from the whole page, and lists and loose sentences are lost.
    """
    from lxml import etree
    from trafilatura.xpaths import BODY_XPATH

    body = tree.find(".//body")
    if body is None or any(path(tree) for path in BODY_XPATH):
        return
    main = element = body
    while (inner := _element_of_all_prose(element)) is not None:
        element = inner
        main = element if element.tag in _CONTAINERS else main
    article = etree.Element("article")
    article.text, main.text = main.text, None
    article.extend(list(main))
    main.append(article)


def _element_of_all_prose(parent: "_Element") -> "_Element | None":
    """The one child that holds the prose; None if the others hold any: headings, loose text, or more than a menu."""
    children = [child for child in parent if isinstance(child.tag, str)]
    if not children or (parent.text or "").strip() or any((child.tail or "").strip() for child in parent):
        return None
    lengths = [_prose_length(child) for child in children]
    inner = children[lengths.index(max(lengths))]
    if inner.tag not in _CONTAINERS and inner.tag not in _TABLE_PARTS:
        return None
    for child, length in zip(children, lengths, strict=True):
        is_layout = child.tag in _CONTAINERS or child.tag in _TABLE_PARTS or child.tag in _AROUND_PROSE
        if child is not inner and (not is_layout or length >= MIN_MAIN_TEXT):
            return None
    # A table of data has no row with most of its text.
    return inner if max(lengths) * 2 > sum(lengths) else None


def _prose_length(element: "_Element") -> int:
    """The number of characters of an element's text outside links and scripts."""
    path = ".//text()[not(ancestor::a or ancestor::script or ancestor::style or ancestor::noscript)]"
    return sum(len(text.strip()) for text in cast("list[str]", element.xpath(path)))


def _mark_inline_quotes(tree: "HtmlElement") -> None:
    """Replace each <q>, which trafilatura would make a block, by quotation marks."""
    from lxml import etree

    for quote in list(tree.iter("q")):
        quote.text = f"“{quote.text or ''}"
        last = quote[-1] if len(quote) else None
        if last is None:
            quote.text += "”"
        else:
            last.tail = f"{last.tail or ''}”"
    etree.strip_tags(tree, "q")


def _restore_code_blocks(body: "_Element", blocks: "Mapping[str, _Element]", inline: Set[str]) -> None:
    """Put the page's own blocks of code, by their squeezed text, where trafilatura's tree has one without its lines."""
    for code in [found for found in body.iter("code") if next(found.iterancestors("code"), None) is None]:
        text = _squeezed(code)
        is_block = len(code) > 0 or "\n" in _text(code) or text not in inline
        parent = code.getparent()
        if text in blocks and is_block and parent is not None:
            block = deepcopy(blocks[text])
            block.tail = code.tail
            parent.replace(code, block)


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


def _markdown(soup: "BeautifulSoup") -> str:
    """All prose of some HTML as markdown, without the rules above and below it."""
    _flatten(soup)
    _drop_page_chrome(soup)
    return _OUTER_RULES.sub("", str(_converter().convert_soup(soup)).strip())


@cache
def _converter() -> "MarkdownConverter":
    from markdownify import MarkdownConverter

    class Converter(MarkdownConverter):
        """Makes a fence longer than any inside it."""

        def convert_pre(self, el: "Tag", text: str, parent_tags: set[str]) -> str:
            fence = "`" * max([3, *(len(found) + 1 for found in _FENCES.findall(text))])
            return f"\n\n{fence}{language_of(el)}\n{text.strip(chr(10))}\n{fence}\n\n" if text else ""

    return Converter(
        heading_style="atx",
        bullets="-",
        wrap=True,  # with no width: lines end where the author's did, not where the source file's did
        wrap_width=None,
        escape_asterisks=False,
        escape_underscores=False,
        table_infer_header=True,
    )


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


def _text(element: "_Element") -> str:
    return "".join(str(part) for part in element.itertext())


def _squeezed(element: "_Element") -> str:
    return " ".join(_text(element).split())
