"""Turn Jekyll's `{% highlight %}` blocks into code blocks of markdown or HTML, so that cleaning leaves them alone.

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
    """Replace the highlight blocks of markdown by fenced code, each fence longer than any inside it."""

    def fenced(match: re.Match[str]) -> str:
        fence = "`" * max([3, *(len(found) + 1 for found in _FENCES.findall(match["code"]))])
        return f"{fence}{match['language']}\n{match['code']}\n{fence}"

    return _HIGHLIGHT.sub(fenced, markdown)


def preformatted_highlights(html: str) -> str:
    """Replace the highlight blocks of HTML by `<pre>` elements, with their content escaped, as Jekyll would do it."""
    return _HIGHLIGHT.sub(
        lambda match: f'<pre><code class="language-{match["language"]}">{escape(match["code"])}</code></pre>', html
    )
