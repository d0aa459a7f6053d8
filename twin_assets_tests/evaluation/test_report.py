"""The report and the plot."""

import base64
import io

from twin_assets.evaluation.gates import gates, limits_of
from twin_assets.evaluation.report import markdown, plot
from twin_assets.evaluation.result import Draft, Evaluation, StyleGap
from twin_assets.orchestration.metadata_markdown import CHARACTERS
from twin_assets_tests.evaluation.test_gates import evaluation


def with_draft(text: str) -> Evaluation:
    draft = Draft(
        example_id="e", category="post", language="en", instruction="Ask", base=text, adapter=text, author=text
    )
    return evaluation().model_copy(update={"drafts": [draft], "verdict": "passed"})


def test_the_report_names_verdict_gates_and_figures():
    found = with_draft("A rope.")
    text = markdown(found, gates(found, limits_of({})))
    for expected in ("**passed**", "bits_per_byte", "-0.200", "12", "-0.300 to -0.100", "runs of 8 or more", "A rope."):
        assert expected in text


def test_the_report_tells_where_turns_end_what_is_whole_and_what_is_not_measured():
    gap = StyleGap(kind="prose", english=False, reason="adapter wrote nothing")
    found = evaluation(at_once=0.4, whole=0.5, shown=0.123).model_copy(update={"style_gaps": [gap]})
    text = markdown(found, gates(found, limits_of({})))
    for expected in ("40.0%", "50%", "12.3%", "not measured: adapter wrote nothing"):
        assert expected in text


def test_no_more_than_two_hundred_characters_of_a_draft_leave_the_registry():
    found = with_draft("x" * 1000)
    assert "x" * CHARACTERS in markdown(found, [])
    assert "x" * (CHARACTERS + 1) not in markdown(found, [])


def test_a_drafts_markup_is_shown_and_not_rendered():
    text = markdown(with_draft("a | b\n<script>alert(1)</script> ![x](http://evil) `code`"), [])
    row = next(line for line in text.splitlines() if "script" in line)
    assert "<script" not in text
    assert "![x]" not in text
    assert "a \\| b &lt;script" in row


def test_an_evaluation_of_nothing_is_a_report_without_a_plot():
    nothing = evaluation().model_copy(update={"likelihoods": [], "recitation": {}, "styles": []})
    assert plot(nothing) is None
    assert "not measured" in markdown(nothing, gates(nothing, limits_of({})))


def test_the_plot_is_a_png_in_markdown():
    from PIL import Image

    image = plot(evaluation())
    assert image is not None
    head, _, data = image.removesuffix(")").partition("base64,")
    assert head == "![evaluation](data:image/png;"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size[0] > 300
