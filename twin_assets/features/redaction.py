"""Mask secrets and contact data (e-mail addresses, phone numbers) before anything is embedded, learned or shown.

Known token formats come from detect-secrets, phone numbers from Google's libphonenumber, public domains from the public
suffix list. High entropy alone proves nothing, because articles about code are full of hashes, test vectors and base64
examples. So a value without a known format is a secret only if it is assigned to a name such as `password` or `api_key`
and looks random. The keyword detector of detect-secrets does not know `token` and reports no positions, so assignments
are found here and judged by that library's entropy.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from twin_assets.documents import Category

REDACTION_VERSION = "2"

Kind = Literal["private key", "secret", "password", "e-mail", "phone number"]
MASKS: dict[Kind, str] = {
    "private key": "[private key]",
    "secret": "[secret]",
    "password": "[password]",
    "e-mail": "[e-mail]",
    "phone number": "[phone number]",
}

MIN_SECRET = 16
"""A value of fewer characters is taken for an example, a counter or a name."""
MIN_ENTROPY = 3.0
"""A secret has at least this entropy, in bits per character; 32 random hexadecimal digits have 3.6 on average."""
MIN_DISTINCT = 6
"""A token of a known format has at least this many different characters; `ghp_xxxxxxxx…` has fewer."""
MIN_REPEATED = 8
"""A masked value of at least this many characters is masked wherever else it occurs in the text."""

_DETECTORS = (
    "aws.AWSKeyDetector", "azure_storage_key.AzureStorageKeyDetector", "discord.DiscordBotTokenDetector",
    "github_token.GitHubTokenDetector", "gitlab_token.GitLabTokenDetector", "jwt.JwtTokenDetector",
    "mailchimp.MailchimpDetector", "openai.OpenAIDetector", "pypi_token.PypiTokenDetector",
    "sendgrid.SendGridDetector", "slack.SlackDetector", "square_oauth.SquareOAuthDetector",
    "stripe.StripeDetector", "telegram_token.TelegramBotTokenDetector", "twilio.TwilioKeyDetector",
)  # fmt: skip
"""The detectors of detect-secrets that know an exact format; the others guess by names or by entropy."""
_MORE_TOKENS = re.compile(
    r"github_pat_\w{36,}|sk-(?:ant|proj|svcacct|or)-[\w-]{20,}|sk-[A-Za-z0-9]{40,}|hf_[A-Za-z0-9]{30,}|AIza[\w-]{35}|"
    r"ya29\.[\w-]{20,}|GOCSPX-[\w-]{20,}|xapp-\d-[\w-]{20,}|xox[a-z]-[\w-]{20,}|dop_v1_[a-f0-9]{64}|"
    r"npm_[A-Za-z0-9]{36}|rubygems_[a-f0-9]{48}|AGE-SECRET-KEY-1[A-Z0-9]{50,}|[rs]k_test_[A-Za-z0-9]{20,}|"
    r"whsec_[A-Za-z0-9+/=]{24,}|gsk_[A-Za-z0-9]{40,}|xai-[A-Za-z0-9]{40,}|r8_[A-Za-z0-9]{37}",
    re.ASCII,
)
"""Token formats that detect-secrets 1.5 does not know. See: https://docs.github.com/en/code-security/reference/secret-security"""
_TOKEN_GOES_ON = re.compile(r"[\w+/=-]*(?:\.[\w+/=-]+)*", re.ASCII)

_BETWEEN = r"(?:\\[nrt]?|[bru]{1,2}(?=[\"'])|[\s\"'+#*>|,()])"
_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?P<label>[A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?)-----"
    rf"(?:{_BETWEEN}*+[A-Z][A-Za-z-]{{3,20}}: [^\n\\]*+)*+{_BETWEEN}*+"
    r"(?:[A-Za-z0-9+/=]{32}(?:(?!-----BEGIN ).){0,20000}?-----END (?P=label)-----|"
    rf"[A-Za-z0-9+/=]{{40,}}+(?:{_BETWEEN}*+[A-Za-z0-9+/=]{{40,}}+)*+"
    r"(?:(?:(?:\\[nr])?[\"'+, \t]*\n[\"'+#*>| \t]*(?:[bru]{1,2}[\"'])?|\\[nr])[A-Za-z0-9+/=]+(?=[\"'`\\]|[ \t]*$))?)",
    re.DOTALL | re.MULTILINE,
)
"""A private key: its header, lines of PEM or PGP such as `Proc-Type: 4,ENCRYPTED`, and base64 up to its end, or as much
as there is of it. A header that a text only mentions is followed by no base64. See: https://www.rfc-editor.org/rfc/rfc1421#section-4.6"""
_LOGIN = re.compile(
    r"\b[a-z][a-z0-9+.-]{0,29}://(?P<user>[^\s/:?#\"'<>]*):(?P<value>[^\s/?#\"'<>]+)@(?=[\w\[])", re.IGNORECASE
)
"""A login in a URL. The last @ separates it from the host; the user may be an e-mail address."""
_AUTHORIZATION = re.compile(r"\b(?:Bearer|Basic)\s+(?P<value>[\w+/=.~-]{16,})", re.ASCII)
_URL = re.compile(r"\bhttps?://[^\s<>\"']+")
_PARAMETER = re.compile(
    r"[?&;#](?:(?P<password>password|passwd|pwd)|access_?token|auth(?:_?token)?|api_?key|key|token|secret|code|"
    r"client_secret|sig(?:nature)?|x-amz-(?:signature|credential|security-token)|session(?:_?id)?|sid|jwt)=(?P<value>[^&;#\s)\]]+)",
    re.IGNORECASE,
)
_ASSIGNED = re.compile(
    r"(?:(?P<password>passw(?:or)?d|passphrase|passwd|pwd)|secret|token|(?:api|access|auth|account|client|private|"
    r"signing|service)[_-]?key|credential)(?:[_-]?(?:key|value|hash))?[\"'`]?\]?[ \t]{0,3}(?:=>|:=|==?|:)[ \t]{0,3}"
    r"(?:(?P<quote>[\"'`])(?P<quoted>[^\"'`\s]{6,200})(?P=quote)|(?P<bare>[^\s\"'`,;(){}\[\]<>\\]{6,200})(?![(\[]))",
    re.IGNORECASE,
)
_ENVIRONMENT = re.compile(r"\s*(?:export\s+|set\s+|ENV\s+)?[A-Z][A-Z0-9_]*=")
_PLACEHOLDER = re.compile(
    r"x{4,}|\*{3,}|\.{3}|…|your|_here\b|example|placeholder|change[_-]?(me|this|it)|dummy|redacted|"
    r"secret|passw|token|api[_-]?key|^[$%{<]|(?:\b|_)(?:todo|foo|bar|test|fake|sample|none|null|true|false)(?:\b|_)",
    re.IGNORECASE,
)
_SEQUENCE = re.compile(r"1234|abcd", re.IGNORECASE)
_READABLE = re.compile(r"[A-Za-z_]+(?:[./:_-]+[A-Za-z_]+)*[./]?|[a-z]+://.*|[./~].*/.*|[\d.,:/-]+|v?\d+(?:\.\d+)+\S*")
"""Identifiers, paths, addresses, numbers, dates and versions: values that a person chose."""

_EMAIL = re.compile(
    r"(?<![\w.+@%-])(?<!//)[_.+-]*(?P<local>[A-Za-z0-9](?:[\w.+-]{0,62}[\w+-])?)"
    r"@(?P<domain>(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,24})(?!_*[A-Za-z0-9]|[@(]|\.\w|:[\w/~])",
    re.ASCII,
)
"""An e-mail address, perhaps between marks of markdown; not a fediverse handle, which has an @ before it, nor
`git@host:owner/name`, which goes on with a path, nor a login, which follows //."""
_RESERVED_DOMAIN = re.compile(
    r"(?:.*\.)?(?:example(?:\.\w{2,3}){0,2}|test|invalid|localhost|local|internal|"
    r"(?:foo|bar|baz|test|domain|company|my-?domain|your-?\w+|acme|somewhere)\.(?:com|org|net)|.*\.here|"
    r"users\.noreply\.\w+\.com)",
    re.IGNORECASE,
)
"""Domain names that RFC 2606 and RFC 6761 reserve for examples, and those that people use instead."""
_NOT_A_PERSON = re.compile(
    r"(?:no-?reply|do-?not-?reply|git|hg|svn|user(?:name)?|me|you|your-?\w+|foo|bar)", re.IGNORECASE
)
_AMBIGUOUS_IN_CODE = frozenset({"py", "js", "rs", "sh", "md", "pl", "cc", "so", "to", "id", "is", "name", "zip", "mov"})
"""Public suffixes that, in code, are more often a file extension or an attribute."""

_LOGIN_COMMAND = re.compile(r"\b(?:ssh|scp|sftp|rsync|mosh)\b[^\n]{0,60}$")

_REGIONS: dict[str, tuple[str, ...]] = {
    "en": ("US", "GB"), "de": ("DE", "AT", "CH"), "fr": ("FR",), "es": ("ES", "MX"), "it": ("IT",), "nl": ("NL",),
    "pt": ("BR", "PT"), "zh": ("CN",), "ja": ("JP",), "ko": ("KR",),
}  # fmt: skip
_INTERNATIONAL = re.compile(r"(?=(?P<number>[+＋][ (]?\d[^\n]{5,24}))")
_LABELLED = re.compile(
    r"(?:\b(?:tel|phones?|telephone|mobile|cell|call|text|sms|fax|whatsapp|dial|ring|reach|handy|telefon|tél|teléfono|"
    r"appelez|llama)\b|[☎📞📱]|电话|手机|致电|電話|전화)(?=(?P<number>[^\n]{7,60}))",
    re.IGNORECASE,
)
_AMERICAN = re.compile(r"(?P<number>(?:\(\d{3}\) ?|\b\d{3}[.-])\d{3}[.-]\d{4}\b)")
"""A North American phone number, written as hardly anything else is."""


@dataclass(frozen=True)
class Redacted:
    """A text with its masks, and how many masks of each kind were set."""

    text: str
    counts: Mapping[Kind, int]


@dataclass(frozen=True)
class _Found:
    start: int
    end: int
    kind: Kind


def redact(text: str, category: Category, language: str | None = None) -> Redacted:
    """Replace each secret, e-mail address and phone number by a readable mask for its kind.

    Masking twice changes nothing. Code needs more evidence than prose, because an expression is no secret. A phone
    number without an international `+` is recognized in the formats of the countries of `language`; None means English.
    """
    counts: Counter[Kind] = Counter()
    # Repeated, because a value beside a secret, such as the second of two phone numbers, may be found only once the
    # secret is masked.
    while found := _find_all(text, category, language):
        text, masked = _masked(text, found)
        counts += masked
    return Redacted(text, dict(counts))


def redact_url(url: str) -> Redacted:
    """Remove the login from a URL, and mask the parameters that grant access."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return redact(url, Category.ARTICLE)
    host = parts.netloc.rpartition("@")[2]
    if host == parts.netloc:
        return redact(url, Category.ARTICLE)
    rest = redact(urlunsplit(parts._replace(netloc=host)), Category.ARTICLE)
    return Redacted(rest.text, Counter(rest.counts) + Counter({"password": 1}))


def _find_all(text: str, category: Category, language: str | None) -> list[_Found]:
    secrets = [*_private_keys(text), *_tokens(text), *_logins(text), *_assigned(text, category)]
    addresses = [*_emails(text, category), *_phones(text, category, language)]
    return [*secrets, *_repeated(text, secrets), *addresses]


def _masked(text: str, found: Iterable[_Found]) -> tuple[str, Counter[Kind]]:
    """Mask what was found, and count it by kind; overlapping finds get one mask, for the kind of the longest."""
    counts: Counter[Kind] = Counter()
    parts, done = [], 0
    for group in _overlapping(found):
        kind = max(group, key=lambda one: one.end - one.start).kind
        parts += [text[done : group[0].start], MASKS[kind]]
        counts[kind] += 1
        done = max(one.end for one in group)
    return "".join([*parts, text[done:]]), counts


def _overlapping(found: Iterable[_Found]) -> list[list[_Found]]:
    """Sort the finds into groups that overlap, in order."""
    groups: list[list[_Found]] = []
    end = 0
    for one in sorted(found, key=lambda one: (one.start, -one.end)):
        if one.start < end:
            groups[-1].append(one)
        else:
            groups.append([one])
        end = max(end, one.end)
    return groups


def _private_keys(text: str) -> Iterator[_Found]:
    if "PRIVATE KEY" in text:
        for match in _PRIVATE_KEY.finditer(text):
            yield _Found(match.start(), match.end(), "private key")


def _tokens(text: str) -> Iterator[_Found]:
    """Find tokens of known formats, each up to its end, which a detector's own match may fall short of."""
    from detect_secrets.plugins.jwt import JwtTokenDetector

    for pattern in (*_known_formats(), _MORE_TOKENS):
        for match in pattern.finditer(text):
            start, end = match.span(match.lastindex or 0)
            goes_on = _TOKEN_GOES_ON.match(text, end)
            end = goes_on.end() if goes_on else end
            value = text[start:end]
            inside_another = start > 0 and text[start - 1].isascii() and text[start - 1].isalnum()
            if inside_another or len(set(value[-24:])) < MIN_DISTINCT:
                continue
            if value.startswith("eyJ") and not JwtTokenDetector.is_formally_valid(value):
                continue
            yield _Found(start, end, "secret")


@cache
def _known_formats() -> tuple[re.Pattern[str], ...]:
    from importlib import import_module

    patterns: list[re.Pattern[str]] = []
    for name in _DETECTORS:
        module, _, detector = name.partition(".")
        patterns += getattr(import_module(f"detect_secrets.plugins.{module}"), detector).denylist
    return tuple(patterns)


def _logins(text: str) -> Iterator[_Found]:
    """Find passwords in URLs, and the values of parameters and headers that grant access."""
    for match in _with_password(text):
        yield _Found(*match.span("value"), "password")
        if "@" in match["user"]:
            yield _Found(*match.span("user"), "e-mail")
    for url in _URL.finditer(text):
        for match in _PARAMETER.finditer(text, *url.span()):
            yield from _if_secret(match, "value")
    for match in _AUTHORIZATION.finditer(text):
        if _looks_random(match["value"]):
            yield _Found(*match.span("value"), "secret")


def _with_password(text: str) -> Iterator[re.Match[str]]:
    return (match for match in _LOGIN.finditer(text) if _is_password(match["value"]))


def _assigned(text: str, category: Category) -> Iterator[_Found]:
    """Find values that are assigned to a name for a secret, except inside URLs, where `_logins` finds them."""
    addresses = {place for url in _URL.finditer(text) for place in range(*url.span())}
    for match in _ASSIGNED.finditer(text):
        group = "quoted" if match["quote"] else "bare"
        is_expression = group == "bare" and category is Category.CODE and not _is_environment(text, match.start())
        if not is_expression and match.start() not in addresses:
            yield from _if_secret(match, group)


def _if_secret(match: re.Match[str], group: str) -> Iterator[_Found]:
    """Yield the value of an assignment if it can be a password, or looks random, as its name requires."""
    value = match[group]
    if match["password"] and _is_password(value):
        yield _Found(*match.span(group), "password")
    elif not match["password"] and _looks_random(value):
        yield _Found(*match.span(group), "secret")


def _is_environment(text: str, position: int) -> bool:
    """True if the line is `NAME=value`: the only assignment in code whose unquoted value is not an expression."""
    return bool(_ENVIRONMENT.match(text, text.rfind("\n", 0, position) + 1))


def _is_password(value: str) -> bool:
    """True if a value has letters and also digits or signs, and looks like neither an example nor a name."""
    has_letter = any(one.isalpha() for one in value)
    has_other = any(not one.isalpha() and one not in "-_." for one in value)
    return has_letter and has_other and not (_PLACEHOLDER.search(value) or _READABLE.fullmatch(value))


def _looks_random(value: str) -> bool:
    """True if a value is long, mixes letters and digits, and is unlike a name, a path, a number or an example."""
    return (
        len(value) >= MIN_SECRET
        and any(one.isdigit() for one in value)
        and any(one.isalpha() for one in value)
        and not (_PLACEHOLDER.search(value) or _SEQUENCE.search(value) or _READABLE.fullmatch(value))
        and _entropy(value) >= MIN_ENTROPY
    )


def _entropy(value: str) -> float:
    from detect_secrets.plugins.high_entropy_strings import Base64HighEntropyString

    return float(Base64HighEntropyString().calculate_shannon_entropy(value))


def _repeated(text: str, secrets: Iterable[_Found]) -> Iterator[_Found]:
    values = {text[one.start : one.end]: one.kind for one in secrets if one.end - one.start >= MIN_REPEATED}
    for value, kind in values.items():
        start = text.find(value)
        while start >= 0:
            yield _Found(start, start + len(value), kind)
            start = text.find(value, start + len(value))


def _emails(text: str, category: Category) -> Iterator[_Found]:
    hosts = {match.end() for match in _with_password(text)}
    # `https://lore.kernel.org/lkml/2024.GA12@infradead.org/` names a message, `/c/knots@boats.social` a group.
    paths = ((url.start(), url[0].partition("?")[0]) for url in _URL.finditer(text))
    segments = {start + at + 1 for start, path in paths for at, character in enumerate(path) if character == "/"}
    for match in _EMAIL.finditer(text) if "@" in text else ():
        domain = match["domain"].lower()
        suffix = domain.rpartition(".")[2]
        if _RESERVED_DOMAIN.fullmatch(domain) or _NOT_A_PERSON.fullmatch(match["local"]) or not _is_public(domain):
            continue
        if match.start("domain") in hosts or match.start("local") in segments:
            continue
        if category is Category.CODE and suffix in _AMBIGUOUS_IN_CODE:
            continue
        if _LOGIN_COMMAND.search(text[max(0, match.start() - 70) : match.start()]):
            continue
        yield _Found(match.start("local"), match.end(), "e-mail")


def _is_public(domain: str) -> bool:
    """True if a domain name ends in a public suffix of Mozilla's list (https://publicsuffix.org)."""
    from tld import get_tld

    return get_tld(f"https://{domain}", fail_silently=True) is not None


def _phones(text: str, category: Category, language: str | None) -> Iterator[_Found]:
    """Find valid international numbers; in prose also national ones that a format or a word marks as phone numbers."""
    for match in _INTERNATIONAL.finditer(text):
        yield from _numbers(text, *match.span("number"), None)
    if category is Category.CODE:
        return
    for match in (*_LABELLED.finditer(text), *_AMERICAN.finditer(text)):
        for region in _REGIONS.get(language or "en", ()):
            yield from _numbers(text, *match.span("number"), region)


def _numbers(text: str, start: int, end: int, region: str | None) -> Iterator[_Found]:
    from phonenumbers import Leniency, PhoneNumberMatcher

    for match in PhoneNumberMatcher(text[start:end], region, leniency=Leniency.VALID):
        if _stands_alone(text, start + match.start, start + match.end):
            yield _Found(start + match.start, start + match.end, "phone number")


def _stands_alone(text: str, start: int, end: int) -> bool:
    """True if a number is not part of a longer expression, address or name."""
    return not (re.search(r"[\w/.,#$-]$", text[max(0, start - 1) : start]) or re.match(r"[\w%/]|\.\d", text[end:]))
