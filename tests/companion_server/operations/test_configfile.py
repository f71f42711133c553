import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from companion_server.operations.configfile import MAX_BYTES, load_settings, read_config
from companion_server.settings import Settings
from headtail.errors import UsageFault


@pytest.fixture
def write(tmp_path):
    def written(text):
        path = tmp_path / "server.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return written


def test_the_command_line_goes_before_the_environment_before_the_file_before_defaults(write):
    path = write('port = 1001\nmax_queue = 2\nmax_batch = 3\nhost = "127.0.0.2"\n')
    environ = {"HEADTAIL_SERVER_PORT": "1002", "HEADTAIL_SERVER_MAX_QUEUE": "4", "OTHER": "x"}
    found = load_settings(path, {"port": 1003}, environ=environ)
    assert (found.port, found.max_queue, found.max_batch) == (1003, 4, 3)
    assert found.host == "127.0.0.2"
    assert found.threads == Settings.model_fields["threads"].default


def test_without_a_file_it_is_the_environment():
    found = load_settings(None, {"max_batch": 7}, environ={"HEADTAIL_SERVER_PORT": "1002"})
    assert (found.port, found.max_batch) == (1002, 7)


def test_paths_are_relative_to_the_file_s_folder(write, tmp_path):
    path = write('state_dir = "state"\ncertificate = "/etc/tls/server.pem"\nhost = "localhost"\n')
    assert read_config(path) == {
        "state_dir": tmp_path / "state",
        "certificate": Path("/etc/tls/server.pem"),
        "host": "localhost",
    }


def test_lists_and_numbers_are_taken_as_they_are(write):
    found = load_settings(
        write('requests_per_s = 2.5\ntrusted_keys = ["ab", "cd"]\ntls = false\n'), {}, environ={}
    )
    assert (found.requests_per_s, found.trusted_keys, found.tls) == (2.5, ("ab", "cd"), False)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("port = 1\n# prot = 2\n\nprot = 3\n", 4),
        ('"prot" = 3\n', 1),
        ("port = 1\n[prot]\nx = 1\n", 2),
        ("prot.x = 1\n", 1),
    ],
)
def test_an_unknown_key_is_refused_with_its_line_and_what_exists(write, text, line):
    path = write(text)
    with pytest.raises(UsageFault) as raised:
        read_config(path)
    message = str(raised.value)
    assert f"server.toml, line {line}: Unknown server setting 'prot'." in message
    assert "Known: auth, body_grace_s, burst, " in message
    assert "Did you mean 'port'?" in message


def test_a_value_that_cannot_be_is_refused(write):
    with pytest.raises(UsageFault, match="Server setting port is 70000"):
        load_settings(write("port = 70000\n"), {}, environ={})


def test_a_misspelt_variable_is_refused_too(write):
    with pytest.raises(UsageFault, match="Did you mean 'port'"):
        load_settings(write("port = 7000\n"), {}, environ={"HEADTAIL_SERVER_PROT": "1"})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"port = \n", "is not TOML: Invalid value (at line 1, column 8)"),
        (b"port = 1\nport = 2\n", "is not TOML: Cannot overwrite a value"),
        (b"host = " + b"[" * 5000, "is not TOML: "),
        (b"\xff\xfe", "cannot be read: it is not UTF-8"),
        (b"#" * (MAX_BYTES + 1), f"more than {MAX_BYTES} bytes"),
    ],
)
def test_what_is_no_configuration_is_refused(tmp_path, data, words):
    path = tmp_path / "server.toml"
    path.write_bytes(data)
    with pytest.raises(UsageFault) as raised:
        read_config(path)
    assert words in str(raised.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageFault, match="cannot be read: No such file or directory"):
        read_config(tmp_path / "none.toml")


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=60))
def test_any_text_is_settings_or_one_error(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(text, encoding="utf-8", errors="ignore", newline="")
    with contextlib.suppress(UsageFault):
        read_config(path)


def test_the_environment_wins_however_it_is_written(tmp_path):
    path = tmp_path / "server.toml"
    path.write_text("port = 1000")
    assert load_settings(path, {}, environ={"HEADTAIL_SERVER_Port": "2000"}).port == 2000
