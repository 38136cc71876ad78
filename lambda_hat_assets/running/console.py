"""The console output of jobs: one short line per message or failure. Stack traces are in the UI."""

import logging
from typing import Any

import dagster as dg

_WRITTEN_TO_BE_READ = ("ConfigError", "Failure", "OSError", "PermissionError")

HIDDEN = ".dagster/"
"""The start of the names of tags that Dagster does not show in the browser."""

PARENT_TAG = f"{HIDDEN}lambda_hat/llc"
"""Tag of runs that a job executes inside its own steps; the value is the id of the job's run."""

QUIET = {"loggers": {"console": {"config": {"log_level": "INFO"}}}}
"""Run config that selects this logger instead of Dagster's own."""


@dg.logger(
    {"log_level": dg.Field(str, default_value="INFO", is_required=False)},
    description="One short line per message on stderr.",
)
def console(init: dg.InitLoggerContext) -> logging.Logger:
    """Return the logger of the project's jobs."""
    level: str = init.logger_config["log_level"]
    logger = logging.Logger("lambda_hat", level=level.upper())
    handler = logging.StreamHandler()
    handler.addFilter(_wanted)
    handler.setFormatter(LineFormatter(datefmt="%H:%M:%S"))
    logger.addHandler(handler)
    return logger


class LineFormatter(logging.Formatter):
    """Formats a record as `12:34:56 message`, with the level unless it is INFO."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        level = "" if record.levelno == logging.INFO else f"{record.levelname} "
        return f"{self.formatTime(record, self.datefmt)} {level}{_text(record)}"


def reason(error: Any) -> str:
    """Return the message of the exception that caused a Dagster error.

    The class of the exception is included unless its message is a complete sentence for users.
    """
    while error.cause is not None and error.cls_name.startswith("Dagster"):
        error = error.cause
    text = error.message.strip()
    kind, _, words = text.partition(": ")
    return words if kind.rpartition(".")[2] in _WRITTEN_TO_BE_READ else text


def _wanted(record: logging.LogRecord) -> bool:
    """Keep messages, failures of steps and warnings; drop Dagster's own bookkeeping.

    Failures in a run inside a job's step are dropped, because they were logged key by key. The
    failure of a run because of failed steps is dropped, because it would repeat them.
    """
    event = _event(record)
    if event is None:
        return True
    if event.is_step_failure and PARENT_TAG in _meta(record)["job_tags"]:
        return not _error(record).cls_name.endswith("Failure")
    return record.levelno >= logging.WARNING and not _repeats_steps(event)


def _repeats_steps(event: dg.DagsterEvent) -> bool:
    """Return whether an event is the failure of a run that was caused by failed steps."""
    if not event.is_failure or event.step_key is not None:
        return False
    reason = getattr(event.event_specific_data, "failure_reason", None)
    return getattr(reason, "name", None) == "STEP_FAILURE"


def _text(record: logging.LogRecord) -> str:
    error = _error(record)
    return _meta(record)["orig_message"] if error is None else reason(error)


def _error(record: logging.LogRecord) -> Any:
    return getattr(getattr(_event(record), "event_specific_data", None), "error", None)


def _event(record: logging.LogRecord) -> dg.DagsterEvent | None:
    return _meta(record)["dagster_event"]


def _meta(record: logging.LogRecord) -> dict[str, Any]:
    return record.__dict__["dagster_meta"]
