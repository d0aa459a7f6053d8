"""All settings in one class; no other module reads the environment.

Each store and service has an embedded default (one directory, nothing to install or start); a setting chooses to scale
out instead. Importing this module also keeps the libraries silent on the network, since it sets the variables that they
read when they load.
"""

import logging
import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from twin_assets.errors import BadInput

SECRET_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
"""The form of the name of an environment variable that holds a token."""

SILENT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "LANCEDB_LOG": "error",
    "TRANSFORMERS_VERBOSITY": "error",
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",
    "TOKENIZERS_PARALLELISM": "false",
    # Spinning OpenMP threads of two busy processes stall each other: 90 ms a token instead of 7 on two shared cores.
    "OMP_WAIT_POLICY": "PASSIVE",
}
for _name, _value in SILENT.items():
    os.environ.setdefault(_name, _value)
# On import, bitsandbytes asks a hub for a faster kernel if the package `kernels` is installed, and warns if it is not.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def project_root() -> Path:
    """The folder of dagster.yaml: DAGSTER_HOME, else the checkout of this package, else the working directory."""
    if home := os.environ.get("DAGSTER_HOME"):
        return Path(home)
    checkout = Path(__file__).resolve().parent.parent
    return checkout if (checkout / "dagster.yaml").is_file() else Path.cwd()


class Settings(BaseSettings):
    """What an operator can set: each field by an environment variable `TWIN_<NAME>` or a line in `.env`."""

    model_config = SettingsConfigDict(
        env_prefix="TWIN_", env_file=project_root() / ".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    data_dir: Path = Field(
        default_factory=lambda: project_root() / "data", description="The directory that everything is written to."
    )
    dagster_dir: Path = Field(
        default_factory=lambda given: given["data_dir"] / "dagster", description="Dagster's runs, events and logs."
    )
    mongodb_uri: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("MONGODB_URI", "TWIN_MONGODB_URI"),
        description="The MongoDB server of the warehouse; unset: the embedded NeoSQLite file.",
    )
    mongodb_database: str = Field(default="twin_assets", description="Database name in MongoDB.")
    features_uri: str | None = Field(default=None, description="Feature store root, e.g. s3://bucket/features.")
    models_uri: str | None = Field(default=None, description="Model registry root, e.g. s3://bucket/models.")
    recipes_dir: Path | None = Field(default=None, description="The operator's own recipes, beside the packaged ones.")

    embedding_model: str = Field(
        default="all-MiniLM-L6-v2",
        description="Sentence-transformers model: the bundled all-MiniLM-L6-v2 (English), a local path or a hub name.",
    )
    embedding_revision: str | None = Field(default=None, description="Hub revision of the embedding model.")
    embedding_batch_size: int = Field(default=64, gt=0, description="How many texts torch embeds in one pass.")
    embedding_backend: Literal["auto", "onnx", "torch"] = Field(
        default="auto",
        description="onnx (8 bits, CPU), torch, or auto: torch on a GPU or if onnx cannot run the model, else onnx.",
    )
    reranker: str | None = Field(
        default=None,
        description="CrossEncoder of sentence-transformers that reorders search hits: a path or a hub name.",
    )
    chunk_tokens: int = Field(
        default=220, ge=32, description="Length of the longest chunk, in tokens of the embedding model."
    )

    max_document_bytes: int = Field(
        default=20_000_000, gt=0, description="A larger document is refused, and named in the report."
    )
    max_response_bytes: int = Field(
        default=50_000_000, gt=0, description="Size of the largest web response, after decompression."
    )
    request_timeout_s: float = Field(
        default=30.0, gt=0, description="Time-out of a crawl's requests, to connect and to read."
    )
    request_interval_s: float = Field(default=0.5, ge=0, description="Pause between two requests to one host.")
    allow_private_addresses: bool = Field(
        default=False, description="Lets crawls reach loopback and private addresses; only for tests and intranets."
    )

    answer_bytes: int = Field(
        default=1_500,
        gt=0,
        description="Length of the longest training answer; the rest of a piece becomes `continue` examples.",
    )
    dataset_size: Literal["small", "medium", "full"] = Field(
        default="full",
        description="Training documents used: a tenth, two fifths or all; each size includes the smaller ones.",
    )
    instruction_model: str | None = Field(
        default=None, description="LiteLLM name of a model that writes instructions for public pieces; unset: rules do."
    )
    instruction_api_base: str | None = Field(
        default=None, description="Address of that model's server, if it is your own."
    )
    instruction_max_cost_usd: float = Field(
        default=5.0, ge=0, description="The instructions of one author may cost this much, over all runs."
    )
    min_new_examples: int = Field(
        default=20, ge=0, description="The sensor trains again once there are this many new examples."
    )
    max_drop: float = Field(
        default=0.5, gt=0, le=1, description="A run may lose this share of a table's rows without an explanation."
    )

    device: str = Field(default="auto", description="The device that models run on: auto, cpu, cuda, cuda:1 …")
    generation: Literal["in_process", "completions", "chat"] = Field(
        default="in_process",
        description="What writes drafts: this process, a completions server (vLLM) or a chat provider (LiteLLM).",
    )
    generation_engine: Literal["auto", "onnx", "torch"] = Field(
        default="auto",
        description="For in_process: onnx (8 bits, CPU), torch, or auto: onnx on a CPU if it runs the model well.",
    )
    generation_memory_mib: int = Field(
        default=0,
        ge=0,
        description="Memory for models, adapters and drafts in progress; 0: half of the device's memory.",
    )
    generation_url: str | None = Field(default=None, description="Address of the completions server, with /v1.")
    generation_adapters: str | None = Field(
        default=None, description="The model registry's folder as that server sees it, if its path is not the same."
    )
    chat_model: str | None = Field(default=None, description="LiteLLM name of the chat provider's model.")
    chat_api_base: str | None = Field(default=None, description="Address of that provider, if it is your own.")
    generation_key_env: str | None = Field(
        default=None, description="NAME of the environment variable with the server's or provider's key."
    )
    max_open_drafts: int = Field(
        default=32, gt=0, description="This many drafts may be in progress or waiting; further requests get status 429."
    )
    tracking: Literal["offline", "online", "disabled"] = Field(default="offline", description="The mode of wandb.")
    api_host: str = Field(
        default="127.0.0.1",
        description="The address that the server binds to; any but this machine's is refused until API keys exist.",
    )
    api_port: int = Field(default=7860, ge=1, le=65535, description="Port of the app and the API.")

    @cached_property
    def warehouse_path(self) -> Path:
        """The NeoSQLite file of the embedded warehouse."""
        return self.data_dir / "warehouse" / "warehouse.db"

    @cached_property
    def features_root(self) -> str:
        """Root of the feature store, a path or a URI."""
        return self.features_uri or str(self.data_dir / "features")

    @cached_property
    def models_root(self) -> str:
        """Root of the model registry's weights, a path or a URI."""
        return self.models_uri or str(self.data_dir / "models")

    @cached_property
    def cache_dir(self) -> Path:
        """The folder of caches; deleting it costs nothing but time."""
        return self.data_dir / "cache"

    def web_cache(self, author: str) -> Path:
        """The cache of web responses from the sites of an author's sources."""
        return self.cache_dir / "http" / f"{author}.db"

    def instruction_cache(self, author: str) -> Path:
        """The cache of the instructions that a model wrote."""
        return self.cache_dir / "instructions" / f"{author}.db"

    def memo(self, author: str, table: str) -> Path:
        """The cache of what the last run of a table made of each document."""
        return self.cache_dir / table / f"{author}.db"

    def library_environment(self) -> dict[str, str]:
        """The environment that gives a child process the same settings and keeps it as silent as its parent."""
        own = {
            f"TWIN_{name.upper()}": str(value)
            for name, value in self._without_mongodb_uri().items()
            if value is not None
        }
        uri = {"MONGODB_URI": self.mongodb_uri.get_secret_value()} if self.mongodb_uri else {}
        return SILENT | own | uri

    def _without_mongodb_uri(self) -> dict[str, Any]:
        return self.model_dump(exclude={"mongodb_uri"})


def enter_project() -> Settings:
    """Make this process, its children and `dagster dev` use the same absolute paths for all state.

    Sets DAGSTER_HOME, TWIN_DATA_DIR and TWIN_DAGSTER_DIR if they are not set, and writes them to the project's `.env`,
    which `dagster dev` reads too. Variables that are set win; neither they nor what follows from them is written to
    `.env`, so one command with another data directory does not move the project.
    """
    from dotenv import dotenv_values, set_key

    root = project_root().absolute()
    file = root / ".env"
    written = dotenv_values(file) if file.is_file() else {}
    given = os.environ.get("TWIN_DATA_DIR")
    data = str(Path(given).absolute()) if given else _written_data_dir(root, written)
    wanted = {"DAGSTER_HOME": str(root), "TWIN_DATA_DIR": data, "TWIN_DAGSTER_DIR": f"{data}/dagster"}
    for name, value in wanted.items():
        if not os.environ.get(name):
            os.environ[name] = value
            if written.get(name) != value and not (given and name == "TWIN_DAGSTER_DIR"):
                set_key(file, name, value, quote_mode="never")
    os.environ["TWIN_DATA_DIR"] = data
    Path(os.environ["TWIN_DAGSTER_DIR"]).mkdir(parents=True, exist_ok=True)
    return Settings()


def _written_data_dir(root: Path, written: Mapping[str, str | None]) -> str:
    """The data directory that `.env` names, or `data` in the root; a checkout's own `data` moves with the checkout."""
    value, home = written.get("TWIN_DATA_DIR"), written.get("DAGSTER_HOME")
    if not value or (home and Path(value) == Path(home) / "data"):
        return str(root / "data")
    return str(root / value)


def check_secret_name(name: str) -> None:
    """Raise BadInput if `name` cannot be an environment variable; it may be the token itself, so it is not repeated."""
    if not SECRET_NAME.fullmatch(name):
        raise BadInput(
            "give the NAME of the variable that holds the token, in capitals, digits and _, such as GITHUB_TOKEN, "
            "never the token"
        )


def secret(name: str) -> str:
    """The token in environment variable `name`, which is never stored or logged. Raises BadInput if it is not set."""
    value = os.environ.get(name, "")
    if not value:
        check_secret_name(name)  # before the name is repeated: it may be the token
        raise BadInput(f"environment variable {name} is empty: set it to the source's token before the crawl")
    return value
