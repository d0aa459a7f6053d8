"""Text generation: one interface for drafting and evaluation, whatever runs the models.

    backend = open_backend(stores)                 this process or a server, depending on the settings
    with backend.open(manifest) as session:        holds the adapter until the session closes
        for piece in session.stream(prompt, Sampling(seed=1)): ...

session.py is the interface and backends.py chooses the backend: in_process.py runs models here, completions.py and
chat.py use a server.
"""

from twin_assets.language.generation.backends import Backend, open_backend
from twin_assets.language.generation.sampling import Sampling
from twin_assets.language.generation.session import PieceStream, Session

__all__ = ["Backend", "PieceStream", "Sampling", "Session", "open_backend"]
