"""How well the stylometric distance tells authors apart: AUC over same/different-author pairs of 300 words each.

    python -m twin_assets_tests.benchmarks.authorship [../shared/data/authorship/dev.jsonl]

Each pair is two texts. The spread is taken from all texts of the pair's group, since there is no author's corpus here.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

from twin_assets.evaluation.instruments.style import StyleSpace, cosine_delta

DEFAULT = Path(__file__).parents[2].parent / "shared/data/authorship/dev.jsonl"


def auc(path: Path) -> dict[str, float]:
    """The AUC of the distance for each group of pairs."""
    from sklearn.metrics import roc_auc_score

    groups = defaultdict(list)
    for line in path.read_text().splitlines():
        row = json.loads(line)
        groups[row["group"]].append(row)
    scores = {}
    for name, rows in groups.items():
        space = StyleSpace.of((text for row in rows for text in row["pair"]), english=True)
        distances = [cosine_delta(*(space.position(text) for text in row["pair"])) for row in rows]
        scores[name] = float(roc_auc_score([not row["same"] for row in rows], distances))
    return scores


if __name__ == "__main__":
    for group, score in auc(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT).items():
        print(f"{group}: AUC {score:.3f}")
