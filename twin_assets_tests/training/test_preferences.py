"""Preference pairs are what the model saw, by consent, and hold nothing of others."""

from typing import Any

from twin_assets.documents import Category, Interaction, SeenPassage
from twin_assets.training.preferences import preference_rows

OWN = SeenPassage(chunk_id="ada:files:g#0000", title="On gauge", url="u", text="The float sticks.", score=0.4)
PAGE = "The barograph in the pilot house drew a flat line for nine days before anybody wound it."
LINKED = SeenPassage(chunk_id="https://x.org/#0000", title="A page", url="https://x.org", text=PAGE, linked=True)


def interaction(**more: Any) -> Interaction:
    usual = {
        "id": "a",
        "author": "ada",
        "model_version": "v1",
        "prompt": "rope",
        "draft": "Rope is rope.",
        "edited": "A rope keeps.",
        "consented": True,
        "category": Category.POST,
        "instruction": "Write a post: rope",
        "passages": [OWN, LINKED],
        "history": [("shorter", "Rope.")],
        "examples": ["Mine."],
    }
    return Interaction.model_validate(usual | more)


def pairs(*interactions: Interaction) -> list[dict[str, Any]]:
    return preference_rows(interactions).to_pylist()


def test_a_pairs_prompt_is_what_the_model_saw():
    [pair] = pairs(interaction())
    assert pair["instruction"] == "Write a post: rope"
    assert [passage["chunk_id"] for passage in pair["passages"]] == [OWN.chunk_id]
    assert pair["passages"][0]["text"] == OWN.text
    assert pair["history"] == [{"prompt": "shorter", "draft": "Rope."}]
    assert pair["examples"] == ["Mine."]
    assert (pair["chosen"], pair["rejected"]) == ("A rope keeps.", "Rope is rope.")


def test_another_prompt_is_another_pair():
    hashes = {pair["input_hash"] for changed in ({}, {"passages": []}, {"history": []}, {"instruction": "Write: rope"})
              for pair in pairs(interaction(**changed))}  # fmt: skip
    assert len(hashes) == 4


def test_what_others_wrote_on_a_linked_page_is_learned_from_nowhere():
    assert "barograph" not in str(pairs(interaction()))
    assert pairs(interaction(draft=f"I read that {PAGE.lower()}")) == []
    assert pairs(interaction(edited=f"I read that {PAGE}")) == []


def test_a_draft_is_never_chosen_whatever_its_rating():
    assert pairs(interaction(rating="bad", edited=None), interaction(rating="good", edited=None)) == []
    assert pairs(interaction(rating="bad", edited="Rope is rope.")) == []
    [pair] = pairs(interaction(rating="bad"))
    assert pair["chosen"] != "Rope is rope."


def test_without_consent_or_of_a_draft_that_was_not_finished_there_is_no_pair():
    assert pairs(interaction(consented=False)) == []
    assert pairs(*(interaction(outcome=outcome) for outcome in ("open", "cancelled", "failed"))) == []


def test_a_record_of_before_is_a_pair_of_its_prompt():
    old = {"id": "a", "author": "ada", "model_version": "v1", "prompt": "rope", "draft": "Rope is rope.",
           "sources": ["c"], "rating": None, "edited": "A rope keeps.", "consented": True}  # fmt: skip
    [pair] = pairs(Interaction.model_validate(old))
    assert (pair["instruction"], pair["passages"], pair["history"], pair["examples"]) == ("rope", [], [], [])
