"""Pages shown instead of a text: a challenge, a consent wall, a "not found" with status 200, a teaser.

If one were stored as the article, the model would learn from it. Each is recognised by markup that is meant for
programs (schema.org's `isAccessibleForFree`, Cloudflare's challenge script), or by a telling title above hardly any
text.
"""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from twin_assets.content.web import CHALLENGE, Response
from twin_assets.errors import BadItem

LITTLE_TEXT = 1_500
"""A page with more visible text than this, in characters, is an article even under a title such as "404"."""

_CHALLENGE = re.compile(
    r"^\s*(just a moment|attention required|access denied|are you a robot|verify(ing)? (that )?you are (a )?human|"
    r"security check|pardon our interruption|ddos-guard|one more step)",
    re.IGNORECASE,
)
_CONSENT = re.compile(
    r"^\s*(before you continue|your privacy (choices|options)|(manage )?cookie (consent|settings|preferences)|"
    r"privacy & cookies|we value your privacy)",
    re.IGNORECASE,
)
_NOT_FOUND = re.compile(
    r"\b(404|(page|post|story|article) (was )?not found|not found|page (doesn.t|does not) exist|out of nothing|"
    r"seite nicht gefunden|page introuvable|p[áa]gina no encontrada)\b",
    re.IGNORECASE,
)
_TEASER = re.compile(
    r"(this (post|article|story|content) is for (paid|paying) (subscribers|members)|member-only story|"
    r"(subscribe|sign in|upgrade) to (continue|keep) reading|keep reading with a \d+-day free trial|"
    r"create an account to read the full story)",
    re.IGNORECASE,
)


def refuse_access_wall(response: Response) -> None:
    """Raise BadItem, saying what the page is and what to do, for a page that is shown instead of an article."""
    if reason := access_wall(response.body, response.url):
        raise BadItem(f"{response.url} {reason}")


def access_wall(body: bytes, url: str) -> str | None:
    """What the page shows instead of its text, in words; None for a page that looks like an article."""
    from lxml import etree, html

    try:
        tree = html.fromstring(body)
    except (ValueError, etree.ParserError):
        return None
    title = str(tree.findtext(".//title") or "")
    heading = " ".join("".join(map(str, h1.itertext())) for h1 in tree.iterfind(".//h1"))
    if CHALLENGE.search(body) and _CHALLENGE.search(title):
        return _challenge()
    if _locked(tree):
        return _teaser()
    text = _visible_text(tree)
    if len(text) > LITTLE_TEXT:
        return None
    if _CHALLENGE.search(title) or CHALLENGE.search(body):
        return _challenge()
    if _CONSENT.search(title) or (urlsplit(url).hostname or "").startswith("consent."):
        return "asks for consent to cookies instead of showing its text: give the feed or an export instead"
    if _NOT_FOUND.search(title) or _NOT_FOUND.search(heading):
        return "says that there is no such page, with status 200: correct the link, or take it out of the listing"
    if _TEASER.search(text):
        return _teaser()
    return None


def _challenge() -> str:
    return "asks visitors to prove that they are human: use the platform's export, or its feed"


def _teaser() -> str:
    return "shows only the beginning, the rest is for subscribers: use your own export, which has the whole text"


def _visible_text(tree: Any) -> str:
    # Any: lxml's elements are untyped here.
    hidden = {"script", "style", "noscript", "template", "title"}
    parts = [
        element.text or "" for element in tree.iter() if element.tag not in hidden and isinstance(element.tag, str)
    ]
    parts += [element.tail or "" for element in tree.iter()]
    return " ".join(" ".join(parts).split())


def _locked(tree: Any) -> bool:
    """True if the page is marked as not free to read.

    See: https://schema.org/isAccessibleForFree and Open Graph's article:content_tier.
    """
    if tree.xpath("//meta[@property='article:content_tier' and (@content='locked' or @content='metered')]"):
        return True
    for script in tree.iterfind(".//script[@type='application/ld+json']"):
        try:
            found = json.loads(script.text or "")
        except ValueError:
            continue
        if any(str(about.get("isAccessibleForFree", "true")).lower() == "false" for about in _things(found)):
            return True
    return False


def _things(value: Any) -> Iterator[dict[str, Any]]:
    """The page's own objects in JSON-LD: those at the top or in its graph, not parts such as a paywalled box."""
    if isinstance(value, list):
        for one in value:
            yield from _things(one)
    elif isinstance(value, dict):
        yield value
        yield from _things(value.get("@graph", []))
