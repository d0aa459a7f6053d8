import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from twin_assets.documents import Category
from twin_assets.features.cleaning import clean, cleaned_row
from twin_assets.features.cleaning.document import NO_TEXT, without_tracking
from twin_assets.features.cleaning.licences import without_licence_header
from twin_assets.language.detection import detect_language
from twin_assets_tests.conftest import raw
from twin_assets_tests.features.conftest import own_words

FRAGMENT = """
<h2>What Ada said</h2><p>Ada once wrote to me
about this, and <a href="https://a.example/x?utm_source=feed">she</a> was <em>right</em>:</p>
<blockquote><p>A database is a promise.</p><blockquote><p>A third's words.</p></blockquote></blockquote>
<p>I agree, <b>mostly</b><sup><a href="#fn1">1</a></sup>, with <q>promise</q>.</p>
<ul><li>First<ul><li>Nested</li></ul></li><li>With <code>inline()</code></li></ul>
<ol><li>Open</li><li>Write</li></ol>
<pre><code class="language-python">def f():
    if 1 &gt; 0:


        return "&lt;b&gt;"
</code></pre>
<pre>plain   output
  of a tool</pre>
<p>Line one<br>line two</p>
<blockquote class="twitter-tweet"><p>Somebody's tweet.</p>&mdash; Some One (@someone)</blockquote>
<figure><img src="x.png" alt="A chart"><figcaption>A chart by hand.</figcaption></figure>
<p>The end of it, and there is nothing more that I would like to say about it today or tomorrow.</p>
<div class="share-buttons"><a href="https://twitter.com/share">Tweet</a></div><script>alert(1)</script>
"""
CLEANED = """## What Ada said

Ada once wrote to me about this, and [she](https://a.example/x) was *right*:

> A database is a promise.
>
> > A third's words.

I agree, **mostly**, with {open}promise{close}.

- First
  - Nested
- With `inline()`

1. Open
2. Write

```python
def f():
    if 1 > 0:


        return "<b>"
```

```
plain   output
  of a tool
```

Line one{broken}
line two

> Somebody's tweet.
>
> — Some One (@someone)

The end of it, and there is nothing more that I would like to say about it today or tomorrow.
"""
PAGE = f"""<!DOCTYPE html><html lang="en"><head><title>Promises | Jo</title></head><body>
<header><nav><ul><li><a href="/">Home</a></li><li><a href="/about">About</a></li></ul></nav></header>
<div class="cookie-banner"><p>We use cookies to improve your experience on this site.</p></div>
<main><article><h1>Promises</h1>{FRAGMENT}</article></main>
<aside><h3>Newsletter</h3><p>Subscribe to my newsletter for more.</p><form><button>Subscribe</button></form></aside>
<footer><p>Copyright 2024 Jo. Powered by Hugo.</p></footer></body></html>"""


def test_a_post_keeps_what_makes_the_voice():
    text = "Line one.  \r\n\r\nLine two 🌊 #tides @constance-ferry"
    assert clean(raw("p", text, category=Category.POST)) == "Line one.\n\nLine two 🌊 #tides @constance-ferry\n"


def test_lines_broken_on_purpose_stay_broken_in_an_article_and_no_other_space_at_an_end_stays():
    poem = "The tide comes in,  \n*the tide goes out*,\\\nand nobody  \n-- not one --  \nwrites it down.\n"
    assert clean(raw("a", poem)) == poem
    html = "<p>The tide comes in,<br>the tide goes out.</p>"
    assert clean(raw("h", html, content_type="text/html")) == "The tide comes in,  \nthe tide goes out.\n"
    text = "# Tides  \nOne.  \n\n- two  \n- three \nfour.  \n===\n\n| a |  \n| b |\n\nFive.    \nSix.  \n"
    assert clean(raw("a", text)) == ("# Tides\nOne.\n\n- two\n- three\nfour.\n===\n\n| a |\n| b |\n\nFive.  \nSix.\n")
    assert clean(raw("p", "One.  \nTwo. ", category=Category.POST)) == "One.\nTwo.\n"


def test_a_piece_keeps_the_indent_of_its_first_line_and_no_blank_line_around_it():
    assert clean(raw("a", " \n\n    make tides\n    make rain\n\nThat is it.\n \n\n")) == (
        "    make tides\n    make rain\n\nThat is it.\n"
    )
    assert clean(raw("a", "\u3000港口很安静。\n\n\u3000我写下了。")) == "\u3000港口很安静。\n\n\u3000我写下了。\n"


def test_code_is_kept_exact():
    text = "def f():\n\n\n\n    return '&amp;'   \n"
    assert clean(raw("c.py", text, category=Category.CODE)) == text


def test_broken_encoding_is_repaired_and_typography_kept():
    assert clean(raw("a", "donâ€™t stop — “quoted”")) == "don’t stop — “quoted”\n"
    shown = "It said `donâ€™t`, which is `C3 A2` and so on.\n"
    assert clean(raw("a", shown)) == shown


def title_of(document) -> str | None:
    return cleaned_row(document, trainable=True, quotable=True).row["title"]


def test_a_title_is_repaired_in_one_line_and_the_path_of_code_is_left_alone():
    assert title_of(raw("a", "Text.", title=" Donâ€™t\npanic ")) == "Don’t panic"
    assert title_of(raw("a", "Text.", title="What `donâ€™t` {: .was} in C#")) == "What `donâ€™t` {: .was} in C#"
    assert title_of(raw("c", "x = 1\n", title="src/donâ€™t  do.py", category=Category.CODE)) == "src/donâ€™t  do.py"
    assert title_of(raw("a", "Text.", title=" ")) is None


@pytest.mark.parametrize("category", [Category.ARTICLE, Category.POST])
@given(
    inside=st.text(st.characters(min_codepoint=0xFF01, max_codepoint=0xFFE6, exclude_categories=["Cn"]), max_size=30)
)
@hypothesis_settings(deadline=None)
def test_fullwidth_text_survives(category, inside):
    text = f"港口（{inside}）很安静，我写下了：ＡＢＣ！真的吗？\n"
    assert clean(raw("z", text, category=category)) == text


def test_what_nobody_sees_of_a_page_is_no_text():
    text = "One.\n<!--more-->\nTwo <!-- [[[end]]] -->, by [pytest](), not `<!-- this -->`.\n\n![Me](a.png){: .wide}\n"
    assert clean(raw("a", text)) == "One.\nTwo , by pytest, not `<!-- this -->`.\n\n![Me](a.png)\n"
    assert clean(raw("a", "# Gauges <!-- no toc -->\nText <!-- see `x` -->\n- one <!-- x -->\n- two\n")) == (
        "# Gauges\nText\n- one\n- two\n"
    )
    assert clean(raw("a", "Zero `-\ufeffWall` width\u200b and `'{:.2f}'` is '{:.2f}'.")) == (
        "Zero `-Wall` width and `'{:.2f}'` is '{:.2f}'.\n"
    )
    assert clean(raw("a", "សួស្តី\u200bពិភពលោក")) == "សួស្តី\u200bពិភពលោក\n", "there it parts words"


def test_html_of_a_feed_or_an_export_is_markdown_with_quotes_lists_and_code():
    text = clean(raw("h", FRAGMENT, content_type="text/html"))
    assert text == CLEANED.format(open='"', close='"', broken="  ")


def test_a_whole_page_is_its_main_text_without_menu_banner_form_and_footer():
    text = clean(raw("h", PAGE, content_type="text/html"))
    for around in ("Home", "cookies", "Subscribe", "Copyright", "Tweet", "alert", "chart"):
        assert around not in text
    assert text.startswith("# Promises\n\n## What Ada said\n")
    for kept in (
        "    if 1 > 0:\n\n\n        return",
        "plain   output\n  of a tool",
        "- First\n  - Nested\n",
        "1. Open\n",
    ):
        assert kept in text
    assert "“promise”" in text


@pytest.mark.parametrize("html", [FRAGMENT, PAGE])
def test_nothing_that_html_quotes_is_among_the_authors_words(html):
    own = own_words(clean(raw("h", html, content_type="text/html")), Category.ARTICLE)
    for theirs in ("A database is a promise", "A third's words", "Somebody's tweet", "Some One"):
        assert theirs not in own
    assert "Ada once wrote to me" in own
    assert "The end of it" in own


def test_a_page_nested_deeper_than_any_text_needs_is_still_read():
    html = "<div>" * 3_000 + "<blockquote>Theirs.</blockquote>Mine at the bottom." + "</div>" * 3_000
    text = clean(raw("h", html, content_type="text/html"))
    assert "Mine at the bottom." in text
    assert "Theirs." not in own_words(text, Category.ARTICLE)


def test_code_in_an_article_is_not_repaired_or_tidied():
    text = "Look:\n\n```\na = 'donâ€™t'  \n\n\n\nb = 'https://a.example/?utm_source=x'\n```\n\ndonâ€™t\n"
    assert clean(raw("a", text)) == text.replace("\ndonâ€™t\n", "\ndon’t\n")


@pytest.mark.parametrize("content_type", ["text/markdown", "text/html"])
def test_a_highlight_block_of_jekyll_is_code(content_type):
    text = "Look:\n\n{% highlight lisp linenos %}\n(f x)\n> (f 1)\n(1 . #)\n{% endhighlight %}\n\nDone.\n"
    cleaned = clean(raw("a", text, content_type=content_type))
    assert "```lisp\n(f x)\n> (f 1)\n(1 . #)\n```" in cleaned
    assert "> (f 1)" in own_words(cleaned, Category.ARTICLE)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example/x?utm_source=feed&id=3", "https://a.example/x?id=3"),
        ("https://a.example/x?a=%20b", "https://a.example/x?a=%20b"),
        ("https://a.example/x?a=%20b&fbclid=1", "https://a.example/x?a=%20b"),
        ("https://a.example/x?fbclid=1", "https://a.example/x"),
        ("https://www.google.com/url?q=https://a.example/x%3Fid%3D3&sa=D", "https://a.example/x?id=3"),
        ("https://l.facebook.com/l.php?u=https%3A%2F%2Fa.example%2F%3Ffbclid%3D1&h=AT0", "https://a.example/"),
        ("https://www.google.com/search?q=tides", "https://www.google.com/search?q=tides"),
        ("https://a.example/[x", "https://a.example/[x"),
        ("https://a.example/x?utm_source=feed&amp;id=3", "https://a.example/x?id=3"),
    ],
)
def test_a_link_leads_where_it_led_and_counts_no_click(url, expected):
    assert without_tracking(url) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<a>https://a.example/x?utm_source=feed</a>", "<a>https://a.example/x</a>"),
        ("https://a.example/x?utm_source=feed[^1]", "https://a.example/x[^1]"),
        ("https://a.example/x?utm_source=<source>", "https://a.example/x?utm_source=<source>"),
    ],
)
def test_a_tag_or_a_note_behind_a_link_is_no_placeholder_in_it(text, expected):
    assert clean(raw("p", text, category=Category.POST)) == f"{expected}\n"


def test_a_sentence_keeps_its_full_stop_behind_a_clean_link():
    text = "See https://a.example/x?utm_source=feed."
    assert clean(raw("p", text, category=Category.POST)) == "See https://a.example/x.\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("见 https://x.com/p?utm_source=a，这是我最喜欢的一句话。", "见 https://x.com/p，这是我最喜欢的一句话。"),
        ("Go to https://x.com/?id=1&utm_source=mail—it explains.", "Go to https://x.com/?id=1—it explains."),
        ("Use `https://x.com/?utm_source=a` to track.", "Use `https://x.com/?utm_source=a` to track."),
        ("At https://x.com/?utm_source=`a`, say.", "At https://x.com/`a`, say."),
        ("**https://x.com/?utm_source=a** is it", "**https://x.com/** is it"),
        ("_See https://x.com/?utm_source=a._", "_See https://x.com/._"),
        ("|https://x.com/?utm_source=a|b|", "|https://x.com/|b|"),
        ("Ask https://x.com/?utm_source={source}&id=3", "Ask https://x.com/?utm_source={source}&id=3"),
    ],
)
def test_what_stands_around_a_link_without_a_space_stays(text, expected):
    assert clean(raw("a", text)) == f"{expected}\n"


@given(st.text(st.characters(min_codepoint=0x20, exclude_categories=["C", "Z"]), max_size=20))
@hypothesis_settings(deadline=None)
def test_a_sentence_that_goes_on_behind_a_link_never_goes_with_it(words):
    text = f"见 https://x.com/p?utm_source=a，说{words}说"
    assert clean(raw("a", text)) == clean(raw("a", text.replace("?utm_source=a", "")))


MIT = [
    "MIT License",
    "",
    "Copyright (c) 2020 Ada Example",
    "",
    "Permission is hereby granted, free of charge, to any person obtaining a copy",
    'of this software and associated documentation files (the "Software"), to deal',
    "",
    'THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND.',
]
APACHE = [
    "Copyright 2020 Ada Example",
    'Licensed under the Apache License, Version 2.0 (the "License");',
    "you may not use this file except in compliance with the License.",
    "",
    "Unless required by applicable law or agreed to in writing, software",
    "distributed under the License is distributed on an AS IS BASIS.",
]
GPL = [
    "This program is free software: you can redistribute it and/or modify",
    "it under the terms of the GNU General Public License.",
    "",
    "You should have received a copy of the GNU General Public License.",
]
BSD = [
    "Redistribution and use in source and binary forms, with or without",
    "modification, are permitted provided that:",
    "1. Redistributions of source code must retain the above copyright notice.",
]
SPDX = ["SPDX-FileCopyrightText: 2020 Ada Example", "SPDX-License-Identifier: BSD-3-Clause"]


def lined(prefix: str, lines: list[str]) -> str:
    return "\n".join(f"{prefix} {line}".rstrip() for line in lines)


def blocked(opening: str, closing: str, lines: list[str]) -> str:
    return "\n".join([opening, *(f" * {line}".rstrip() for line in lines), f" {closing}"])


@pytest.mark.parametrize("licence", [MIT, APACHE, GPL, BSD, SPDX], ids=["mit", "apache", "gpl", "bsd", "spdx"])
@pytest.mark.parametrize(
    ("language", "comment"),
    [
        *((language, lambda lines: lined("#", lines)) for language in ("python", "shell", "ruby", "yaml", "make", "r")),
        *((language, lambda lines: lined("//", lines)) for language in ("c", "rust", "go", "javascript", "php")),
        *(
            (language, lambda lines: blocked("/*", "*/", lines))
            for language in ("c", "java", "css", "typescript", "sql")
        ),
        ("lisp", lambda lines: lined(";;", lines)),
        ("haskell", lambda lines: lined("--", lines)),
        ("haskell", lambda lines: blocked("{-", "-}", lines)),
        ("lua", lambda lines: lined("--", lines)),
        ("erlang", lambda lines: lined("%%", lines)),
        ("ocaml", lambda lines: blocked("(*", "*)", lines)),
        ("vim script", lambda lines: lined('"', lines)),
        ("batch", lambda lines: lined("REM", lines)),
        ("fortran", lambda lines: lined("!", lines)),
        ("pascal", lambda lines: blocked("{", "}", lines)),
    ],
)
def test_a_licence_header_leaves_in_every_comment_style_and_takes_nothing_along(language, comment, licence):
    code = "first line of code\n\n\nsecond\n"
    assert without_licence_header(f"{comment(licence)}\n\n{code}", language) == code
    titled = comment(["frob: turns knobs", "", "Usage: frob [n]"])
    both = comment(["frob: turns knobs", "", "Usage: frob [n]", "", *licence])
    assert without_licence_header(f"{both}\n{code}", language) == f"{titled}\n{code}"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("#!/bin/sh\n# MIT License\n\necho\n", "#!/bin/sh\n\necho\n"),
        ("#!/bin/sh\n# Ref: https://a.example\n# Licensed under the MIT License.\necho\n", "#!/bin/sh\n# Ref: https://a.example\necho\n"),
    ],
)  # fmt: skip
def test_what_stands_beside_a_licence_line_stays(code, expected):
    assert without_licence_header(code, "shell") == expected


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ('"""Frob.\n\nMIT License: permission is hereby granted.\n"""\nx = 1\n', "python"),
        ("import a\n\n# SPDX-License-Identifier: MIT\n", "python"),
        ("# Copyright 2020 Ada Example\nx = 1\n", "python"),
        ("# Checks the licence of each file.\nx = 1\n", "python"),
        ("#include <license.h>\nint x;\n", "c"),
        ("/* MIT License */ int x;\n", "c"),
        ("// MIT License\n", None),
    ],
)
def test_code_that_speaks_of_licences_without_carrying_one_is_kept_exact(code, language):
    assert without_licence_header(code, language) == code


@pytest.mark.parametrize(
    ("title", "code", "reason"),
    [
        ("src/api_pb2.py", "x = 1\n", "made by a tool, by its name"),
        ("vendor/left.js", "x = 1\n", "others' and generated files"),
        ("lib/code.go", "// Code generated by stringer. DO NOT EDIT.\npackage a\n", "generated, by its first lines"),
        ("lib/app.js", "x=1;" * 3_000, "minified"),
    ],
)
def test_generated_vendored_and_minified_code_is_rejected_with_the_reason(title, code, reason):
    cleaned = cleaned_row(raw("c", code, title=title, category=Category.CODE), trainable=True, quotable=True)
    assert cleaned.row is None
    assert reason in cleaned.rejected_because


@pytest.mark.parametrize("title", ["src/frob.py", "bin/frob", "A knob turner", None])
def test_code_of_the_authors_own_hand_is_kept_whatever_it_is_called(title):
    document = raw("c", "def frob():\n    return 1\n", title=title, category=Category.CODE)
    assert cleaned_row(document, trainable=True, quotable=True).row is not None


def language_of(document) -> str | None:
    return cleaned_row(document, trainable=True, quotable=True).row["language"]


def test_language_is_a_property_of_the_document():
    english = raw("e", "The harbour was quiet and the gauge told the truth for once this week.")
    chinese = raw("z", "港口很安静,水位计这周终于说了实话,我在灰色的日志里写下了这个数字。")
    assert [language_of(document) for document in (english, chinese)] == ["en", "zh"]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("nb", "no"),
        ("nn-NO", "no"),
        ("iw", "he"),
        ("in", "id"),
        ("ji", "yi"),
        ("en_GB", "en"),
        ("DE", "de"),
        ("", "en"),
    ],
)
def test_a_language_has_one_code_however_a_document_tells_it(said, code):
    text = "The harbour was quiet and the gauge told the truth for once this week."
    assert language_of(raw("a", text, language=said)) == code


@pytest.mark.parametrize(
    "text",
    [
        "Havnen var stille denne uken, og måleren fortalte for en gangs skyld sannheten om vannet.",
        "Hamna var stille denne veka, og målaren fortalde for ein gongs skuld sanninga om vatnet. Eg veit ikkje.",
    ],
)
def test_norwegian_is_norwegian_in_both_its_forms(text):
    assert detect_language(text) == "no"


def test_a_post_too_short_to_tell_and_code_have_no_language():
    assert language_of(raw("p", "#tides 🌊 @ada", category=Category.POST)) is None
    assert language_of(raw("c.py", "for tide in tides:\n    the_harbour(tide)\n" * 9, category=Category.CODE)) is None


def test_links_handles_and_code_say_nothing_about_the_language_of_a_post():
    german = "Heute stand der Pegel still, und niemand im Hafen hat es gemerkt. https://a.example/the-harbour-was-quiet-and-the-gauge"
    assert language_of(raw("p", german, category=Category.POST)) == "de"


def test_a_document_without_text_makes_no_row_and_says_why():
    cleaned = cleaned_row(raw("empty", " \n\n "), trainable=True, quotable=True)
    assert (cleaned.row, cleaned.rejected_because) == (None, NO_TEXT)


def test_title_address_and_text_are_masked_and_counted_by_kind():
    address = "jo@skerrow-harbour.org"
    document = raw("m", f"Write to {address}.", title=f"Ask {address}", url=f"https://jo:S3cr-x@a.dev/?mail={address}")
    cleaned = cleaned_row(document, trainable=True, quotable=True)
    assert not [name for name in ("text", "title", "url") if address in cleaned.row[name]]
    assert cleaned.masked == {"e-mail": 3, "password": 1}
