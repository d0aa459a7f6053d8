"""What a person at a terminal sees of a run: one short line per event, on stderr."""

import logging
import sys

import dagster as dg


class _Line(logging.Formatter):
    """Formats a record as `asset: message`, without the run's id and time that Dagster's own format begins with."""

    def format(self, record: logging.LogRecord) -> str:
        meta = getattr(record, "dagster_meta", None) or {}
        step = meta.get("step_key") if isinstance(meta, dict) else getattr(meta, "step_key", None)
        message = meta.get("orig_message") if isinstance(meta, dict) else getattr(meta, "orig_message", None)
        return f"    {step or meta_name(meta)}: {message or record.getMessage()}"


def meta_name(meta: object) -> str:
    """The job's name, for a line that belongs to no step."""
    return str(meta.get("job_name", "run")) if isinstance(meta, dict) else "run"


@dg.logger({}, "Short lines for a terminal: what assets say, and errors.")
def progress_logger(init_context: dg.InitLoggerContext) -> logging.Logger:
    """INFO and above to stderr; Dagster's own events are DEBUG."""
    logger = logging.Logger("twin", logging.INFO)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line())
    logger.addHandler(handler)
    return logger
