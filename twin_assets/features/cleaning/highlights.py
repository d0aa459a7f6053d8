"""Jekyll's `{% highlight %}` blocks are code: as markdown and HTML know it, they survive what is done to prose.

See: https://jekyllrb.com/docs/liquid/tags/#code-snippet-highlighting
"""

import re
from html import escape

_HIGHLIGHT = re.compile(
    r"^[ \t]*\{%-?\s*highlight\s+(?P<language>[\w+#-]+)[^%]*%\}[ \t]*\n(?P<code>.*?)\n?"
    r"[ \t]*\{%-?\s*endhighlight\s*-?%\}",
    re.DOTALL | re.MULTILINE,
)
_FENCES = re.compile(r"^`{3,}", re.MULTILINE)


def fenced_highlights(markdown: str) -> str:
    """Markdown with fences, longer than any inside them, for highlight blocks."""

    def fenced(match: re.Match[str]) -> str:
        fence = "`" * max([3, *(len(found) + 1 for found in _FENCES.findall(match["code"]))])
        return f"{fence}{match['language']}\n{match['code']}\n{fence}"

    return _HIGHLIGHT.sub(fenced, markdown)


def preformatted_highlights(html: str) -> str:
    """HTML with preformatted code for highlight blocks, whose content is no HTML until Jekyll has made it so."""
    return _HIGHLIGHT.sub(
        lambda match: f'<pre><code class="language-{match["language"]}">{escape(match["code"])}</code></pre>', html
    )
