"""Text from a model: one seam for drafting and evaluation, whatever runs behind it.

    backend = open_backend(stores)                 in this process, or a server, as the settings say
    with backend.open(manifest) as session:        holds the adapter until the session closes
        for piece in session.stream(prompt, Sampling(seed=1)): ...

session.py has the protocol, backends.py chooses; in_process.py is what runs here, completions.py and chat.py elsewhere.
"""

from twin_assets.language.generation.backends import Backend, open_backend
from twin_assets.language.generation.sampling import Sampling
from twin_assets.language.generation.session import PieceStream, Session

__all__ = ["Backend", "PieceStream", "Sampling", "Session", "open_backend"]
