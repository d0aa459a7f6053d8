import pytest

from twin_assets.content.extraction import html_to_markdown

WORDS = "The harbour master reads the gauge at noon, and writes the height of the tide into a ledger of his own. " * 3
PAGE = f"<html><body class='lang-en'><article><h1>Gauges</h1><p>{WORDS}</p>%s<p>{WORDS}</p></article></body></html>"
FRAGMENT = "<p>Before.</p>%s<p>After.</p>"

PYTHON = "```python\ndef f():\n    return 1\n\n\nx = 2\n```"
LINES = ("def f():", "    return 1", "", "", "x = 2")
NUMBERS = range(1, 6)


def table(table_class: str, gutter: str, code: str, gutter_class: str, code_class: str) -> str:
    cells = f'<td class="{gutter_class}">{gutter}</td><td class="{code_class}">{code}</td>'
    return f'<table class="{table_class}"><tbody><tr>{cells}</tr></tbody></table>'


def rows(number_class: str, code_class: str, table_class: str) -> str:
    cells = (
        f'<tr><td class="{number_class}" data-line-number="{number}"></td><td class="{code_class}">{line}</td></tr>\n'
        for number, line in zip(NUMBERS, LINES, strict=True)
    )
    return f'<table class="{table_class}"><tbody>{"".join(cells)}</tbody></table>'


FORMS = {
    "medium": (
        '<pre data-code-block-mode="2" spellcheck="false" data-code-block-lang="python" class="graf graf--pre">'
        '<span class="pre--content"><span class="hljs-keyword">def</span> f():'
        "<br>    return 1<br><br><br>x = 2</span></pre>"
    ),
    "breaks and blanks": (
        '<pre><code class="language-python">def f():  <br/>    return <i>1</i> <br/> <br/><br/>x = 2<br/></code></pre>'
    ),
    "hexo": '<figure class="highlight python">'
    + table(
        "",
        "<pre>" + "".join(f'<span class="line">{number}</span><br>' for number in NUMBERS) + "</pre>",
        "<pre>" + "".join(f'<span class="line">{line}</span><br>' for line in LINES) + "</pre>",
        "gutter",
        "code",
    )
    + "</figure>",
    "rouge": '<div class="language-python highlighter-rouge"><div class="highlight"><pre class="highlight"><code>'
    + table(
        "rouge-table",
        '<pre class="lineno">1\n2\n3\n4\n5\n</pre>',
        "<pre>" + "\n".join(LINES) + "\n</pre>",
        "rouge-gutter gl",
        "rouge-code",
    )
    + "</code></pre></div></div>",
    "chroma": '<div class="highlight"><div class="chroma">'
    + table(
        "lntable",
        '<pre class="chroma"><code>' + "".join(f'<span class="lnt">{n}\n</span>' for n in NUMBERS) + "</code></pre>",
        '<pre class="chroma"><code class="language-python" data-lang="python">'
        + "".join(f'<span class="line"><span class="cl">{line}\n</span></span>' for line in LINES)
        + "</code></pre>",
        "lntd",
        "lntd",
    )
    + "</div></div>",
    "chroma in line": '<div class="highlight"><pre class="chroma"><code data-lang="python">'
    + "".join(
        f'<span class="line"><span class="ln">{number}</span><span class="cl">{line}\n</span></span>'
        for number, line in zip(NUMBERS, LINES, strict=True)
    )
    + "</code></pre></div>",
    "github": f'<div data-tagsearch-lang="python">{rows("blob-num", "blob-code blob-code-inner", "highlight")}</div>',
    "github in a readme": '<div class="highlight highlight-source-python"><pre>' + "\n".join(LINES) + "</pre></div>",
    "highlight.js with numbers": '<pre><code class="hljs python">'
    + rows("hljs-ln-numbers", "hljs-ln-code", "hljs-ln").replace("\n", "")
    + "</code></pre>",
    "numbers without a class": '<div class="highlight-python"><table><tr><td><pre>8\n9\n10\n11\n12</pre></td>'
    f"<td><pre>{chr(10).join(LINES)}</pre></td></tr></table></div>",
    "SyntaxHighlighter": '<div class="syntaxhighlighter  python">'
    + table(
        "",
        "".join(f'<div class="line number{number} index0">{number}</div>' for number in NUMBERS),
        '<div class="container">\n'
        + "\n".join(
            f'<div class="line"><code class="python plain">{line.replace(" ", "&nbsp;")}</code></div>' for line in LINES
        )
        + "\n</div>",
        "gutter",
        "code",
    )
    + "</div>",
    "figure": '<figure><pre class="sourceCode python"><code>'
    + "\n".join(LINES)
    + "</code></pre><figcaption>How it is read</figcaption></figure>",
    "a button to copy": '<div class="code-toolbar"><pre class="language-python line-numbers"><code>'
    + "\n".join(LINES)
    + '<span aria-hidden="true" class="line-numbers-rows"><span></span></span></code><button>Copy</button></pre></div>',
    "one element per line": '<pre class="shiki" data-language="python"><code>'
    + "".join(f'<span class="line">{line}</span>' for line in LINES)
    + "</code></pre>",
    "divisions": '<pre class="python"><code>'
    + "".join(f"<div>{line or '<br>'}</div>" for line in LINES)
    + "</code></pre>",
    "lang attribute": '<pre lang="python">' + "\n".join(LINES) + "</pre>",
    "code with breaks": '<p><code class="language-python">' + "<br>".join(LINES) + "</code></p>",
}  # fmt: skip


@pytest.mark.parametrize("around", [PAGE, FRAGMENT], ids=["page", "fragment"])
@pytest.mark.parametrize("html", FORMS.values(), ids=FORMS)
def test_code_is_a_fence_with_its_lines_and_language_as_written(html, around):
    text = html_to_markdown(around % html)
    before, found, after = text.partition(PYTHON)
    assert found, text
    assert before.endswith("\n\n")
    assert after.startswith("\n\n")
    assert text.count("```") == 2
    assert "|" not in text


@pytest.mark.parametrize("around", [PAGE, FRAGMENT], ids=["page", "fragment"])
@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<pre><code>a<br>b</code></pre>", "```\na\nb\n```"),
        ("<pre>one</pre>", "```\none\n```"),
        (
            "<ul><li>Read:<pre><code class='language-go'>a()\n\tb()</code></pre></li></ul>",
            "  ```go\n  a()\n  \tb()\n  ```",
        ),
        ("<figure><pre>a\nb</pre><pre>c\nd</pre></figure>", "```\na\nb\n```\n\n```\nc\nd\n```"),
        ("<pre>```\nx\n```</pre>", "````\n```\nx\n```\n````"),
        ('<pre><code class="language-none">a\nb</code></pre>', "```\na\nb\n```"),
        ('<pre class="line-numbers">1\n2\n3</pre>', "```\n1\n2\n3\n```"),
        ('<pre><span class="hljs-number">1</span> + <span class="mi">2</span></pre>', "```\n1 + 2\n```"),
    ],
)
def test_other_code_is_a_fence_too(html, expected, around):
    assert expected in html_to_markdown(around % html)


@pytest.mark.parametrize("around", [PAGE, FRAGMENT], ids=["page", "fragment"])
@pytest.mark.parametrize(
    "html",
    [
        "<table><tr><th>n</th><th>code</th></tr><tr><td>1</td><td class='code'>ebb</td></tr></table>",
        "<table><tr><td>1</td><td>2</td></tr><tr><td>3</td><td>4</td></tr></table>",
        "<table><tr><td>read</td><td><code>gauge --read</code></td></tr></table>",
    ],
)
def test_a_table_that_is_no_code_stays_a_table(html, around):
    text = html_to_markdown(around % html)
    assert "```" not in text
    assert "| --- | --- |" in text


def test_a_word_of_code_in_a_sentence_stays_there_though_a_block_says_the_same():
    text = html_to_markdown(PAGE % "<p>Type <code>gauge</code> into it.</p><pre><code>gauge</code></pre>")
    assert "Type `gauge` into it." in text


def test_no_rule_stands_first_or_last():
    rule = '<div class="section-divider"><hr></div>'
    assert html_to_markdown(f"{rule}<p>One.</p>{rule}<p>Two.</p>{rule}") == "One.\n\n---\n\nTwo."
