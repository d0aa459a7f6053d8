"""The app: what its buttons do, and in a real browser that a prompt becomes a streamed draft beside its sources."""

import re
import time
from collections.abc import Iterator

import pytest

from twin_assets.documents import Gate
from twin_assets.errors import BadInput, NotThere, TwinError
from twin_assets.language.generation.engines.torch_engine import TorchEngine
from twin_assets.serving.access import OPERATOR, Access, Caller
from twin_assets.serving.app import fragments
from twin_assets.serving.app.draft_actions import DraftActions, DraftForm, DraftView
from twin_assets.serving.drafting import Drafter, DraftSource
from twin_assets.serving.server import build_app
from twin_assets.stores import Stores
from twin_assets_tests.serving.world import Parts, collector, open_world, running, write

EVIL = "<img src=x onerror='document.title=1'> ${document.title=2} {{value}}"


@pytest.fixture
def actions(world: Stores) -> DraftActions:
    def promote(author: str, version: str, who: str, reason: str) -> None:
        world.models.promote(author, version, who, reason)

    return DraftActions(world, Drafter(world), Access(world.warehouse, "127.0.0.1"), promote)


def form(**more: object) -> DraftForm:
    return DraftForm(**{"author": "ada", "version": "", "format": "any", "prompt": "the gauge", "seed": "1"} | more)


def last(views: Iterator[DraftView]) -> DraftView:
    *_, view = views
    return view


def test_sources_and_warnings_are_shown_before_the_first_word(actions):
    views = list(actions.draft(OPERATOR, form()))
    begun = next(view for view in views if "On gauge" in view.sources)
    assert begun.text == ""
    assert "<b>untrained</b>" in begun.warnings
    assert begun.stored is None
    assert views[-1].text
    assert "words by untrained" in views[-1].status


def test_a_finished_draft_is_rated_and_edited_by_consent(actions, world):
    view = last(actions.draft(OPERATOR, form()))
    assert "rated bad" in actions.rate(OPERATOR, view.stored, "bad")
    assert "did not agree" in actions.save_edit(OPERATOR, view.stored, "mine", consented=False)
    assert "may learn" in actions.save_edit(OPERATOR, view.stored, "mine, again", consented=True)
    [kept] = world.warehouse.interactions.for_author("ada")
    assert (kept.rating, kept.edited, kept.consented) == ("bad", "mine, again", True)
    assert "no finished draft" in actions.rate(OPERATOR, None, "good")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"author": None}, "choose an author first"),
        ({"prompt": None}, "prompt is empty"),
        ({"author": "nobody"}, "there is no author"),
        ({"version": "v9"}, "no model version"),
        ({"prompt": "word " * 3000}, "shorten it"),
    ],
)
def test_what_goes_wrong_is_said_in_words(actions, wrong, said):
    view = last(actions.draft(OPERATOR, form(**wrong)))
    assert said in view.status
    assert "failed" in view.status


def test_what_should_never_happen_is_logged_and_not_shown(actions, world, caplog):
    path = world.settings.data_dir / "features" / "ada" / "embeddings.published.json"
    path.write_text("{")
    assert "the server&#x27;s log says what" in last(actions.draft(OPERATOR, form())).status
    assert "Traceback" in caplog.text


def test_versions_are_listed_approved_and_rejected_with_a_reason(actions, world, parts):
    assert actions.versions(OPERATOR, "ada")[0] == ("production: nothing yet, the untrained base", "")
    gates = [Gate(name="recitation", value=0.4, limit=0.1, passed=False, text="40% <copied>")]
    parts.publish(world, "ada", "v1", gates=gates, evaluation={"bits_per_byte": {"base": 2.5, "adapter": 2.25}})
    parts.publish(world, "ada", "v2")
    table = actions.models(OPERATOR, "ada")
    assert "2.250" in table
    assert "✗ recitation<small>40% &lt;copied&gt;</small>" in table
    assert actions.candidates(OPERATOR, "ada") == ["v2", "v1"]
    assert "give a reason" in list(actions.approve(OPERATOR, "ada", "v2", " "))[-1]
    assert "is in production" in list(actions.approve(OPERATOR, "ada", "v2", "reads like me"))[-1]
    production = world.models.production("ada")
    assert (production.version, production.reason) == ("v2", "reads like me")
    assert production.promoted_by
    assert actions.versions(OPERATOR, "ada")[0] == ("production: v2", "")
    assert "is in production: roll back" in list(actions.reject(OPERATOR, "ada", "v2", "no"))[-1]
    assert "is rejected" in list(actions.reject(OPERATOR, "ada", "v1", "copies"))[-1]
    assert world.models.version("ada", "v1").stage == "rejected"


def test_a_promotion_that_fails_says_why(world):
    def promote(*_: str) -> None:
        raise TwinError("the gate is shut")

    actions = DraftActions(world, Drafter(world), Access(world.warehouse, "127.0.0.1"), promote)
    assert "the gate is shut" in list(actions.approve(OPERATOR, "ada", "v1", "x"))[-1]


def test_who_logged_in_as_one_author_can_do_nothing_to_another(world, parts):
    parts.publish(world, "ada", "v1")
    actions = DraftActions(world, Drafter(world), Access(world.warehouse, "0.0.0.0"), pytest.fail)
    ben = actions.caller("ben")
    assert ben == Caller("ben")
    assert actions.authors(ben) == [("Ben Other (ben)", "ben")]
    for refused in (actions.versions, actions.models, actions.candidates):
        with pytest.raises(NotThere):
            refused(ben, "ada")
    assert "there is no author" in last(actions.draft(ben, form())).status
    assert "there is no author" in list(actions.approve(ben, "ada", "v1", "mine now"))[-1]
    assert "there is no author" in list(actions.reject(ben, "ada", "v1", "mine now"))[-1]
    assert "there is no author" in actions.rate(ben, ("ada", "some-id"), "good")
    assert actions.authors(actions.caller(None)) == []


def test_what_others_wrote_is_shown_and_never_obeyed():
    source = DraftSource(EVIL, "javascript:alert(1)", "c", 0.1, EVIL)
    shown = fragments.sources([source]) + fragments.warnings([EVIL]) + fragments.status(EVIL)
    assert "<img" not in shown
    assert "javascript:" not in shown
    quoted = DraftSource("t", "https://example.org/?a='\"><script>", "c", 0.1, "x")
    assert "<script>" not in fragments.sources([quoted])


def test_a_source_says_how_much_of_the_draft_stands_in_it():
    source = DraftSource("On <gauge>", "", "c", 0.1, "x", copied_share=0.123, longest_run=14)
    shown = fragments.sources([source], "none of the draft is word for word from <it>")
    assert "12% of the draft is word for word from “On &lt;gauge&gt;”, at most 14 words in a row." in shown
    assert "None of the draft is word for word from &lt;it&gt;." in shown
    assert "word for word" not in fragments.sources([DraftSource("t", "", "c", 0.1, "x")])


def test_a_finished_view_says_what_the_draft_copies(actions):
    assert "of the draft is word for word from the author" in last(actions.draft(OPERATOR, form())).sources


@pytest.mark.parametrize(("entered", "seed"), [("7", 7), (" 7 ", 7), ("", None), (" ", None), (None, None)])
def test_a_seed_is_a_whole_number_or_nothing(entered, seed):
    assert form(seed=entered).draft_spec().sampling.seed == seed


def test_a_seed_that_is_no_number_is_refused_with_what_to_do():
    with pytest.raises(BadInput, match=r"the seed '1\.5' is not a whole number: correct it, or leave it empty"):
        form(seed="1.5").draft_spec()


@pytest.mark.browser
def test_in_a_browser_a_prompt_becomes_a_streamed_draft_beside_its_sources(chromium, tmp_path, parts: Parts):
    stores = open_world(tmp_path / "data", parts.base)
    write(stores, "ada", {"gauge": ("post", f"I check the tide gauge by hand. {EVIL}")})
    parts.publish(stores, "ada", "v1", recipe={"context_tokens": 1000, "answer_tokens": 400})
    outside, problems = [], []
    with running(build_app(stores, "127.0.0.1", stores.models.promote, collector(stores))) as url:
        page = chromium.new_page()
        page.on(
            "request", lambda request: None if request.url.startswith((url, "data:")) else outside.append(request.url)
        )
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.goto(url)
        page.fill("#prompt textarea", "why I check the tide gauge by hand")
        page.get_by_text("Links and settings").click()
        page.get_by_label("Seed").wait_for()
        page.click("#go")
        page.wait_for_selector("#status .done")
        assert "UNTRAINED" in page.inner_text("#warnings")
        draft = page.input_value("#draft textarea")
        assert "On gauge" in page.inner_text("#sources")
        assert EVIL in re.sub(r"\s+", " ", page.inner_text("#sources"))
        page.click("#good")
        page.wait_for_selector("#kept .done")
        page.fill("#draft textarea", "As I would say it.")
        page.check("#consent input")
        page.click("#save")
        page.wait_for_selector("#kept .done >> text=later versions may learn")
        [kept] = stores.warehouse.interactions.for_author("ada")
        assert (kept.rating, kept.edited, kept.consented) == ("good", "As I would say it.", True)
        assert kept.draft == draft
        assert kept.sampling["seed"] is None, "nobody asked for the same draft again"

        page.get_by_role("tab", name="Models").click()
        page.fill("#reason input, #reason textarea", "reads like me")
        page.click("#approve")
        page.wait_for_selector("#decided .done")
        page.wait_for_selector(".twin-stage.production")
        assert stores.models.production("ada").version == "v1"
        page.get_by_role("tab", name="Write").click()
        # Watched from within the page: from outside, a busy machine would show the end only.
        page.evaluate(
            "() => { window.lengths = new Set(); const draft = document.querySelector('#draft textarea');"
            " window.setInterval(() => window.lengths.add(draft.value.length), 5) }"
        )
        page.click("#go")
        page.wait_for_selector("#status .busy")
        page.wait_for_selector("#status .done")
        lengths = set(page.evaluate("() => [...window.lengths]"))
        final = len(page.input_value("#draft textarea"))
        assert [length for length in lengths if 0 < length < final], "the draft came in one piece"
        assert "by v1" in page.inner_text("#status")
        assert page.title() == "LLM Twin"
        page.close()
    assert outside == []
    assert problems == []


@pytest.mark.browser
def test_in_a_browser_stop_ends_the_draft(chromium, tmp_path, parts: Parts, monkeypatch):
    extend = TorchEngine.extend

    def at_leisure(self, cache, ids, adapter):
        time.sleep(0.02)  # as a model of a useful size takes, so that the draft is not over before anybody can stop it
        return extend(self, cache, ids, adapter)

    monkeypatch.setattr(TorchEngine, "extend", at_leisure)
    stores = open_world(tmp_path / "data", parts.base)
    parts.publish(stores, "ada", "v1", recipe={"context_tokens": 1000, "answer_tokens": 800})
    stores.models.promote("ada", "v1", "Ada", "x")
    with running(build_app(stores, "127.0.0.1", stores.models.promote, collector(stores))) as url:
        page = chromium.new_page()
        page.goto(url)
        page.fill("#prompt textarea", "why I check the tide gauge by hand")
        page.click("#go")
        page.wait_for_function("document.querySelector('#draft textarea').value.length > 20")
        page.click("#stop")
        page.wait_for_selector("#status >> text=stopped")
        length = len(page.input_value("#draft textarea"))
        page.wait_for_timeout(300)
        assert len(page.input_value("#draft textarea")) == length
        page.close()
    assert [one.outcome for one in stores.warehouse.interactions.for_author("ada")] == ["cancelled"]


@pytest.mark.browser
def test_in_a_browser_somebody_without_an_author_is_told_what_to_do(chromium, stores: Stores):
    with running(build_app(stores, "127.0.0.1", pytest.fail, collector(stores))) as url:
        page = chromium.new_page()
        page.goto(url)
        page.wait_for_selector(".twin-empty")
        assert "twin author add" in page.inner_text(".twin-empty")
        assert not page.is_visible("#prompt")
        page.close()
