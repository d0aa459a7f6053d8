"""What the routes depend on: the stores, the drafter and the access rules of their application, and who is asking."""

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from twin_assets.serving.access import Access, Caller
from twin_assets.serving.drafting import Drafter
from twin_assets.stores import Stores


@dataclass(frozen=True)
class ApiState:
    """What the routes of one application work with; `build_api` puts it into `app.state`."""

    stores: Stores
    drafter: Drafter
    access: Access


async def _state(request: Request) -> ApiState:
    return cast(ApiState, request.app.state.api)


State = Annotated[ApiState, Depends(_state)]
"""A route's parameter: the `ApiState` of its application."""


def _caller(request: Request, state: State) -> Caller:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return state.access.caller(token.strip() if scheme.lower() == "bearer" else None)


CurrentCaller = Annotated[Caller, Depends(_caller)]
"""A route's parameter: who sent the request. Without a valid key the request ends here, with 401."""
