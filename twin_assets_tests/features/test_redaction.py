"""What is masked and what is not. Secrets are drawn here, so that none stands in the repository or in a message."""

import base64
import json
import random
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from twin_assets.documents import Category
from twin_assets.features.redaction import MASKS, redact, redact_url
from twin_assets.training.process.examples import encode_rows
from twin_assets_tests.conftest import raw

ARTICLE, POST, CODE = Category.ARTICLE, Category.POST, Category.CODE
DRAW = random.Random(7)
ALNUM, HEX = string.ascii_letters + string.digits, "0123456789abcdef"


def drawn(length: int, alphabet: str = ALNUM) -> str:
    return "".join(DRAW.choices(alphabet, k=length))


def jwt() -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT"}, {"sub": drawn(9), "iat": 1516239})]
    return ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), drawn(43)])


def private_key(label: str) -> str:
    body = "\n".join(drawn(64, ALNUM + "+/") for _ in range(6))
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----"


SECRETS = {
    "aws access key": "AKIA" + drawn(16, string.ascii_uppercase + string.digits),
    "github": "ghp_" + drawn(36),
    "github fine-grained": "github_pat_" + drawn(22) + "_" + drawn(59),
    "gitlab": "glpat-" + drawn(20),
    "openai": "sk-" + drawn(20) + "T3BlbkFJ" + drawn(20),
    "openai project": "sk-proj-" + drawn(48),
    "anthropic": "sk-ant-api03-" + drawn(80),
    "hugging face": "hf_" + drawn(34),
    "google": "AIza" + drawn(35),
    "slack": "xoxb-" + drawn(12, string.digits) + "-" + drawn(24),
    "stripe": "sk_live_" + drawn(24),
    "sendgrid": f"SG.{drawn(22)}.{drawn(43)}",
    "npm": "npm_" + drawn(36),
    "pypi": "pypi-AgEIcHlwaS5vcmc" + drawn(80),
    "telegram": f"{drawn(9, string.digits)}:{drawn(35)}",
    "jwt": jwt(),
    "rsa key": private_key("RSA PRIVATE KEY"),
    "openssh key": private_key("OPENSSH PRIVATE KEY"),
}
NAMED = {
    "password": "Tr0ub4dor&3x",
    "api_key": drawn(32, HEX),
    "client_secret": drawn(40, ALNUM + "-_") + "9a",
    "aws_secret_access_key": drawn(40, ALNUM + "+/"),
    "AUTH_TOKEN": drawn(32),
}
ADDRESSES = {
    "e-mail": ["jo.penhallow@skerrow-harbour.org", "j+tides@mail.example-post.co.uk", "anna@posteo.de"],
    "phone number": ["+44 20 7183 8750", "+1 415-357-4000", "+49 30 901820", "+86 10 6552 9988"],
}


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("category", list(Category))
@pytest.mark.parametrize("around", ["Use {} for it.", 'call("{}")', "KEY={}\nnext", "`{}`", "see https://a.dev/{}"])
def test_a_token_in_a_known_format_is_masked_wholly(name, category, around):
    secret = SECRETS[name]
    if around.startswith("see") and "PRIVATE KEY" in secret:
        around = "{}"
    redacted = redact(around.format(secret), category)
    assert not any(part in redacted.text for part in (secret, secret[-12:], secret[12:24])), name
    assert sum(redacted.counts.values()) == 1, name


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("line", ['{} = "{}"', "'{}': '{}',", "{}={}", '"{}" => "{}"'])
def test_what_a_telling_name_is_given_is_masked_when_it_looks_drawn(name, line):
    text = line.format(name if "'" in line or '"' in line else name.upper(), NAMED[name])
    for category in Category:
        redacted = redact(text, category)
        assert NAMED[name] not in redacted.text, (name, category)
        assert set(redacted.counts) <= {"secret", "password"}


@pytest.mark.parametrize("kind", ADDRESSES)
@pytest.mark.parametrize("category", list(Category))
def test_addresses_of_people_are_masked(kind, category):
    for address in ADDRESSES[kind]:
        for text in (
            f"Write to {address}, please.",
            f"# contact: {address}",
            f"[me](mailto:{address})",
            f"({address})",
        ):
            redacted = redact(text, category)
            assert address not in redacted.text, kind
            assert set(redacted.counts) == {kind}
            assert MASKS[kind] in redacted.text


@pytest.mark.parametrize("category", list(Category))
@pytest.mark.parametrize("around", ["_{}_", "**{}**", "__{}__", "{}-", "-{}", "...{}", "jo/{}", "{}/jo", "{}/{}"])
def test_an_address_is_masked_whatever_marks_stand_beside_it(around, category):
    address = ADDRESSES["e-mail"][0]
    assert redact(around.format(address, address), category).text == around.format("[e-mail]", "[e-mail]")


@pytest.mark.parametrize(
    "url",
    [
        "https://lore.kernel.org/lkml/20240101.GA1234@infradead.org/T/",
        "https://boats.social/c/knots@boats.social",
        "[the group](https://boats.social/c/knots@boats.social)",
    ],
)
def test_what_a_path_calls_so_is_no_address(url):
    assert redact(f"See {url} for it.", Category.ARTICLE).text == f"See {url} for it."
    asking = "https://skerrow-harbour.org/unsubscribe?address=jo.penhallow@skerrow-harbour.org"
    assert "jo.penhallow" not in redact(asking, Category.ARTICLE).text


@pytest.mark.parametrize("user", ["jo", "jo.penhallow@skerrow-harbour.org"])
@pytest.mark.parametrize("password", ["S3cr!tPw9", "S3cr@tPw9"])
def test_a_login_in_an_address_is_masked_with_an_at_in_the_user_or_in_the_password(user, password):
    redacted = redact(f"mongodb://{user}:{password}@db.skerrow-harbour.org/x", CODE)
    assert redacted.text == f"mongodb://{'[e-mail]' if '@' in user else 'jo'}:[password]@db.skerrow-harbour.org/x"


UPPER = string.ascii_uppercase + string.digits
VENDOR_TOKENS = {
    "sentry user": "sntryu_" + drawn(64, HEX),
    "sentry organization": f"sntrys_eyJpYXQiOjE2{drawn(80)}==_{drawn(43, ALNUM + '+/')}",
    "vault": "hvs." + drawn(24),
    "vault long": "hvs.CAESI" + drawn(86, ALNUM + "_-") + "7q",
    "vault batch": "hvb." + drawn(140, ALNUM + "_-") + "7q",
    "terraform": f"{drawn(14)}.atlasv1.{drawn(67)}",
    "databricks": "dapi" + drawn(32, HEX),
    "databricks with version": "dapi" + drawn(32, HEX) + "-2",
    "atlassian": "ATATT3xFfGF0" + drawn(172, ALNUM + "_-") + "=" + drawn(8, string.digits + "ABCDEF"),
    "atlassian other": "ATCTT3xFfGN0" + drawn(172, ALNUM + "_-") + "=" + drawn(8, string.digits + "ABCDEF"),
    "docker": "dckr_pat_" + drawn(27, ALNUM + "_-"),
    "grafana": f"glsa_{drawn(32)}_{drawn(8, HEX)}",
    "grafana cloud": "glc_" + drawn(100) + "==",
    "shopify": "shpat_" + drawn(32, HEX),
    "shopify secret": "shpss_" + drawn(32, HEX),
    "gitlab deploy": "gldt-" + drawn(20),
    "linear": "lin_api_" + drawn(40),
    "notion": "ntn_" + drawn(46),
    "postman": f"PMAK-{drawn(24, HEX)}-{drawn(34, HEX)}",
    "doppler": "dp.pt." + drawn(43),
    "pulumi": "pul-" + drawn(40, HEX),
    "digitalocean": "doo_v1_" + drawn(64, HEX),
    "planetscale": "pscale_tkn_" + drawn(43),
    "supabase": "sbp_" + drawn(40, HEX),
    "tailscale": f"tskey-auth-{drawn(12)}CNTRL-{drawn(32)}",
    "figma": "figd_" + drawn(40),
    "new relic": "NRAK-" + drawn(27, UPPER),
    "brevo": f"xkeysib-{drawn(64, HEX)}-{drawn(16)}",
    "posthog": "phx_" + drawn(43),
    "airtable": f"pat{drawn(14)}.{drawn(64, HEX)}",
    "cloudflare": "cfat_" + drawn(48),
    "mailgun": "key-" + drawn(32, HEX),
    "langsmith": f"lsv2_pt_{drawn(32, HEX)}_{drawn(10, HEX)}",
    "artifactory": "AKCp" + drawn(69),
}
WEBHOOKS = {
    "https://discord.com/api/webhooks/123456789012345678/{}": drawn(68, ALNUM + "_-"),
    "https://discordapp.com/api/v10/webhooks/1234567890123456789/{}": drawn(68, ALNUM + "_-"),
    "https://hooks.slack.com/services/T012AB3CD/B012AB3CD/{}": drawn(24),
    "https://hooks.zapier.com/hooks/catch/1234567/{}": drawn(7) + "q7",
}


@pytest.mark.parametrize("name", VENDOR_TOKENS)
@pytest.mark.parametrize("category", list(Category))
def test_a_token_with_a_mark_of_its_vendor_is_masked_wholly(name, category):
    token = VENDOR_TOKENS[name]
    for around in ("Use {} for it.", 'call("{}")', "`{}`", "KEY={}\nnext"):
        assert redact(around.format(token), category).text == around.format("[secret]"), name


@pytest.mark.parametrize("address", WEBHOOKS)
@pytest.mark.parametrize("category", list(Category))
def test_the_address_of_a_webhook_lets_nobody_post(address, category):
    redacted = redact(f"Post to {address.format(WEBHOOKS[address])} and wait.", category).text
    assert WEBHOOKS[address] not in redacted
    assert redacted.endswith(" and wait.")


WORD, BASE64 = "kelp7Harbour", base64.b64encode(b"jo:kelp7Harbour").decode()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("curl -u jo:{} https://a.dev", "password"), ("curl -sSu jo:{} https://a.dev", "password"),
        ("curl --user 'jo:{}' https://a.dev", "password"), ('curl -X POST --user="jo:{}" a.dev', "password"),
        ("curl -X POST \\\n  -d 'x' \\\n  -u jo:{}", "password"), ("curl --user jo:'{}' a.dev", "password"),
        ("curl -U proxy:{} -x proxy.dev a.dev", "password"),
        ("mysql -u root -p{} harbour", "password"), ("mysqldump --password={} tides > t.sql", "password"),
        ("mysql -h db -p'{}'", "password"), ("sshpass -p {} ssh jo@gauge", "password"),
        ("sshpass -p'{}' scp a b:", "password"), ("docker login -u jo -p {} registry.dev", "password"),
        ("wget --user jo --password {} a.dev", "password"), ("redis-cli -h db -a {} ping", "password"),
        ("mongosh --host db -u jo -p {}", "password"), ("openssl rsa -in k.pem -passin pass:{}", "password"),
        ("machine api.dev login jo password {}", "password"),
        ("machine api.dev\n  login jo\n  password {}\n", "password"), ("default login jo password {}", "password"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("category", list(Category))
@pytest.mark.parametrize("password", [WORD, "wonderland", "P@ssw0rd!9"])
def test_a_password_given_to_a_program_is_masked_and_the_rest_stays(text, kind, category, password):
    redacted = redact(text.format(password), category)
    assert (redacted.text, redacted.counts) == (text.format(f"[{kind}]"), {kind: 1})


@pytest.mark.parametrize(
    "text",
    [
        "//registry.npmjs.org/:_auth={}", '_auth = "{}"', '{{"auths": {{"a.dev": {{"auth": "{}"}}}}}}',
        "Authorization: Basic {}", 'curl -H "Authorization: Basic {}" a.dev',
    ],
)  # fmt: skip
@pytest.mark.parametrize("category", list(Category))
def test_a_login_in_base64_is_masked(text, category):
    assert redact(text.format(BASE64), category).text == text.format("[password]")


@pytest.mark.parametrize(
    "name", ["APPID", "appid", "app_id", "hapikey", "subscription-key", "private_token", "access_key"]
)
def test_a_key_in_the_parameters_of_a_url_is_masked(name):
    text = f"See https://a.dev/data/2.5/weather?q=Mevagissey&{name}={{}}&units=metric for it."
    assert redact(text.format("3f9c2e7ab4d05816" * 2), ARTICLE).text == text.format("[secret]")


@pytest.mark.parametrize(
    "header", ["X-Api-Key", "Private-Token", "X-Vault-Token", "Authorization: Token", "x-auth-token"]
)
def test_a_key_in_a_header_is_masked(header):
    text = f"curl -H '{header}{'' if ' ' in header else ':'} {{}}' https://a.dev"
    for category in Category:
        assert redact(text.format("3f9c2e7ab4d05816" * 2), category).text == text.format("[secret]")


@pytest.mark.parametrize("category", list(Category))
@pytest.mark.parametrize(
    "text",
    [
        "curl -u user:password https://a.dev", "curl -i -u 'test:test'", "curl -u username:token",
        'curl -sL --user "$1:$2" "$3"', "curl -u <user:password> https://a.dev", "curl --user neo4j:[PASSWORD] a.dev",
        'curl -u "${_username}:${_password}" a.dev', "curl -u $USER:$PASSWORD a.dev", 'curl -u "name" http://a.dev:15130/',
        'curl -u ":" https://a.dev', 'curl --user "xxx:yyy"', "curl -u {{ user }}:{{ password }} a.dev",
        "curl https://a.dev/path:with-colon -o out.json", "curl --url https://a.dev:8443/",
        "mysql -u root -p harbour", "mysql -p$PASSWORD", "mysql -pYOUR_PASSWORD", "mysql -ppassword db",
        "sshpass -p <password> ssh jo@gauge", 'sshpass -p "$PW" ssh gauge',
        "mkdir -p some/long/path && mysql --version",
        "docker login -u jo -p $TOKEN", "docker run -p 8080:80 nginx", "docker login && docker run --rm nginx",
        "openssl rsa -passin pass:secret", "The machine has a login, a password and a clock.",
        "machine HOST login USER password PASSWORD", "machine a.dev login jo password <password>",
        '"auth": "dXNlcjpwYXNzd29yZA=="', "_auth=${NPM_AUTH}", '"auth": "required-value"',
        "Authorization: Basic <base64>",
        "https://a.dev/?appid=harbour-app&q=1", "https://discord.com/api/webhooks/123456789012345678/token",
        "fig_something_long_and_readable_in_a_name_of_code_or_so", "X-Api-Key: your-key-here-please",
        "shpat_" + "x" * 32, "hvs." + "x" * 24, "glsa_" + "x" * 41, "key-value-store-of-the-harbour-office",
        "patching.the_harbour_office", "sl.create_a_long_dotted_name_of_a_module_that_is_longer_than_sixty_characters",
    ],
)  # fmt: skip
def test_commands_that_are_explained_with_examples_are_not_masked(text, category):
    assert redact(text, category).text == text


BODY = "\n".join([drawn(64, ALNUM + "+/"), drawn(64, ALNUM + "+/"), drawn(20)])


@pytest.mark.parametrize(
    ("key", "left"),
    [
        ("{begin}\n{body}\n\nMore of mine.", "{mask}\n\nMore of mine."),
        ("{begin}\n{body}\nand more of mine.", "{mask}\nand more of mine."),
        ("{begin}\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,AB12\n\n{body}\n", "{mask}\n"),
        ("# {begin}\n# {commented}\nx = 1", "# {mask}\nx = 1"),
        ('x = "{begin}\\n{escaped}"', 'x = "{mask}"'),
        ('x = (\n  b"{begin}\\n"\n  b"{quoted}"\n)', 'x = (\n  b"{mask}"\n)'),
        ("From {begin} on.\n\nMine.\n\n{begin}\n{body}\n{end}\nMine.", "From {begin} on.\n\nMine.\n\n{mask}\nMine."),
    ],
)
@pytest.mark.parametrize("category", list(Category))
def test_a_key_is_masked_to_its_last_line_and_nothing_after_it(key, left, category):
    marks = {"begin": "-----BEGIN PRIVATE KEY-----", "end": "-----END PRIVATE KEY-----", "mask": "[private key]"}
    bodies = {"commented": "\n# ", "escaped": "\\n", "quoted": '\\n"\n  b"'}
    bodies = {name: BODY.replace("\n", between) for name, between in bodies.items()}
    assert redact(key.format(**marks, **bodies, body=BODY), category).text == left.format(**marks)


def test_of_finds_that_overlap_no_end_stays_visible():
    assert redact("Ring +44 20 7183 8750.jo@skerrow-harbour.org now", ARTICLE).text == "Ring [e-mail] now"


@pytest.mark.parametrize(
    "text",
    [
        "ab-" * 20_000,
        "jo@a." * 12_000,
        "a://b:" * 10_000,
        "_" * 60_000,
        "curl -u " * 8_000,
        "mysql -p " * 7_000,
        "machine a login b " * 4_000,
        "sl." * 20_000,
        "key-" * 15_000,
    ],
)
def test_the_time_that_masking_takes_grows_with_the_length_of_a_text(text):
    started = time.process_time()
    redact(text, ARTICLE)
    assert time.process_time() - started < 3


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Call me at (415) 357-4000.", "en"), ("Tel. 020 7183 8750", "en"), ("Telefon: 030 901820", "de"),
        ("tél : 01 42 68 53 00", "fr"), ("电话:010-6552 9988", "zh"), ("415-357-4000 is the desk.", None),
    ],
)  # fmt: skip
def test_a_number_as_a_country_writes_it_is_masked_where_it_is_called_one(text, language):
    assert dict(redact(text, POST, language).counts) == {"phone number": 1}


@pytest.mark.parametrize(
    "text",
    [
        "commit 2fd976b41111031313107792b40d5cfd1a8baf90 fixed it",
        'sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"',
        "id: 123e4567-e89b-12d3-a456-426614174000",
        'blob = "SGVsbG8gd29ybGQsIHRoaXMgaXMgYmFzZTY0IQ=="',
        "write to jo@example.com, ops@mail.example.org or root@localhost",
        "git clone git@github.com:skerrow/gauge.git && ssh jo@gauge.skerrow.net",
        "hello @constance-ferry and @jo@mastodon.social, @_jo.pen@mastodon.social and https://fosstodon.org/@jo@a.social",
        "https://jo.pen@bitbucket.org/skerrow/gauge.git",
        "actions@users.noreply.github.com",
        "logo@2x.png, vega@5.20.2, package@1.0.0/dist/index.js",
        "y = model@weights.to(device) and model@weights.to_device(x)",
        "On 2024-05-01 12:30:00 at 1714567800, version 10.0.19041.1288, 978-3-16-148410-0",
        "50.0614300, -5.0918500 and 192.168.100.200 and 4111 1111 1111 1111",
        "call 123456789 times, then text 2024-2025 and ring 0x7fffffff",
        'password = "your-password-here"', "password: str = Field()", "password = getpass.getpass()",
        'token = request.headers["X-Token-Value-2"]', "api_key = os.environ['API_KEY_V2']", "API_KEY=${API_KEY_2}",
        "The password is the hardest part: it must be long.", "secret: not_so_secret_identifier_name",
        "TOKEN=<your token>", "AWS_SECRET_ACCESS_KEY=xxxxxxxxxxxxxxxxxxxxxxxxxxxx", "ghp_" + "x" * 36,
        "postgres://user:password@localhost/db", "-----BEGIN RSA PRIVATE KEY-----", "-----BEGIN PUBLIC KEY-----",
        "It starts with -----BEGIN PRIVATE KEY----- and (in the same file) goes on, after some lines, for very long.",
        "From -----BEGIN PRIVATE KEY----- to -----END PRIVATE KEY-----, whatever is written in between of them.",
        'pem = "-----BEGIN PRIVATE KEY-----\\n" + fill(b64encode(der), 64) + "\\n-----END PRIVATE KEY-----\\n"',
        "const key = 'ArrowLeft1'; let tokens = 4096;", "token_limit: 1234567890123456",
        "sort_key = lambda row: row[1]",
    ],
)  # fmt: skip
@pytest.mark.parametrize("category", list(Category))
def test_hashes_examples_dates_and_expressions_are_not_masked(text, category):
    assert redact(text, category).text == text


def test_a_value_masked_once_is_masked_wherever_it_stands():
    value = NAMED["api_key"]
    redacted = redact(f'api_key = "{value}"\ncurl -d {value} https://a.dev\n', CODE)
    assert value not in redacted.text
    assert redacted.counts == {"secret": 2}


def test_an_address_on_the_web_loses_its_login_and_what_lets_somebody_in():
    value = drawn(30) + "7q"
    redacted = redact_url(f"https://jo:{NAMED['password']}@a.dev/x?page=2&access_token={value}#top")
    assert redacted.text == "https://a.dev/x?page=2&access_token=[secret]#top"
    assert redacted.counts == {"password": 1, "secret": 1}
    plain = "https://a.dev/x?page=2&key=harbour#top"
    assert redact_url(plain).text == plain


EVERYTHING = {**SECRETS, **{kind: " ".join(values) for kind, values in ADDRESSES.items()}, "word": "word", "line": "\n"}


@given(st.lists(st.sampled_from(sorted(EVERYTHING))))
def test_masking_twice_changes_nothing(names):
    once = redact(" ".join(EVERYTHING[name] for name in names), ARTICLE)
    again = redact(once.text, ARTICLE)
    assert again.counts == {}
    assert not [name for name in names if name in SECRETS and SECRETS[name] in once.text]


def test_planted_secrets_reach_no_table_no_vector_and_no_token_of_training(project, materialize, writing, tiny_model):
    planted = {
        **SECRETS,
        **{f"named {name}": value for name, value in NAMED.items()},
        **{f"{kind} {number}": value for kind, values in ADDRESSES.items() for number, value in enumerate(values)},
    }
    filler = "The harbour gauge told the truth again, and I wrote the number down in the grey ledger. " * 4
    lines = [
        *SECRETS.values(),
        *(f'{name} = "{value}"' for name, value in NAMED.items()),
        *(f"contact: {value}" for values in ADDRESSES.values() for value in values),
    ]
    prose = "\n\n".join(f"{filler}\n\n{line}" for line in lines)
    title = f"Ask {ADDRESSES['e-mail'][0]} for {SECRETS['github']}"
    url = f"https://jo:{NAMED['password']}@a.dev/?token={SECRETS['gitlab']}"
    code = "def f():\n    pass\n\n" + "\n".join(f"# {line}" if "\n" not in line else f'"""{line}"""' for line in lines)
    planted_in = [
        raw("article", prose, title=title, url=url),
        raw("page", "".join(f"<p>{part}</p>" for part in prose.split("\n\n")), content_type="text/html", title=title),
        raw("post", prose, category=POST, title=None),
        raw("code.py", code, category=CODE),
    ]
    project.warehouse.documents.upsert([*writing, *planted_in])
    result = materialize()

    leaks = []
    for table in ("cleaned_documents", "chunks", "embeddings", "instruction_dataset"):
        handle = project.features.table("ada", table)
        everything = json.dumps(handle.lance.to_arrow().drop_columns(_binary(handle)).to_pylist(), default=str)
        assert table == "instruction_dataset" or "article" in everything
        leaks += [f"{name} in {table}" for name, value in planted.items() if json.dumps(value)[1:-1] in everything]
    rows = list(
        project.features.table("ada", "instruction_dataset").rows(["example_id", "instruction", "passages", "answer"])
    )
    tiny_tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    encoded = "\n".join(
        tiny_tokenizer.decode(window.ids) for window in encode_rows(rows, tiny_tokenizer, 512, 256).windows
    )
    leaks += [f"{name} in training" for name, value in planted.items() if value in encoded]
    assert leaks == []

    [cleaning] = result.asset_materializations_for_node("cleaned_documents")
    masked = cleaning.metadata["masked"].value
    assert set(masked) == set(MASKS)
    assert masked["private key"] == 8
    everything_shown = json.dumps({name: str(value) for name, value in cleaning.metadata.items()})
    assert not [name for name, value in planted.items() if value in everything_shown]


def _binary(handle):
    return [field.name for field in handle.lance.schema if field.name in ("signature", "vector")]
