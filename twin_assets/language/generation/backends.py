"""Where models run: in this process, or behind a server, as the settings say. A backend opens a model for a session."""

from typing import TYPE_CHECKING, Protocol

from twin_assets.documents import ModelManifest
from twin_assets.language.generation.session import Session
from twin_assets.orchestration.progress import Tell, silent

if TYPE_CHECKING:
    from twin_assets.language.base_models import BaseSpec
    from twin_assets.stores import Stores


class Backend(Protocol):
    """Something that models run on."""

    def open(self, model: "ModelManifest | BaseSpec", tell: Tell = silent) -> Session:
        """A session with a version of the registry, or with a base model alone. tell: hears of what takes long.

        Raises Busy where a server says so, NotThere or BadRecipe for a model that cannot be had.
        """


def open_backend(stores: "Stores") -> Backend:
    """The backend that the settings name. Raises BadInput for settings that do not fit together."""
    settings = stores.settings
    if settings.generation == "completions":
        from twin_assets.language.generation.completions import Completions

        return Completions(stores)
    if settings.generation == "chat":
        from twin_assets.language.generation.chat import Chat

        return Chat(stores)
    from twin_assets.language.generation.in_process import InProcess

    return InProcess(stores)
