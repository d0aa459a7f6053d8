"""Front matter as Jekyll, Hugo, Zola, Eleventy, Middleman and Obsidian write it: YAML, TOML or JSON before a text.

Every value is text first, as its author wrote it: YAML would make 1342 of `title: 22:22` and False of `title: No`. Who
needs a date or a yes-or-no reads it from the text. See: https://gohugo.io/content-management/front-matter/
"""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import PurePosixPath
from typing import Any

from twin_assets.documents import Visibility
from twin_assets.errors import BadItem

_DRAFT_FOLDERS = frozenset({"_drafts", "drafts"})
_YES = frozenset({"true", "yes", "on", "y", "1"})
_NO = frozenset({"false", "no", "off", "n", "0", "never"})
_HIDDEN_IF_YES = frozenset({"private", "draft", "unlisted", "hidden", "headless", "membersonly"})
_HIDDEN_IF_NO = frozenset({"published", "publish", "public", "dgpublish", "render"})
_STATES = frozenset({"visibility", "status", "poststatus", "access", "state", "private", "draft"})
_HIDDEN_STATES = frozenset({
    "private", "draft", "auto-draft", "future", "scheduled", "pending", "trash", "trashed", "deleted", "hidden",
    "unlisted", "unpublished", "members", "members-only", "member", "paid", "paid-only", "only-paid", "tiers",
    "premium", "subscribers", "subscriber", "password", "protected", "internal", "confidential", "skip",
})  # fmt: skip
_LINE = re.compile(r"""^\s*["']?([A-Za-z][\w-]*)["']?\s*[:=]\s*["']?(.*?)["']?\s*,?\s*$""")
_FENCES = frozenset({"---", "+++", ";;;", "---toml", "---json", "}"})
_MAX_DAMAGED_LINES = 100


def read_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """The front matter of a text, its keys in lower case, and the rest.

    Values are texts, lists and mappings of texts, None, and, from TOML and JSON, booleans, integers and dates. Raises
    BadItem, naming the line, when the front matter is damaged.
    """
    import frontmatter
    import yaml

    text = text.lstrip("\ufeff").replace("\r\n", "\n").strip()
    yaml_handler = _yaml_handler()
    handler = next((handler for handler in (*_HANDLERS, yaml_handler) if handler.detect(text)), None)
    if handler is None:
        return {}, text
    try:
        metadata, content = frontmatter.parse(text, handler=handler)
    # The last five are for values that do not match their tag, such as `!!bool x`.
    except (yaml.YAMLError, RecursionError, AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise BadItem(f"has front matter that is not YAML{line}: quote values that hold ': ' or '#'") from error
    return {str(name).lower(): value for name, value in metadata.items()}, content


def scalar(value: object) -> str | None:
    """A value of front matter as text; None for a list or mapping, which YAML aliases can make enormous."""
    text = str(value) if isinstance(value, str | int | float | date) else ""
    text = text.lower() if isinstance(value, bool) else text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").strip() or None


def visibility(about: Mapping[str, Any], path: str) -> Visibility:
    """Private for what its front matter or its folder says is not for everybody: drafts, members' and planned texts.

    about: the front matter, its keys in lower case. path: the file's, with `/`.
    """
    if any(part.lower() in _DRAFT_FOLDERS for part in PurePosixPath(path).parts[:-1]):
        return "private"
    build = about.get("build") or about.get("_build")
    facts = {**(build if isinstance(build, dict) else {}), **about}
    return "private" if any(_hides(str(name), value) for name, value in facts.items()) else "public"


def damaged_front_matter(text: str) -> dict[str, Any]:
    """What the lines of front matter that cannot be read seem to say, so that no draft among them becomes public."""
    lines = text.lstrip("\ufeff").strip().splitlines()[1:_MAX_DAMAGED_LINES]
    end = next((number for number, line in enumerate(lines) if line.strip() in _FENCES), len(lines))
    return {found[1].lower(): found[2] for line in lines[:end] if (found := _LINE.match(line))}


def _hides(name: str, value: object) -> bool:
    key = name.lower().replace("-", "").replace("_", "")
    if key == "password":
        return bool(scalar(value)) and str(value).lower() not in _NO
    said = {text.lower() for one in (value if isinstance(value, list) else [value]) if (text := scalar(one))}
    states = {re.sub(r"[\s_]+", "-", text) for text in said}
    return bool(
        (key in _HIDDEN_IF_YES and said & _YES)
        or (key in _HIDDEN_IF_NO and said & _NO)
        or (key in _STATES and states & _HIDDEN_STATES)
    )


@dataclass(frozen=True)
class _Fenced:
    """A handler for python-frontmatter, whose own TOML handler needs a library that knows only TOML 0.5."""

    fence: re.Pattern[str]
    load: Callable[[str], object]

    def detect(self, text: str) -> bool:
        return bool(self.fence.match(text))

    def split(self, text: str) -> tuple[str, str]:
        _, front, content = self.fence.split(text, 2)
        return front, content


class _BareJson:
    """Hugo's JSON front matter: an object before the text, which may follow on the same line."""

    _start = re.compile(r"\{\s*\"[^\"\n]*\"\s*:")

    def detect(self, text: str) -> bool:
        return bool(self._start.match(text))

    def split(self, text: str) -> tuple[str, str]:
        _, end = _parsed_json(lambda: json.JSONDecoder().raw_decode(text))
        return text[:end], text[end:]

    def load(self, front: str) -> object:
        return _json(front)


def _toml(front: str) -> object:
    try:
        return tomllib.loads(front, parse_float=str)
    except (ValueError, RecursionError) as error:
        line = re.search(r"at (line \d+)", str(error))
        where = f", {line[1]}" if line else ""
        raise BadItem(
            f"has front matter that is not TOML{where} ({error}): quote every text and date it holds"
        ) from error


def _json(front: str) -> object:
    """JSON as an object, or, as Middleman writes it, without the outer braces."""
    whole = front if front.lstrip().startswith("{") else f"{{{front}}}"
    return _parsed_json(lambda: json.loads(whole, parse_float=str, parse_int=str))


def _parsed_json(parse: Callable[[], Any]) -> Any:
    try:
        return parse()
    except json.JSONDecodeError as error:
        raise BadItem(
            f"has front matter that is not JSON, line {error.lineno} ({error.msg}): correct a comma or a quote there"
        ) from error
    except (ValueError, RecursionError) as error:
        raise BadItem(f"has front matter that is not JSON ({error}): correct it") from error


# `---toml` and `---json` end with `---`, which opens YAML where it is not after a line.
_HANDLERS = (
    _Fenced(re.compile(r"^\+{3,}\s*$", re.MULTILINE), _toml),
    _Fenced(re.compile(r"^---(?:toml|(?<=\n---))[ \t]*$", re.MULTILINE), _toml),
    _Fenced(re.compile(r"^---(?:json|(?<=\n---))[ \t]*$", re.MULTILINE), _json),
    _Fenced(re.compile(r"^;{3,}\s*$", re.MULTILINE), _json),
    _BareJson(),
)


@cache
def _yaml_handler() -> Any:
    """python-frontmatter's handler for YAML, with a loader that makes nothing but texts of what is not null."""
    import yaml
    from frontmatter.default_handlers import YAMLHandler

    class TextLoader(yaml.SafeLoader):
        """Without the resolvers of booleans, numbers and times."""

    kept = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")
    TextLoader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag in kept]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    class TextHandler(YAMLHandler):  # type: ignore[misc]
        """Reads with the loader of texts."""

        def load(self, front: str, **_: object) -> object:
            return super().load(front, Loader=TextLoader)

    return TextHandler()
