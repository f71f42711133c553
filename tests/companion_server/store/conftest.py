import pytest

from tests.support.bundles import tiny_bundle


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A bundle whose tail nobody can run."""
    return tiny_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def other(tmp_path_factory):
    """A bundle of another model."""
    return tiny_bundle(tmp_path_factory.mktemp("other"), name="other")


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "store"
    folder.mkdir()
    return folder
