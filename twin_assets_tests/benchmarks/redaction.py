"""Shows what would be masked in real authors' documents, by kind, so that a person can judge the false positives.

    python -m twin_assets_tests.benchmarks.redaction ../shared/data/authors [--show 20]

`--show` prints that many masked texts of each kind with the words around them. It prints them unmasked, so only run it
on published writing.

    python -m twin_assets_tests.benchmarks.redaction --planted <checkout of github.com/trufflesecurity/trufflehog>

counts how many of the token formats in that scanner's own tests are masked, each in the text that its test gives it in
and alone in a sentence.
"""

import json
import re
import sys
from collections import Counter
from pathlib import Path

from twin_assets.documents import Category
from twin_assets.features.redaction import redact

AROUND = 40
DETECTORS = (
    "airtablepersonalaccesstoken", "anthropic", "atlassian/v2", "atlassiandatacenter/bitbucketdatacenter",
    "baremetrics", "bannerbear/v2", "buildkite/v2", "closecrm", "clickuppersonaltoken", "cloudflareapitoken/v2",
    "contentfulpersonalaccesstoken", "courier", "databrickstoken", "deno", "digitaloceanv2", "discordwebhook",
    "dockerhub/v2", "doppler", "dropbox", "figmapersonalaccesstoken/v2", "figmapersonalaccesstoken/v3",
    "fleetbase", "flutterwave", "frameio", "github/v2", "gocardless", "grafana", "grafanaserviceaccount",
    "harness", "huggingface", "klaviyo", "linearapi", "mailgun", "mapbox", "microsoftteamswebhook/v1",
    "netlify/v2", "newrelicinsightsinsertkey", "newrelicinsightsquerykey", "newrelicuserkey", "ngrok",
    "nightfall", "notion", "npmtokenv2", "octopusdeploy", "openai", "openaiadmin", "openrouter", "paystack",
    "pinecone", "plaidkey", "planetscale", "planetscaledb", "portainertoken", "posthog", "postman", "prefect",
    "pulumi", "ramp", "readme", "rechargepayments", "replicate", "robinhoodcrypto", "rubygems", "sendgrid",
    "sendinbluev2", "sentryorgtoken", "sentrytoken/v2", "shopify", "slack", "slackwebhook", "sonarcloud/v2",
    "sourcegraph", "sourcegraphcody", "squareapp", "stripe", "supabasetoken", "tailscale", "teamworkcrm",
    "tickettailor", "tineswebhook", "voiceflow", "zapierwebhook",
)  # fmt: skip
"""Those of TruffleHog's detectors whose tests hold a token that begins with a mark of its vendor."""
_LITERAL = re.compile(r"(\w+)\s*:?=\s*(`[^`]*`|\"(?:[^\"\\\n]|\\.)*\")")
_TOKEN = re.compile(
    r"(?<![\w./-])(?:[A-Za-z][A-Za-z0-9]{1,9}[_-]|[a-z]{2,6}\.|[A-Z]{2,5}\.|dapi|ATATT3|ATCTT3|https://[\w./-]+/)"
    r"[\w./+=-]{20,}"
)


def finds(text: str, masked: str) -> list[tuple[str, str]]:
    """(mask, the original with words around it) of each mask, by walking both texts side by side."""
    found, at, since = [], 0, 0
    while (start := masked.find("[", since)) >= 0:
        end = masked.find("]", start) + 1
        mask = masked[start:end]
        position = at + start - since
        if text[position : position + len(mask)] == mask or not end:
            at, since = position + 1, start + 1
            continue
        rest = masked[end : end + 12]
        after = text.find(rest, position) if rest else len(text)
        found.append((mask, text[max(0, position - AROUND) : after + AROUND].replace("\n", " ")))
        at, since = after, end
    return found


def main(folder: Path, shown: int) -> None:
    """Print counts by author and kind, and some of the masked texts."""
    counts: Counter[tuple[str, str]] = Counter()
    documents: Counter[str] = Counter()
    texts: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*/docs.jsonl")):
        for line in path.read_text().splitlines():
            document = json.loads(line)
            documents[path.parent.name] += 1
            redacted = redact(document["text"], Category(document["category"]))
            counts.update({(path.parent.name, kind): n for kind, n in redacted.counts.items()})
            for mask, context in finds(document["text"], redacted.text) if redacted.counts else ():
                texts.setdefault(mask, []).append(context)
    print(f"{sum(documents.values())} documents: {dict(documents)}")
    for (author, kind), n in sorted(counts.items()):
        print(f"{author:<12} {kind:<14} {n:>4}")
    for mask, contexts in texts.items() if shown else ():
        print(f"\n{mask}: {len(contexts)}")
        for context in contexts[:shown]:
            print(f"  … {context} …")


def planted(checkout: Path) -> None:
    """Print how many of the scanner's formats are masked, and name those that are not."""
    missed: list[str] = []
    found = {"in its test's text": 0, "alone": 0}
    formats = 0
    for name in DETECTORS:
        tests = "".join(path.read_text() for path in sorted((checkout / "pkg/detectors" / name).glob("*_test.go")))
        literals = [literal[1:-1] for named, literal in _LITERAL.findall(tests) if "invalid" not in named.lower()]
        tokens = [(token, text) for text in literals for token in _TOKEN.findall(text) if len(set(token)) > 10]
        if not tokens:
            continue
        formats += 1
        token, text = tokens[0]
        for way, around in (("in its test's text", text), ("alone", f"Here is {token} for you.")):
            masked = all(token[-12:] not in redact(around, category).text for category in Category)
            found[way] += masked
            missed += [] if masked else [f"{name} ({way})"]
    print(f"{formats} formats, masked: {found}")
    print(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    if sys.argv[1] == "--planted":
        planted(Path(sys.argv[2]))
    else:
        main(Path(sys.argv[1]), int(sys.argv[3]) if "--show" in sys.argv else 0)
