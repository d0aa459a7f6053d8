"""Which held-out rows are scored and drafted for."""

import random

from twin_assets.evaluation.held_out import choose, draft_rows
from twin_assets.evaluation.result import Options


def row(cluster: int, position: int, category: str = "post") -> dict[str, str]:
    task = "continue" if position else "write"
    return {
        "example_id": f"d{cluster}#{task}-{position:03d}",
        "cluster_id": f"c{cluster}",
        "task": task,
        "category": category,
    }


ROWS = [
    row(cluster, position, ["post", "article", "code"][cluster % 3]) for cluster in range(30) for position in range(6)
]


def test_the_choice_does_not_depend_on_the_order_of_rows():
    shuffled = random.Random(3).sample(ROWS, len(ROWS))
    options = Options(max_clusters=7, max_rows_per_cluster=2)
    assert choose(shuffled, options) == choose(ROWS, options)


def test_caps_bound_clusters_and_rows_and_what_is_left_out_is_counted():
    found = choose(ROWS, Options(max_clusters=7, max_rows_per_cluster=2))
    assert (found.n_clusters, len(found.rows), found.n_left_out) == (7, 14, len(ROWS) - 14)
    assert {row["task"] for row in found.rows[::2]} == {"write"}


def test_a_new_cluster_replaces_none_under_the_cap():
    before = {row["cluster_id"] for row in choose(ROWS, Options()).rows}
    after = {row["cluster_id"] for row in choose([*ROWS, row(99, 0)], Options()).rows}
    assert after == before | {"c99"}


def test_drafts_are_asked_for_in_each_category_in_turn():
    drafts = draft_rows(ROWS, 7)
    assert [row["category"] for row in drafts] == ["article", "code", "post"] * 2 + ["article"]
    assert len({row["cluster_id"] for row in drafts}) == 7
    assert {row["task"] for row in drafts} == {"write"}
    assert draft_rows([], 7) == []
