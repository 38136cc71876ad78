"""Tables of the store that cannot be read: a query leaves them out and names them."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from lambda_hat_core.store.store import Store

REASON = "it cannot be read to its end"
WAY_OUT = "lambda-hat verify --remove removes it, and the next run makes it again"


def damaged(paths: Iterable[Path]) -> list[Path]:
    """Return the parquet files among some that cannot be read to their end."""
    from pyarrow import ArrowException, parquet

    found: list[Path] = []
    for path in paths:
        try:
            parquet.read_table(path)
        except FileNotFoundError:
            continue
        except (OSError, ArrowException):
            found.append(path)
    return found


def records_of(store: Store) -> Iterator[Path]:
    """Yield the files that are not part of an artifact: memberships and failures."""
    for folder in ("experiments", "failures"):
        yield from sorted((store.root / folder).glob("[!.]*.parquet"))
