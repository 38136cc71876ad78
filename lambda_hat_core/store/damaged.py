"""Records of the store that cannot be read: they are left out and named."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from lambda_hat_core.store import records
from lambda_hat_core.store.store import Store

REASON = "it cannot be read to its end"
WAY_OUT = "lambda-hat verify --remove removes it, and the next run makes it again"


def left_out(path: Path) -> str:
    """Return the line that names a damaged file."""
    return f"{path} is left out: {REASON}; {WAY_OUT}"


def damaged(paths: Iterable[Path]) -> list[Path]:
    """Return the files among some that cannot be read to their end, of parquet or JSON."""
    return [path for path in paths if not _readable(path)]


def _readable(path: Path) -> bool:
    if path.is_dir():
        return False
    try:
        if path.suffix == ".json":
            records.asked_in(path)
        else:
            _read_table(path)
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False
    return True


def _read_table(path: Path) -> None:
    from pyarrow import ArrowException, parquet

    try:
        parquet.read_table(path)
    except ArrowException as error:
        raise ValueError(str(error)) from error


def read_asked(store: Store) -> dict[str, tuple[str, list[str]]]:
    """Return each experiment that somebody asked for: name -> (name without changes, changes)."""
    paths = records.asked_files(store)
    bad = set(damaged(paths))
    return {path.stem: records.asked_in(path) for path in paths if path not in bad}


def records_of(store: Store) -> Iterator[Path]:
    """Yield the files that are not part of an artifact: memberships, failures and wishes."""
    for folder in ("experiments", "failures"):
        yield from sorted((store.root / folder).glob("[!.]*.parquet"))
    yield from records.asked_files(store)
