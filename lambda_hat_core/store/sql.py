"""llc.duckdb: views over parquet globs and nothing else, so that writers never conflict.

DuckDB is imported inside functions.
"""

import hashlib
import re
import shutil
from collections.abc import Collection, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from lambda_hat_core.store import files, records, views
from lambda_hat_core.store.damaged import damaged
from lambda_hat_core.store.store import Store
from lambda_hat_core.store.views import DATABASE


def refresh(store: Store) -> Path:
    """Write a new llc.duckdb and replace the old one, without disturbing its readers."""
    path = store.root / DATABASE
    views.write_seeds(store, views.SOURCES)
    made = views.statements(store)
    store.sweep()
    files.write_atomic(path, lambda tmp: _build(store, made, tmp))
    return path


def is_fresh(store: Store) -> bool:
    """Return whether llc.duckdb exists and its views refer to this folder."""
    import duckdb

    path = store.root / DATABASE
    if not path.is_file() or not all(
        views.seed(store, source).is_file() for source in views.SOURCES
    ):
        return False
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            found = connection.execute(
                "SELECT comment FROM duckdb_views() WHERE view_name = 'llc'"
            ).fetchall()
    except duckdb.Error:
        return False
    return found == [(_fingerprint(views.statements(store)),)]


def connect(store: Store, without: Collection[Path] = ()) -> Any:
    """Return a DuckDB connection with the views; llc.duckdb is neither needed nor opened.

    Args:
        store: the store.
        without: files that the views leave out.
    """
    import duckdb

    connection = duckdb.connect()
    for statement in views.statements(store).values():
        connection.execute(views.leaving_out(store, statement, without))
    return connection


class Table(NamedTuple):
    """The result of a query.

    Attributes:
        names: the names of the columns.
        rows: the rows.
        left_out: files that could not be read to their end.
    """

    names: list[str]
    rows: list[tuple[Any, ...]]
    left_out: Sequence[Path] = ()


def query(store: Store, statement: str, *, unsafe: bool = False) -> Table:
    """Run SQL on the views. Files that cannot be read are left out.

    Args:
        store: the store.
        statement: a query, which can neither write files nor read any beyond the store.
        unsafe: whether it may be any statement, and read and write any file.

    Raises:
        ValueError: if the statement is empty or does more than it may, or DuckDB rejects it.
    """
    import duckdb

    try:
        if not unsafe:
            _check_reads_only(statement)
        return _query(store, statement, unsafe=unsafe)
    except duckdb.Error as error:
        mistakes = duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException
        if isinstance(error, mistakes) and _has_views(store):
            raise _refused(error) from error
        bad = damaged(
            path for source in views.SOURCES.values() for path in views.matched(store, source)
        )
        if not bad:
            raise _refused(error) from error
        empty = {views.seed(store, source) for source in views.SOURCES}
        if not empty.isdisjoint(bad):
            views.write_seeds(store, views.SOURCES)
            bad = [path for path in bad if path not in empty]
    try:
        return _query(store, statement, bad, unsafe=unsafe)
    except duckdb.Error as error:
        raise _refused(error) from error


def _has_views(store: Store) -> bool:
    """Return whether the views can be created, so that an error is one of the statement."""
    import duckdb

    try:
        connect(store).close()
    except duckdb.Error:
        return False
    return True


def _query(store: Store, statement: str, without: Sequence[Path] = (), *, unsafe: bool) -> Table:
    with connect(store, without) as connection:
        if not unsafe:
            _confine(connection, store)
        cursor = connection.execute(statement)
        if cursor is None:
            raise ValueError('the query is empty; write one, such as "from llc"')
        names = [column[0] for column in cursor.description or ()]
        return Table(names, cursor.fetchall(), without)


_READS = re.compile(
    r"(\s|\(|--[^\n]*\n|/\*.*?\*/)*(explain\s+(analyze\s+)?)?\(*\s*"
    r"(select|from|with|values|table|describe|desc|show|summarize|pivot|unpivot)\b",
    re.IGNORECASE | re.DOTALL,
)


def _check_reads_only(statement: str) -> None:
    """Refuse statements that are no queries.

    Raises:
        ValueError: if there is one.
    """
    import duckdb

    reading = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
    for part in duckdb.extract_statements(statement):
        kind = part.type
        pivots = kind == duckdb.StatementType.MULTI
        if not (kind in reading or pivots) or not _READS.match(part.query):
            raise ValueError(
                f"this SQL is no query but {kind.name}, which may write; write SELECT "
                "..., or allow every statement and every file by --unsafe"
            )


def _confine(connection: Any, store: Store) -> None:
    """Keep a connection from all files but those of the store, for good."""
    folder = f"{store.root}/"
    listed = ", ".join(views.quoted(text) for text in {folder, views.as_glob(folder)})
    connection.execute(f"SET allowed_directories = [{listed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _refused(error: Exception) -> ValueError:
    message = " ".join(str(error).split("\n\nLINE")[0].split())
    if "disabled by configuration" in message:
        message += "; only files of the store may be read, unless --unsafe allows every file"
    return ValueError(f"this SQL cannot be run: {message}")


def show(table: Table, longest: int | None = 60) -> str:
    """Return a table as aligned text, with numbers to the right and absent values as null.

    Args:
        table: the result of a query.
        longest: longer cells are shortened and end in dots; None: no cell is shortened.
    """
    cells = [[_cell(value, longest) for value in row] for row in table.rows]
    widths = [max(map(len, column)) for column in zip(table.names, *cells, strict=True)]
    right = [
        any(isinstance(row[i], int | float | Decimal) for row in table.rows)
        for i in range(len(table.names))
    ]

    def line(row: list[str]) -> str:
        parts = (
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, right, strict=True)
        )
        return "  ".join(parts).rstrip()

    return "\n".join(
        [line(table.names), line(["-" * width for width in widths]), *map(line, cells)]
    )


def _cell(value: Any, longest: int | None) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.6g}"
        case list():
            text = f"[{', '.join(_cell(item, None) for item in value)}]"
        case _:
            text = " ".join(str(value).split())
    return text if longest is None or len(text) <= longest else f"{text[: longest - 3]}..."


def _build(store: Store, made: dict[records.Table, str], path: Path) -> None:
    """Write the views; their columns are those of the empty files, so that no other is read."""
    import duckdb

    empty = files.private(store.root / "empty")
    try:
        for source in views.SOURCES.values():
            (empty / source.empty).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(store.root / source.empty, empty / source.empty)
        with duckdb.connect() as connection:
            connection.execute(f"SET temp_directory = {views.quoted(empty / f'{DATABASE}.tmp')}")
            connection.execute(f"ATTACH {views.quoted(path)} AS built (STORAGE_VERSION 'v1.0.0')")
            connection.execute("USE built")
            for statement in made.values():
                connection.execute(statement)
            connection.execute(f"COMMENT ON VIEW llc IS '{_fingerprint(made)}'")
            connection.execute("USE memory")
            connection.execute("DETACH built")
    except duckdb.IOException as error:
        path.with_name(f"{path.name}.wal").unlink(missing_ok=True)
        raise files.refused(str(error)) from error
    finally:
        files.remove(empty)


def _fingerprint(made: dict[records.Table, str]) -> str:
    return hashlib.sha256("\n".join(made.values()).encode()).hexdigest()
