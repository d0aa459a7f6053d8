import pytest

from twin_assets.features.instructions.code.code_comments import file_comment
from twin_assets.features.instructions.code.code_definitions import definitions, names_defined

PYTHON = '''"""Tides. More of it."""

@cache
def high(day: int,
         gauge: str) -> float:
    """The day's high water.

    In metres.
    """
    return read(day, gauge)
'''
C = """/* Water, counted.
 * Ref: https://example.org
 */
#include <stdio.h>

// Tips since the start.
static int
tips(struct gauge *g)
{
    return g->tips;
}
"""
GO = "package tide\n\n// High is the day's high water.\nfunc High(day int) float64 {\n\treturn read(day)\n}\n"
RUBY = "# The day's high water.\ndef high(day)\n  read(day)\n  day\nend\n"


@pytest.mark.parametrize(
    ("name", "text", "signature", "comment"),
    [
        ("a.py", PYTHON, "@cache\ndef high(day: int,\n         gauge: str) -> float:", "The day's high water."),
        ("a.c", C, "static int\ntips(struct gauge *g)", "Tips since the start."),
        ("a.go", GO, "func High(day int) float64", "High is the day's high water."),
        ("a.rb", RUBY, "def high(day)", "The day's high water."),
    ],
)
def test_a_definition_has_a_signature_and_a_comment(name, text, signature, comment):
    [one] = definitions(text, name, 1_000)
    assert one.signature == signature
    assert one.comment == comment
    assert text[one.start : one.end].endswith(("}", "end", "gauge)"))


PARAMETRIZED = """# -- reading -----

@pytest.mark.parametrize(
    "level",
    [1, 2],
)
def test_level(level):
    "A level is read."
    assert level


class Gauge:
    def read(self):
        return 1

    def write(self):
        return 2
"""
TYPES = """// mayor: a program
// It counts.

#include <stdlib.h>

typedef struct {
    int x;
} ticket;

// What may be set.
typedef struct {
    int y;
} conf;

#if _WIN32
[[gnu::stdcall]]
void start(void)
{
    exit(0);
}
#else
// All about types.

void start(void)
{
    return;
}
#endif

int main(void)
{
    return 0;
}
"""


def test_what_is_wanted_of_a_definition_is_its_own():
    test, gauge = definitions(PARAMETRIZED, "g.py", 1_000)
    assert (test.signature, test.comment) == (
        "@pytest.mark.parametrize(…)\ndef test_level(level):",
        "A level is read.",
    )
    assert PARAMETRIZED[test.start :].startswith("@pytest"), "the banner above it is of the file's next part"
    assert (gauge.comment, gauge.members) == ("", ("def read", "def write"))


def test_a_blank_row_within_a_decorator_parts_nothing():
    text = PARAMETRIZED.replace("    [1, 2],\n", "\n    [1, 2],\n").partition("class Gauge")[0]
    assert text[definitions(text, "g.py", 1_000)[0].start :].startswith("@pytest")


def test_what_does_not_say_what_it_is_is_no_definition():
    conf, start, other_start, main = definitions(TYPES, "t.c", 1_000)
    assert (conf.name_beside_signature, conf.comment) == ("conf, which begins:", "What may be set.")
    assert (start.conditions, start.signature) == (("`#if _WIN32`",), "[[gnu::stdcall]]\nvoid start(void)")
    assert (other_start.conditions, other_start.signature) == (("the `#else` of `#if _WIN32`",), "void start(void)")
    assert other_start.comment == "", "a comment that a blank row parts from it is not its own"
    assert main.comment == "mayor: a program", "main is for what its file is for"
    assert definitions("int main(void)\n{\n    return 0;\n}\n", "m.c", 1_000) == []


def test_a_class_too_long_gives_its_methods_and_a_function_too_long_gives_nothing():
    method = "    def m{n}(self):\n        a = {n}\n        return a\n\n"
    long = "class Gauge:\n" + "".join(method.replace("{n}", str(n)) for n in range(5))
    assert [one.label for one in definitions(long, "g.py", 120)][:2] == ["class Gauge > def m0", "class Gauge > def m1"]
    nested = "def outer():\n" + "    x = 1\n" * 40 + "    def inner():\n        y = 2\n        return y\n"
    assert definitions(nested, "g.py", 120) == []


def test_a_file_says_what_it_is_for_and_what_it_defines():
    assert file_comment(PYTHON) == "Tides. More of it."
    assert file_comment(C) == "Water, counted."
    assert file_comment("#!/bin/sh\n# All is quiet.\n# $ sh quiet.sh\n\nsleep 1\n") == "All is quiet."
    assert file_comment("x = 1\n") == ""
    assert names_defined(PYTHON, "a.py") == ["def high"]
    assert names_defined("SELECT 1;\n", "a.sql") == []


@pytest.mark.parametrize(
    ("name", "text", "comment"),
    [
        ("a.rs", 'fn name() -> &str {\n    "The gauge of Skerrow"\n}\n', ""),
        ("a.js", "function read() {\n  'use strict'\n  return 1\n}\n", ""),
        ("a.c", "/*****\n * Reads the gauge.\n *****/\nint read(void)\n{\n    return 1;\n}\n", "Reads the gauge."),
        ("a.c", f"// {'-' * 120} Reading\n\nint read(void)\n{{\n    return 1;\n}}\n", ""),
        ("a.c", "// Build the table of tides so that it can\n// build on it.\nint f(void)\n{\n    g();\n}\n",
         "Build the table of tides so that it can build on it."),
        ("a.c", "// Return the value last read from the\n// NOAA gauge.\nint f(void)\n{\n    g();\n}\n",
         "Return the value last read from the NOAA gauge."),
        ("a.c", "// A hash set header\n// Grow it.\nint f(void)\n{\n    g();\n}\n", "A hash set header"),
    ],
)  # fmt: skip
def test_the_comment_of_a_definition_is_what_a_comment_or_docstring_says(name, text, comment):
    [one] = definitions(text, name, 1_000)
    assert one.comment == comment


def test_an_include_guard_is_no_condition():
    guarded = "#ifndef GAUGE_HPP\n#define GAUGE_HPP\n\n// Reads.\nint read(void)\n{\n    return 1;\n}\n#endif\n"
    assert definitions(guarded, "a.c", 1_000)[0].conditions == ()


def test_a_file_is_for_what_its_first_comment_says_unless_that_is_a_definitions():
    assert file_comment(";;; gauge.el --- reads gauges -*- lexical-binding: t; -*-\n\n(read)\n") == "reads gauges"
    assert file_comment("# flake8: noqa\n# Reads gauges.\nimport os\n") == "Reads gauges."
    assert file_comment("// Reads one.\nint read(void)\n{\n}\n") == ""
    assert file_comment('"use strict";\nread();\n') == ""
