"""Recording an event costs one transaction, and who watches a Dagster run still sees it at once."""

import os
import queue
import shutil
import threading
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import text


@dg.job
def nothing():
    pass


@pytest.fixture
def instance(place):
    with dg.DagsterInstance.from_config(str(place), "dagster.yaml") as instance:
        yield instance


@pytest.fixture
def another(instance, place):
    """What another process sees of the same history."""
    with dg.DagsterInstance.from_config(str(place), "dagster.yaml") as another:
        yield another


def record(instance, number):
    event = dg.AssetMaterialization("made", metadata={"number": number})
    instance.report_runless_asset_event(event)


def last(instance):
    event = instance.get_latest_materialization_event(dg.AssetKey("made"))
    return event.asset_materialization.metadata["number"].value


def test_a_database_is_opened_once_and_not_once_an_event(instance, monkeypatch):
    from lambda_hat_assets.mends import event_log

    made = []
    create = event_log.create_engine

    def counted(url, **options):
        made.append(url)
        return create(url, **options)

    monkeypatch.setattr(event_log, "create_engine", counted)
    for number in range(5):
        record(instance, number)
    assert instance.get_runs() == []
    assert last(instance) == 4
    assert 0 < len(made) == len(set(made)) <= 3


def test_who_watches_a_run_is_told_of_every_event(instance, another):
    run = instance.create_run_for_job(nothing)
    log = another.event_log_storage
    told = queue.Queue()
    instance.report_engine_event("begun", run)
    log.watch(run.run_id, None, lambda event, cursor: told.put(event.message))
    for message in ("first", "second"):
        instance.report_engine_event(message, run)
        while told.get(timeout=120) != message:
            pass


def test_who_opens_the_database_of_a_new_run_second_loses_nothing(instance, another, monkeypatch):
    from lambda_hat_assets.mends import event_log

    run = instance.create_run_for_job(nothing)
    copy, ready, told = shutil.copy, threading.Event(), threading.Event()

    def slowly(source, target):
        copy(source, target)
        if threading.current_thread() is second:
            ready.set()
            assert told.wait(120)
        else:
            assert ready.wait(120)

    second = threading.Thread(target=another.report_engine_event, args=("second", run))
    monkeypatch.setattr(event_log.shutil, "copy", slowly)
    second.start()
    instance.report_engine_event("first", run)
    instance.event_log_storage.dispose()  # or what is beside the file would save it
    told.set()
    second.join()
    found = instance.event_log_storage.get_logs_for_run(run.run_id)
    assert [event.message for event in found] == ["first", "second"]
    folder = Path(instance.event_log_storage.path_for_shard("index")).parent
    assert {path.name.split(".", 1)[1] for path in folder.iterdir()} <= {"db", "db-wal", "db-shm"}


def test_no_more_connections_stay_open_than_agreed_and_none_at_the_end(tmp_path):
    from lambda_hat_assets.mends.event_log import Engines

    engines = Engines()
    engines.MOST = 2
    for number in range(4):
        with engines.connect(f"sqlite:///{tmp_path}/{number}.db") as connection:
            connection.execute(text("CREATE TABLE t (a)"))
    assert opened(tmp_path) == {"2.db", "3.db"}
    engines.close()
    assert opened(tmp_path) == set()


def opened(folder):
    files = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    return {Path(file).name for file in files if Path(file).parent == folder}
