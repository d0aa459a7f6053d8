"""Backends run models, in this process or on a server, depending on the settings, and open sessions with them."""

from typing import TYPE_CHECKING, Protocol

from twin_assets.documents import ModelManifest
from twin_assets.language.generation.session import Session
from twin_assets.orchestration.progress import Tell, silent

if TYPE_CHECKING:
    from twin_assets.language.base_models import BaseSpec
    from twin_assets.stores import Stores


class Backend(Protocol):
    """Runs models."""

    def open(self, model: "ModelManifest | BaseSpec", tell: Tell = silent) -> Session:
        """Open a session with a version of the registry or a base model. tell: is called before what takes long.

        Raises Busy if a server is busy, and NotThere or BadRecipe if the model cannot be found.
        """


def open_backend(stores: "Stores") -> Backend:
    """The backend that the settings name. Raises BadInput if a setting that it needs is missing."""
    settings = stores.settings
    if settings.generation == "completions":
        from twin_assets.language.generation.completions import Completions

        return Completions(stores)
    if settings.generation == "chat":
        from twin_assets.language.generation.chat import Chat

        return Chat(stores)
    from twin_assets.language.generation.in_process import InProcess

    return InProcess(stores)
