"""Proof that a source is its author's, for those who want more than the profile's word.

Either a token stands on a page of the source, where only its owner can write, or the page and one of a source that is
proven already name each other with rel="me" (https://microformats.org/wiki/rel-me). The token is no secret: it is a
digest of author, source and consent, so that one page's token proves nothing for anybody else. A page counts as the
source's own when it lies above or below the source's URL on the same host; where the source is a handle, when it is
the page of that handle at its platform. An address that itself holds the token, such as a search that echoes it, and
a redirect to elsewhere count for nothing.
"""

import re
from html import unescape
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

from twin_assets.content.web import Answer, WebClient, host_of
from twin_assets.documents import AuthorProfile, Proof, Source, digest
from twin_assets.errors import BadInput
from twin_assets.operations.sources import source_of

if TYPE_CHECKING:
    from twin_assets.stores import Stores

TOKEN_DIGITS = 16


def ownership_token(profile: AuthorProfile, source: Source) -> str:
    """What the page of a source has to hold, anywhere in its text."""
    consent = profile.consent
    return f"twin-assets-verify={digest([profile.id, source.id, consent.who, consent.when.isoformat()], TOKEN_DIGITS)}"


def prove_source(stores: "Stores", author: str, source_id: str, url: str | None = None) -> Source:
    """Fetch a page of the source (its own URL by default) and keep with the source how it was proven.

    Raises NotThere for an unknown author or source, and BadInput for a page that cannot be had, is not the source's
    own, or proves nothing; a source that was proven before stays so.
    """
    profile = stores.warehouse.profiles.get(author)
    source = source_of(profile, source_id)
    with WebClient(stores.settings) as web:
        proof = _proof(profile, source, _own_page(web, source, url or _place(source)), web)

    def keep_proof(profile: AuthorProfile) -> None:
        proven = source_of(profile, source_id).model_copy(update={"proof": proof})
        profile.sources = [proven if other.id == source_id else other for other in profile.sources]

    return source_of(stores.warehouse.profiles.change(author, keep_proof), source_id)


def _own_page(web: WebClient, source: Source, url: str) -> Answer:
    if not host_of(url):
        raise BadInput(f"{source.id} is {source.where}, no page: give the URL of its public page")
    for place in (url, (answer := web.get(url)).url):
        if not is_own_page(place, source):
            raise BadInput(
                f"{place} is no page of {source.where}: give one above or below it, or the handle's own page"
            )
    return answer


def is_own_page(url: str, source: Source) -> bool:
    """Whether the one who speaks on the page at `url` is the one whose source this is."""
    place = _place(source)
    return _of_site(url, place) if host_of(place) else _of_handle(url, place, source.platform)


def _place(source: Source) -> str:
    """A URL or a handle; some platforms take `platform:URL` for what does not look like theirs."""
    return source.where.removeprefix(f"{source.platform}:")


def _of_site(url: str, where: str) -> bool:
    """Above or below `where`, or of the same account where the path names one: /feed/@ada and /@ada."""
    page, place = _path(url), _path(where)
    shared = min(len(page), len(place))
    accounts = {part for part in place if part.startswith(("@", "~"))}
    return _host(url) == _host(where) and (page[:shared] == place[:shared] or bool(accounts & set(page)))


def _of_handle(url: str, handle: str, platform: str) -> bool:
    """ada.platform.com, platform.com/ada and platform.com/@ada for `ada`; home.example/@ada for `@ada@home.example`."""
    account, _, home = handle.lower().removeprefix("@").partition("@")
    account = account.split("/")[0]
    on_page = bool(account) and [part.removeprefix("@") for part in _path(url)[:1]] == [account]
    if home:
        return on_page and _host(url) == home
    return _host(url) == f"{account}.{platform}.com" or (on_page and _host(url) == f"{platform}.com")


def _proof(profile: AuthorProfile, source: Source, page: Answer, web: WebClient) -> Proof:
    token = ownership_token(profile, source)
    if token in unquote(page.url):
        raise BadInput(f"{page.url} holds the token itself: give the address of a page that holds it in its text")
    if re.search(rf"{token}(?![0-9a-f])", unescape(page.text)):
        return Proof(kind="token", url=page.url)
    proven = [other.proof.url for other in profile.sources if other.proof and other.id != source.id]
    named = rel_me_links(page)
    if any(_same(page.url) in rel_me_links(web.get(other)) for other in proven if _same(other) in named):
        return Proof(kind="rel_me", url=page.url)
    links = (
        f'a rel="me" link to {", ".join(proven)} that is answered by one back' if proven else "a proven source's link"
    )
    raise BadInput(
        f"{page.url} holds neither {token} nor {links}: write the token anywhere into its text, such as the bio, "
        "and try again; it may go once the source is proven"
    )


def rel_me_links(page: Answer) -> set[str]:
    """Where a page says that its author is, too; addresses as `_same` compares them."""
    from lxml import html

    try:
        tree = html.fromstring(page.body)
    except (ValueError, html.etree.ParserError):
        return set()
    links = [link for link in tree.iter("a", "link") if "me" in link.get("rel", "").lower().split()]
    return {_same(address) for link in links if (address := _joined(page.url, link.get("href", "")))}


def _joined(base: str, link: str) -> str | None:
    """The link's address; None when it is no http(s) URL."""
    try:
        address = urljoin(base, link)
    except ValueError:
        return None
    return address if host_of(address) else None


def _same(url: str) -> str:
    """An address without what does not make another page: scheme, `www.`, the last slash, the fragment."""
    query = urlsplit(url).query
    return "/".join([_host(url), *_path(url, lower=False)]) + (f"?{query}" if query else "")


def _host(url: str) -> str:
    """Host and port."""
    return urlsplit(url).netloc.lower().rpartition("@")[2].removeprefix("www.")


def _path(url: str, lower: bool = True) -> list[str]:
    path = urlsplit(url).path
    return [part for part in (path.lower() if lower else path).split("/") if part]
