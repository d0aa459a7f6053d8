"""The models that a key may use."""

from typing import Any

from fastapi import APIRouter

from twin_assets.documents import AuthorProfile
from twin_assets.errors import NotThere
from twin_assets.serving.api.dependencies import CurrentCaller, State
from twin_assets.serving.model_choice import parse_model
from twin_assets.stores import Stores

router = APIRouter(prefix="/v1/models")


@router.get("")
def models(caller: CurrentCaller, state: State) -> dict[str, Any]:
    """The models that the key may use."""
    rows = [row for profile in state.access.profiles(caller) for row in _model_rows(state.stores, profile)]
    return {"object": "list", "data": rows}


@router.get("/{model}")
def model(caller: CurrentCaller, state: State, model: str) -> dict[str, Any]:
    """One model that the key may use."""
    profile = state.access.profile(caller, parse_model(model)[0])
    row = next((row for row in _model_rows(state.stores, profile) if row["id"] == model), None)
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
