from hypothesis import given
from hypothesis import strategies as st

from twin_assets.features.instructions.splits import side_of, split_clusters

ORDER = {"train": 0, "validation": 1, "test": 2}
IDS = st.text(alphabet="abc0123", min_size=1, max_size=6)
DOCUMENTS = st.dictionaries(IDS, st.sampled_from("uvwxyz"), max_size=30)


@given(documents=DOCUMENTS, more=DOCUMENTS)
def test_additions_never_move_a_cluster_from_train(documents, more):
    before = split_clusters(documents.items())
    after = split_clusters((documents | {k: v for k, v in more.items() if k not in documents}).items())
    assert all(ORDER[after[cluster]] <= ORDER[split] for cluster, split in before.items())


@given(documents=DOCUMENTS)
def test_a_cluster_is_train_if_any_member_is(documents):
    splits = split_clusters(documents.items())
    for document_id, cluster in documents.items():
        assert ORDER[splits[cluster]] <= ORDER[side_of(document_id)]


def test_sides_are_eighty_ten_ten():
    sides = [side_of(f"ada:files:{n}") for n in range(10_000)]
    assert [round(sides.count(side) / 10_000, 1) for side in ("train", "validation", "test")] == [0.8, 0.1, 0.1]
