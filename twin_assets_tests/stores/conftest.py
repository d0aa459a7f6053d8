"""What the tests of several stores are about."""

from twin_assets.documents import BaseModelRef, DatasetRef, ModelManifest


def manifest(version: str, **more: object) -> ModelManifest:
    fields = {
        "author": "ada", "version": version, "recipe_name": "tiny", "recipe": {}, "recipe_hash": "r",
        "base": BaseModelRef(name="b", revision="1"), "weights_sha256": "0",
        "dataset": DatasetRef(table="instruction_dataset-00001", version="1", data_version="d"),
        "prompt_version": "1", "prompt_template": "ours", "code_version": "1",
    }  # fmt: skip
    return ModelManifest.model_validate(fields | more)
