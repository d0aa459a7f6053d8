"""What the training process leaves behind: a folder with the adapter, its curve, and `result.json`, written last."""

from pathlib import Path

from twin_assets.documents import BaseModelRef, Stored

FILE = "result.json"
ADAPTER = "adapter"
CURVE = "metrics.jsonl"
CHECKPOINTS = "checkpoints"


class TrainingResult(Stored):
    """Losses are nats per answer token; n_windows: training sequences of at most `context_tokens`."""

    base: BaseModelRef
    prompt_template: str
    steps: int
    steps_planned: int
    n_rows: int
    n_windows: int
    n_too_long: int
    dropped_passages: int
    trained_parameters: int
    loss_first: float
    loss_last: float
    validation_before: float | None
    validation_after: float | None
    seconds: float
    peak_memory_mib: int
    device: str
    tracking_run: str | None

    def metrics(self) -> dict[str, float]:
        """The numbers, as the manifest keeps them; without validation rows its losses are missing."""
        named: dict[str, float | None] = {
            "steps": self.steps,
            "steps_planned": self.steps_planned,
            "rows": self.n_rows,
            "windows": self.n_windows,
            "rows_too_long": self.n_too_long,
            "dropped_passages": self.dropped_passages,
            "trained_parameters": self.trained_parameters,
            "loss_first": self.loss_first,
            "loss_last": self.loss_last,
            "validation_before": self.validation_before,
            "validation_after": self.validation_after,
            "seconds": self.seconds,
            "peak_memory_mib": self.peak_memory_mib,
        }
        return {name: value for name, value in named.items() if value is not None}

    @classmethod
    def read(cls, folder: Path) -> "TrainingResult | None":
        """The result of a finished training, or None."""
        path = folder / FILE
        return cls.model_validate_json(path.read_text()) if path.exists() else None

    def write(self, folder: Path) -> None:
        """Write at once: a folder with it is a finished training."""
        new = folder / f"{FILE}.new"
        new.write_text(self.model_dump_json(indent=1))
        new.replace(folder / FILE)
