"""The undisturbed experiment, computed once for all kills of a process."""

import pytest

from tests.faults import site as sites


@pytest.fixture
def site(tmp_path):
    return sites.Site(tmp_path)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """The table of an undisturbed experiment; computing it also fills JAX's cache."""
    site = sites.Site(tmp_path_factory.mktemp("undisturbed"))
    code, said = site.run(sites.PLAIN)
    assert code == 0, said
    assert len(site.table()) == len(site.plan().runs)
    return site.table()
