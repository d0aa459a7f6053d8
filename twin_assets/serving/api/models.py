"""The models that a key may use."""

from typing import Any

from fastapi import APIRouter

from twin_assets.documents import AuthorProfile
from twin_assets.errors import NotThere
from twin_assets.serving.api.dependencies import Asking, ServedHere
from twin_assets.serving.model_choice import parse_model
from twin_assets.stores import Stores

router = APIRouter(prefix="/v1/models")


@router.get("")
def models(who: Asking, served: ServedHere) -> dict[str, Any]:
    """What the key may use as `model`."""
    rows = [row for profile in served.access.profiles(who) for row in _model_rows(served.stores, profile)]
    return {"object": "list", "data": rows}


@router.get("/{model}")
def model(who: Asking, served: ServedHere, model: str) -> dict[str, Any]:
    """One of them."""
    profile = served.access.profile(who, parse_model(model)[0])
    row = next((row for row in _model_rows(served.stores, profile) if row["id"] == model), None)
    if row is None:
        raise NotThere(f"there is no model {model!r}: see /v1/models")
    return row


def _model_rows(stores: Stores, profile: AuthorProfile) -> list[dict[str, Any]]:
    """`<author>`, which always drafts, then each of the author's versions."""
    production = stores.models.production(profile.id)
    head = _row(profile.id, profile.id, profile.created_at.timestamp())
    head["twin"] = {"stage": "production" if production else "untrained", "version": production and production.version}
    rows = [head]
    for manifest in stores.models.versions(profile.id):
        row = _row(manifest.id, profile.id, manifest.created_at.timestamp())
        row["twin"] = {"stage": manifest.stage, "version": manifest.version, "recipe": manifest.recipe_name}
        rows.append(row)
    return rows


def _row(name: str, author: str, created: float) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": int(created), "owned_by": author}
