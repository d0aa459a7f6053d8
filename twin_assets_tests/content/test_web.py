import gzip
import urllib.request
from base64 import b64encode

import pytest

from twin_assets.content.web import AddressRefused, StatusError, WebClient, only_public_addresses
from twin_assets.errors import BadItem, BadSource
from twin_assets_tests.collection.site import Page, Site


@pytest.fixture
def site():
    server = Site()
    yield server
    server.close()


@pytest.fixture
def http(settings):
    with WebClient(settings) as client:
        yield client


def test_private_addresses_are_refused_whatever_the_library(settings, site):
    guarded = settings.model_copy(update={"allow_private_addresses": False})
    with WebClient(guarded) as client, pytest.raises(BadItem, match="is not a public address"):
        client.get(f"{site.url}/")
    with only_public_addresses(), pytest.raises(AddressRefused):
        urllib.request.urlopen(site.url, timeout=5)
    assert site.asked == []


def test_a_redirect_to_a_private_address_is_refused(settings, site):
    site.pages["/"] = Page(b"", status=302, headers={"Location": "http://169.254.169.254/latest/meta-data"})
    with WebClient(settings) as client, only_public_addresses(), pytest.raises(BadItem):
        client.get(f"{site.url}/")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://a.example/", "http://", "gopher://x"])
def test_only_http_is_fetched(http, url):
    with pytest.raises(BadItem, match="is not an http"):
        http.get(url)


def test_a_failing_server_is_tried_again_and_retry_after_is_honoured(http, site):
    answers = iter(
        [Page(b"", status=503, headers={"Retry-After": "0"}), Page(b"", status=429, headers={"Retry-After": "0"})]
    )
    site.pages["/"] = lambda: next(answers, Page(b"here"))
    assert http.get(f"{site.url}/").body == b"here"
    assert site.paths() == ["/"] * 3


def test_an_outage_is_an_error_that_names_the_url(http):
    with pytest.raises(BadItem, match=r"http://127\.0\.0\.1:9/x could not be reached.*4 tries"):
        http.get("http://127.0.0.1:9/x")


def test_an_answer_that_grows_beyond_the_limit_is_cut_off(settings, site):
    small = settings.model_copy(update={"max_response_bytes": 1_000_000})
    site.pages["/"] = Page(gzip.compress(b"0" * 5_000_000), headers={"Content-Encoding": "gzip"})
    with WebClient(small) as client, pytest.raises(BadItem, match="larger than 1 MB"):
        client.get(f"{site.url}/")


def test_robots_txt_is_obeyed(http, site):
    site.pages["/robots.txt"] = Page(b"User-agent: *\nDisallow: /private", "text/plain")
    site.pages["/public"] = Page(b"yes")
    assert http.get(f"{site.url}/public").body == b"yes"
    with pytest.raises(BadItem, match=r"robots\.txt"):
        http.get(f"{site.url}/private/x")


def test_an_answer_is_kept_and_a_304_gives_it_back(settings, site):
    site.pages["/"] = Page(b"x", etag='"7"')
    for expected in (False, True):
        with WebClient(settings, settings.web_cache("ada")) as client:
            answer = client.get(f"{site.url}/")
        assert (answer.body, answer.unchanged) == (b"x", expected)
    site.pages["/"] = Page(b"y", etag='"8"')
    with WebClient(settings, settings.web_cache("ada")) as client:
        assert client.get(f"{site.url}/").body == b"y"
    assert site.paths() == ["/"] * 3


def test_a_fresh_answer_is_asked_about_again(settings, site):
    """Who presses "collect" after an edit wants to see the edit, whatever the site says about its age."""
    site.pages["/"] = Page(b"x", headers={"Cache-Control": "max-age=86400"})
    with WebClient(settings, settings.web_cache("ada")) as client:
        assert client.get(f"{site.url}/").body == b"x"
        site.pages["/"] = Page(b"y")
        assert client.get(f"{site.url}/").body == b"y"


def test_an_answer_that_was_cut_off_is_not_kept(settings, site):
    small = settings.model_copy(update={"max_response_bytes": 1_000_000})
    site.pages["/"] = Page(b"0" * 5_000_000, etag='"7"')
    with WebClient(small, settings.web_cache("ada")) as client, pytest.raises(BadItem, match="larger than 1 MB"):
        client.get(f"{site.url}/")
    with WebClient(settings, settings.web_cache("ada")) as client:
        answer = client.get(f"{site.url}/")
    assert (len(answer.body), answer.unchanged) == (5_000_000, False)


def test_a_token_is_sent_to_its_host_alone_and_stands_in_no_file_and_no_error(settings, site):
    other = Site()
    other.pages["/there"] = Page(b"", status=403)
    site.pages["/api"] = Page(b"", status=302, headers={"Location": f"{other.url}/there"})
    with WebClient(settings, settings.web_cache("ada")) as client, pytest.raises(StatusError) as caught:
        client.api(f"{site.url}/api", headers={"Authorization": "Bearer s3cr3t-t0ken"})
    other.close()
    assert caught.value.status == 403
    assert "s3cr3t" not in str(caught.value)
    assert [headers.get("Authorization") for _, headers in site.asked] == ["Bearer s3cr3t-t0ken"]
    assert [headers.get("Authorization") for _, headers in other.asked] == [None]
    written = [path.read_bytes() for path in settings.cache_dir.rglob("*") if path.is_file()]
    assert not any(b"s3cr3t" in content for content in written)


def test_a_url_with_a_password_is_not_fetched_and_stands_in_no_file_and_no_error(settings, site):
    other = Site()
    with_login = f"{other.url}/there".replace("//", "//ada:s3cr3t@")
    site.pages["/moved"] = Page(b"", status=302, headers={"Location": with_login, "Cache-Control": "no-store"})
    with WebClient(settings, settings.web_cache("ada")) as client:
        for fetch, url in ((client.get, with_login), (client.api, with_login), (client.get, f"{site.url}/moved")):
            with pytest.raises(BadItem, match=rf"{other.url}/there was given with a user name or password") as caught:
                fetch(url)
            assert "s3cr3t" not in str(caught.value)
    other.close()
    assert other.paths() == []
    written = [path.read_bytes() for path in settings.cache_dir.rglob("*") if path.is_file()]
    assert not any(secret in content for content in written for secret in (b"s3cr3t", b64encode(b"ada:s3cr3t")))


@pytest.mark.parametrize("name", ["Authorization", "PRIVATE-TOKEN", "Cookie"])
def test_an_answer_to_a_request_with_a_token_is_not_kept(settings, site, name):
    site.pages["/api"] = Page(
        b'{"mine": true}', "application/json", etag='"7"', headers={"Cache-Control": "max-age=60"}
    )
    for _ in range(2):
        with WebClient(settings, settings.web_cache("ada")) as client:
            client.get(f"{site.url}/api")
            assert not client.api(f"{site.url}/api", headers={name: "s3cr3t-t0ken"}).unchanged
    written = [path.read_bytes() for path in settings.cache_dir.rglob("*") if path.is_file()]
    assert written
    assert not any(b"s3cr3t" in content for content in written)


def test_a_token_is_not_sent_in_the_clear(settings, site):
    guarded = settings.model_copy(update={"allow_private_addresses": False})
    with WebClient(guarded) as client, pytest.raises(BadSource, match="unencrypted") as caught:
        client.api(f"{site.url}/api", headers={"Authorization": "Bearer s3cr3t"})
    assert "s3cr3t" not in str(caught.value)
    assert site.asked == []


def test_an_api_says_in_the_body_what_was_wrong(http, site):
    site.pages["/api"] = Page(b'{"message": "expired"}', status=401)
    with pytest.raises(StatusError, match="answered 401") as caught:
        http.api(f"{site.url}/api")
    assert caught.value.body == b'{"message": "expired"}'


def test_a_long_pause_is_not_waited_for(http, site):
    site.pages["/"] = Page(b"", status=429, headers={"Retry-After": "3600"})
    with pytest.raises(StatusError, match="asks for a pause of 60 minutes: collect again then"):
        http.get(f"{site.url}/")
    assert site.paths() == ["/"]


def test_requests_to_one_host_keep_their_distance(settings, site):
    site.pages["/"] = Page(b"x")
    slow = settings.model_copy(update={"request_interval_s": 0.2})
    import time

    with WebClient(slow) as client:
        started = time.monotonic()
        for _ in range(3):
            client.get(f"{site.url}/")
    assert time.monotonic() - started >= 0.6


@pytest.mark.parametrize("url", ["http://[x", "http://xn--a.example/", f"http://{'a' * 300}.example/"])
def test_a_host_that_cannot_be_is_an_error_that_names_the_url(http, url):
    with pytest.raises(BadItem) as caught:
        http.get(url)
    assert str(caught.value).startswith(url)


@pytest.mark.parametrize("charset", ["utf8mb4", "none", "hex", "idna", "undefined"])
def test_a_charset_that_does_not_exist_is_read_as_utf_8(http, site, charset):
    site.pages["/"] = Page("Café".encode(), f"text/html; charset={charset}")
    assert http.get(f"{site.url}/").text == "Café"


def test_a_body_that_is_not_compressed_the_way_it_says_is_an_error_that_names_the_url(http, site):
    site.pages["/"] = Page(b"plain", headers={"Content-Encoding": "gzip"})
    with pytest.raises(BadItem, match=f"{site.url}/ sent a body that is not compressed as its header says"):
        http.get(f"{site.url}/")


def test_a_circle_of_redirects_is_an_error(http, site):
    site.pages["/"] = Page(b"", status=302, headers={"Location": "/"})
    with pytest.raises(BadItem, match="redirects in a circle"):
        http.get(f"{site.url}/")
