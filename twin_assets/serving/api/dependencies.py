"""What the routes depend on: the stores, the drafter and the access rules of their application, and who is asking."""

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from twin_assets.serving.access import Access, Caller
from twin_assets.serving.drafting import Drafter
from twin_assets.stores import Stores


@dataclass(frozen=True)
class Served:
    """What one application serves from; `build_api` puts it into `app.state`."""

    stores: Stores
    drafter: Drafter
    access: Access


async def _served(request: Request) -> Served:
    return cast(Served, request.app.state.served)


ServedHere = Annotated[Served, Depends(_served)]
"""The `Served` of the application that answers the request."""


def _caller(request: Request, served: ServedHere) -> Caller:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return served.access.caller(token.strip() if scheme.lower() == "bearer" else None)


Asking = Annotated[Caller, Depends(_caller)]
"""Whoever sent the request; one without a valid key ends here, with 401."""
