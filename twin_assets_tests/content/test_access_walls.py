import json

import pytest

from twin_assets.content.access_walls import access_wall
from twin_assets_tests.collection.site import article

LONG = "A sentence of an article that goes on for a while, about tides and how they are measured. " * 30


def page(title: str, body: str, head: str = "") -> bytes:
    return f"<!doctype html><html><head><title>{title}</title>{head}</head><body>{body}</body></html>".encode()


def ld(**about: object) -> str:
    return f'<script type="application/ld+json">{json.dumps({"@type": "Article", **about})}</script>'


CLOUDFLARE = page(
    "Just a moment...",
    "<noscript>Enable JavaScript and cookies to continue</noscript>"
    '<script>window._cf_chl_opt={};a.src="/cdn-cgi/challenge-platform/h/g/orchestrate/chl_page/v1"</script>',
)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (CLOUDFLARE, "prove that they are human"),
        (page("Access denied", "<p>You do not have access.</p>"), "prove that they are human"),
        (page("Before you continue to the site", "<p>We use cookies.</p><button>Accept</button>"), "consent"),
        (page("Page not found", "<p>Sorry, we looked everywhere.</p>"), "no such page"),
        (page("My blog", "<h1>404</h1><p>Nothing here.</p>"), "no such page"),
        (page("A story", f"<p>{LONG}</p>", ld(isAccessibleForFree=False)), "only the beginning"),
        (page("A story", f"<p>{LONG}</p>", ld(isAccessibleForFree="False")), "only the beginning"),
        (page("A story", "<p>Once.</p><p>This post is for paid subscribers</p>"), "only the beginning"),
        (page("A story", "<p>Once.</p>", '<meta property="article:content_tier" content="locked">'), "only the beginning"),
    ],
)
def test_what_stands_where_a_text_should_is_told_with_what_to_do(body, reason):
    assert reason in (access_wall(body, "https://a.example/x") or "")


def test_a_consent_page_is_told_by_its_address():
    assert "consent" in (access_wall(page("Hello", "<p>Yes?</p>"), "https://consent.example.com/m?continue=x") or "")


@pytest.mark.parametrize(
    "body",
    [
        article("A page", "Some paragraph of text.|And another one.").body,
        page("404: how I lost my blog", f"<h1>404</h1><p>{LONG}</p>"),
        page("Access denied", f"<p>{LONG}</p>"),
        page("On paywalls", f"<p>{LONG}</p><p>Every site now says: subscribe to continue reading.</p>"),
        page("A story", f"<p>{LONG}</p>", ld(isAccessibleForFree=True)),
        page("A story", f"<p>{LONG}</p>", '<script type="application/ld+json">{broken</script>'),
        b"",
        b"plain text",
    ],
)
def test_an_article_is_no_wall_even_when_it_writes_about_one(body):
    assert access_wall(body, "https://a.example/x") is None
