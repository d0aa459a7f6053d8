"""Mask secrets and contact data (e-mail addresses, phone numbers) before anything is embedded, learned or shown.

Known token formats come from detect-secrets, phone numbers from Google's libphonenumber, public domains from the public
suffix list. High entropy alone proves nothing, because articles about code are full of hashes, test vectors and base64
examples. So a value without a known format is a secret only if it is assigned to a name such as `password` or `api_key`
and looks random. The keyword detector of detect-secrets does not know `token` and reports no positions, so assignments
are found here and judged by that library's entropy.
"""

import binascii
import re
from base64 import b64decode
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from twin_assets.documents import Category

REDACTION_VERSION = "3"

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
_VENDOR_TOKENS = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    + "|".join(
        (
            r"sntry[su]_[\w+/=-]{40,}",  # Sentry
            r"hv[sbr]\.(?=[\w-]{0,30}\d)[\w-]{20,}",  # HashiCorp Vault
            r"[A-Za-z0-9]{14}\.atlasv1\.[\w=-]{60,}",  # HashiCorp Terraform
            r"dapi[a-f0-9]{32}",  # Databricks
            r"AT[AC]TT3[\w=-]{30,}|BBDC-[A-Za-z0-9+/]{40,}",  # Atlassian
            r"dckr_[po]at_[\w-]{20,}",  # Docker
            r"glsa_\w{30,}|glc_[\w+/=-]{30,}|eyJrIjoi[A-Za-z0-9]{60,}",  # Grafana
            r"shp(?:at|ss|ca|pa|ua|tka)_[a-fA-F0-9]{32}",  # Shopify
            r"gl(?:dt|rt|cbt|ptt|ft|soat|imt|agent|oas|ffct)-[\w-]{20,}",  # GitLab
            r"lin_(?:api|oauth)_[A-Za-z0-9]{32,}",  # Linear
            r"secret_[A-Za-z0-9]{43}|ntn_[A-Za-z0-9]{40,}",  # Notion
            r"PMAK-[A-Za-z0-9-]{40,}",  # Postman
            r"dp\.(?:pt|st|ct|sa|scim|audit)\.[\w.-]{40,}",  # Doppler
            r"pul-[a-z0-9]{40}",  # Pulumi
            r"do[or]_v1_[a-f0-9]{64}",  # DigitalOcean
            r"pscale_(?:tkn|oauth|pw)_[\w.=-]{32,}",  # PlanetScale
            r"sbp_[a-z0-9]{40}|sb_secret_[\w-]{20,}",  # Supabase
            r"tskey-[A-Za-z0-9-]{30,}",  # Tailscale
            r"fig[a-z]{1,2}_[A-Za-z0-9-]{38,}",  # Figma
            r"fo1_[\w-]{43}|fm2_[\w+/=-]{60,}",  # Fly.io
            r"NRAK-[A-Z0-9]{27,}|NRI[IQ]-[\w-]{25,}",  # New Relic
            r"xkeysib-[\w-]{60,}|xsmtpsib-[\w-]{60,}",  # Brevo
            r"phx_[A-Za-z0-9_]{40,}",  # PostHog
            r"pn[ub]_[A-Za-z0-9]{36}",  # Prefect
            r"rdme_[a-z0-9]{60,}",  # ReadMe
            r"sgp_(?:[a-fA-F0-9]{16}_|local_)?[a-fA-F0-9]{40}|slk_[a-f0-9]{64}",  # Sourcegraph
            r"sq[a-z]{1,2}_[A-Za-z0-9]{40,}",  # SonarQube
            r"pcsk_\w{50,}",  # Pinecone
            r"nfp_[A-Za-z0-9]{36,}",  # Netlify
            r"dd[pw]_[A-Za-z0-9]{36}",  # Deno
            r"cf(?:at|ut|k)_[A-Za-z0-9]{40,}|v1\.0-[a-f0-9]{24}-[a-f0-9]{146}",  # Cloudflare
            r"bku[aj]_[a-z0-9]{40}",  # Buildkite
            r"pat[A-Za-z0-9]{14}\.[a-f0-9]{64}",  # Airtable
            r"CFPAT-[\w-]{43}",  # Contentful
            r"ptr_[A-Za-z0-9+/_-]{40,}",  # Portainer
            r"sl\.(?=[\w-]{0,30}\d)[\w-]{60,}",  # Dropbox
            r"FLWSECK(?:_TEST)?-[A-Za-z0-9]{32,}",  # Flutterwave
            r"key-[a-z0-9]{32}",  # Mailgun
            r"access-(?:sandbox|development|production)-[a-f0-9-]{36}",  # Plaid
            r"EAA[A-Za-z0-9]{90,}",  # Facebook
            r"LTAI[A-Za-z0-9]{20,}",  # Alibaba Cloud
            r"lsv2_(?:pt|sk)_[a-f0-9]{32}_[a-f0-9]{10}|sk-lf-[a-f0-9-]{36}",  # LangSmith, Langfuse
            r"pplx-[A-Za-z0-9]{40,}|nvapi-[\w-]{60,}|tvly-[\w-]{30,}|jina_[\w-]{50,}|e2b_[a-f0-9]{40}",  # AI services
            r"AKCp[A-Za-z0-9]{60,}|cmVmdGtu[A-Za-z0-9]{56}",  # JFrog Artifactory
            r"ops_eyJ[A-Za-z0-9+/=]{200,}",  # 1Password
            r"HRKU-[\w-]{36,}",  # Heroku
            r"vc[pkira]_[A-Za-z0-9]{50,}",  # Vercel
            r"duffel_(?:test|live)_[\w-]{43}|shippo_(?:test|live)_[a-f0-9]{40}|EZ[AT]K[A-Za-z0-9]{54}|fio-u-[\w-]{60,}",
        )
    )
    + r")|"
    r"\b(?:discord(?:app)?\.com/api/(?:v\d+/)?webhooks/\d{15,20}/|hooks\.zapier\.com/hooks/catch/\d+/|"
    r"\.webhook\.office\.com/webhookb2/)([\w@/-]{6,})",
    re.ASCII,
)
"""Formats by vendor, and webhooks, whose address alone lets anybody post. Only marks that no ordinary word begins with.
See: https://github.com/gitleaks/gitleaks (config/gitleaks.toml) and https://github.com/trufflesecurity/trufflehog"""
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
    r"[?&;#](?:(?P<password>password|passwd|pwd)|access_?token|auth(?:_?token)?|api_?key|app_?id|hapikey|"
    r"(?:access|subscription|private|auth)[_-]key|private_token|_auth|key|token|secret|code|client_secret|"
    r"sig(?:nature)?|x-amz-(?:signature|credential|security-token)|session(?:_?id)?|sid|jwt)=(?P<value>[^&;#\s)\]]+)",
    re.IGNORECASE,
)
_ASSIGNED = re.compile(
    r"(?:(?P<password>passw(?:or)?d|passphrase|passwd|pwd)|secret|token|(?:api|access|auth|account|client|private|"
    r"signing|service)[_-]?key|credential)(?:[_-]?(?:key|value|hash))?[\"'`]?\]?[ \t]{0,3}(?:=>|:=|==?|:)[ \t]{0,3}"
    r"(?:(?P<quote>[\"'`])(?P<quoted>[^\"'`\s]{6,200})(?P=quote)|(?P<bare>[^\s\"'`,;(){}\[\]<>\\]{6,200})(?![(\[]))",
    re.IGNORECASE,
)
_KEY_HEADER = re.compile(
    r"\b(?:Authorization|Private-Token|X-(?:[A-Za-z]+-){0,3}(?:Key|Token)):[ \t]*(?:Token[ \t]+)?"
    r"(?P<value>[\w+/=.~-]{16,})",
    re.ASCII | re.IGNORECASE,
)
_ENCODED_LOGIN = re.compile(
    r"(?:(?<![A-Za-z0-9_])_auth[ \t]*=[ \t]*[\"']?|[\"']auth[\"'][ \t]*:[ \t]*[\"']|\bBasic[ \t]+)"
    r"(?P<value>[A-Za-z0-9+/]{8,400}={0,2})",
)
"""`user:password` in base64: npm's `_auth`, docker's `"auth"`, HTTP's Basic.
See: https://docs.npmjs.com/cli/configuring-npm/npmrc"""
_NETRC = re.compile(
    r"\b(?:machine[ \t]+\S{1,200}|default)\s+login\s+\S{1,200}\s+"
    r"(?:account\s+\S{1,200}\s+)?password\s+(?P<value>\S{1,200})"
)
"""See: https://www.gnu.org/software/inetutils/manual/html_node/The-_002enetrc-file.html"""
_ARGUMENTS = r"\b(?:[^\n\\`]|\\\r?\n|\\.){0,400}?[ \t\n]"
_VALUE = r"(?:\"(?P<double>[^\"\n]{1,200})\"|'(?P<single>[^'\n]{1,200})'|(?P<bare>[^\s\"'`;|&)]{1,200}))"
_COMMANDS = tuple(
    re.compile(rf"\b(?:{command}){_ARGUMENTS}(?:{option}){_VALUE}")
    for command, option in (
        (r"mysql(?:dump|admin|import|show|check)?|mariadb(?:-dump|-admin)?", r"-p(?![ \t])|--password="),
        (r"sshpass", r"-p[ \t]*"),
        (r"(?:docker|podman|helm|oras|crane|skopeo|buildah)[ \t]+(?:registry[ \t]+)?login", r"(?:-p|--password)[ =]"),
        (r"wget", r"--(?:http-|ftp-|proxy-)?password[ =]"),
        (r"redis-cli", r"(?:-a|--pass)[ \t]+"),
        (r"mongo(?:sh|dump|restore|import|export)?", r"(?:-p|--password)[ =]"),
        (r"ldap(?:search|add|modify|delete|whoami)", r"-w[ \t]*"),
        (r"sqlcmd|bcp", r"-P[ \t]*"),
        (r"7z[ar]?", r"-p(?![ \t])"),
        (r"zip|unzip", r"-P[ \t]*"),
        (r"openssl", r"-pass(?:in|out)?[ \t]+pass:"),
        (r"smbclient|mount\.cifs|rpcclient", r"(?:-U|--user)[ =]?[^\s%]{1,60}%"),
    )
)
"""Programs that take a password as an argument, and the option for it."""
_CURL = re.compile(
    rf"\bcurl{_ARGUMENTS}(?:(?:-[a-zA-Z]*[uU]|--(?:proxy-)?user)(?:=|[ \t]*))[\"']?(?P<user>[^\s:\"'`]{{0,200}})[\"']?:"
    r"[\"']?(?P<value>[^\s\"'`]{0,200})"
)
"""See: https://curl.se/docs/manpage.html#-u"""
_EXAMPLE_PASSWORD = re.compile(
    r"[$%{<\[(].*|[^<]*>|.*(?:x{3,}|\*{3,}|\.{3}|…|your|example|placeholder|change[_-]?(?:me|this|it)|dummy|redacted|\$[({A-Z]).*|"
    r"(?-i:[A-Z_]+)|.{1,3}|"
    r"(?:(?:my|the|some|new|old|db|root|user|admin|test|api|app|access|super|docker|mysql)[_-]?)*"
    r"(?:pass(?:w(?:or)?d|phrase|code|wd)?|pwd|pw|secret|token|(?:api[_-]?)?key|test|admin|root|user(?:name)?|foo|bar|baz|"
    r"postgres|mysql|guest|none|null|here)\d{0,3}",
    re.IGNORECASE,
)
"""What stands in place of a password where a command is explained: variables, `<password>`, `my-secret`, `test`."""
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
    secrets = [
        *_private_keys(text), *_tokens(text), *_given_passwords(text), *_logins(text), *_assigned(text, category)
    ]  # fmt: skip
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

    for pattern in (*_known_formats(), _MORE_TOKENS, _VENDOR_TOKENS):
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
    for match in (*_AUTHORIZATION.finditer(text), *_KEY_HEADER.finditer(text)):
        if _looks_random(match["value"]):
            yield _Found(*match.span("value"), "secret")


def _given_passwords(text: str) -> Iterator[_Found]:
    """Find passwords where a program takes one: arguments of commands, .netrc, and logins in base64."""
    for pattern in _COMMANDS:
        for match in pattern.finditer(text):
            group = next(name for name in ("double", "single", "bare") if match[name] is not None)
            if not _EXAMPLE_PASSWORD.fullmatch(match[group]):
                yield _Found(*match.span(group), "password")
    for match in _CURL.finditer(text):
        if match["value"] and not _EXAMPLE_PASSWORD.fullmatch(match["value"]):
            yield _Found(*match.span("value"), "password")
        elif not match["value"] and _is_password(match["user"]):
            yield _Found(*match.span("user"), "password")
    for match in _NETRC.finditer(text):
        if not _EXAMPLE_PASSWORD.fullmatch(match["value"]):
            yield _Found(*match.span("value"), "password")
    for match in _ENCODED_LOGIN.finditer(text):
        if _is_encoded_login(match["value"]):
            yield _Found(*match.span("value"), "password")


def _is_encoded_login(value: str) -> bool:
    """True if a value is base64 of `user:password`, unless the password is an example."""
    try:
        user, colon, password = b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return False
    return bool(colon) and (user + password).isprintable() and not _EXAMPLE_PASSWORD.fullmatch(password or user)


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
