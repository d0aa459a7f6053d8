"""Proof that a source is its author's, for those who want more than the profile's word.

Either a page of the source, where only its owner can write, contains a token, or the page and a page of an already
proven source link to each other with rel="me" (https://microformats.org/wiki/rel-me). The token is not secret: it is a
digest of author, source and consent, so that it proves nothing for another author. A page is the source's own when it
is above or below the source's URL on the same host, or, if the source is a handle, when it is that handle's page on its
platform. A URL that itself contains the token, such as a search that echoes it, and a redirect elsewhere prove nothing.
"""

import re
from html import unescape
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

from twin_assets.content.web import Response, WebClient, host_of
from twin_assets.documents import AuthorProfile, Proof, Source, digest
from twin_assets.errors import BadInput
from twin_assets.operations.sources import source_of

if TYPE_CHECKING:
    from twin_assets.stores import Stores

TOKEN_DIGITS = 16


def ownership_token(profile: AuthorProfile, source: Source) -> str:
    """The text that a page of the source must contain, anywhere."""
    consent = profile.consent
    return f"twin-assets-verify={digest([profile.id, source.id, consent.who, consent.when.isoformat()], TOKEN_DIGITS)}"


def prove_source(stores: "Stores", author: str, source_id: str, url: str | None = None) -> Source:
    """Fetch a page of the source (its own URL by default) and store the proof with the source.

    Raises NotThere for an unknown author or source; BadItem for a page that cannot be fetched; BadInput for one that is
    not the source's own or proves nothing. A source that is already proven stays so.
    """
    profile = stores.warehouse.profile(author)
    source = source_of(profile, source_id)
    with WebClient(stores.settings) as web:
        proof = _proof(profile, source, _own_page(web, source, url or _location(source)), web)

    def keep_proof(profile: AuthorProfile) -> None:
        proven = source_of(profile, source_id).model_copy(update={"proof": proof})
        profile.sources = [proven if other.id == source_id else other for other in profile.sources]

    return source_of(stores.warehouse.change_profile(author, keep_proof), source_id)


def _own_page(web: WebClient, source: Source, url: str) -> Response:
    if not host_of(url):
        raise BadInput(f"{source.id} is {source.where}, which is not a page: give the URL of its public page")
    for address in (url, (response := web.get(url)).url):
        if not is_own_page(address, source):
            raise BadInput(
                f"{address} is not a page of {source.where}: give one above or below it, or the handle's own page"
            )
    return response


def is_own_page(url: str, source: Source) -> bool:
    """True if whoever writes the page at `url` is the owner of the source."""
    location = _location(source)
    return _of_site(url, location) if host_of(location) else _of_handle(url, location, source.platform)


def _location(source: Source) -> str:
    """The source's URL or handle, without a `platform:` before it."""
    return source.where.removeprefix(f"{source.platform}:")


def _of_site(url: str, where: str) -> bool:
    """True if the page is above or below `where`, or of the account that its path names: /feed/@ada and /@ada."""
    page, site = _path(url), _path(where)
    shared = min(len(page), len(site))
    accounts = {part for part in site if part.startswith(("@", "~"))}
    return _host(url) == _host(where) and (page[:shared] == site[:shared] or bool(accounts & set(page)))


def _of_handle(url: str, handle: str, platform: str) -> bool:
    """True if the URL is the handle's page.

    For `ada` that is ada.platform.com, platform.com/ada or platform.com/@ada, and for `@ada@home.example`
    home.example/@ada.
    """
    account, _, home = handle.lower().removeprefix("@").partition("@")
    account = account.split("/")[0]
    on_page = bool(account) and [part.removeprefix("@") for part in _path(url)[:1]] == [account]
    if home:
        return on_page and _host(url) == home
    return _host(url) == f"{account}.{platform}.com" or (on_page and _host(url) == f"{platform}.com")


def _proof(profile: AuthorProfile, source: Source, page: Response, web: WebClient) -> Proof:
    token = ownership_token(profile, source)
    if token in unquote(page.url):
        raise BadInput(f"{page.url} itself contains the token: give the URL of a page that contains it in its text")
    if re.search(rf"{token}(?![0-9a-f])", unescape(page.text)):
        return Proof(kind="token", url=page.url)
    proven = [other.proof.url for other in profile.sources if other.proof and other.id != source.id]
    named = rel_me_links(page)
    if any(_same(page.url) in rel_me_links(web.get(other)) for other in proven if _same(other) in named):
        return Proof(kind="rel_me", url=page.url)
    links = f'a rel="me" link to {", ".join(proven)} with one back' if proven else "a proven source's link"
    raise BadInput(
        f"{page.url} contains neither {token} nor {links}: write the token anywhere into its text, such as the bio, "
        "and try again; you can remove it once the source is proven"
    )


def rel_me_links(page: Response) -> set[str]:
    """The targets of a page's rel="me" links, in the form that `_same` gives."""
    from lxml import html

    try:
        tree = html.fromstring(page.body)
    except (ValueError, html.etree.ParserError):
        return set()
    links = [link for link in tree.iter("a", "link") if "me" in link.get("rel", "").lower().split()]
    return {_same(address) for link in links if (address := _joined(page.url, link.get("href", "")))}


def _joined(base: str, link: str) -> str | None:
    """The link's absolute URL; None when it is not http(s)."""
    try:
        address = urljoin(base, link)
    except ValueError:
        return None
    return address if host_of(address) else None


def _same(url: str) -> str:
    """A URL without what does not change the page: scheme, `www.`, the last slash, the fragment."""
    query = urlsplit(url).query
    return "/".join([_host(url), *_path(url, lower=False)]) + (f"?{query}" if query else "")


def _host(url: str) -> str:
    """The host and port of a URL, without `www.` and in lower case."""
    return urlsplit(url).netloc.lower().rpartition("@")[2].removeprefix("www.")


def _path(url: str, lower: bool = True) -> list[str]:
    path = urlsplit(url).path
    return [part for part in (path.lower() if lower else path).split("/") if part]
