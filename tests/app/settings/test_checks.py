import pytest

from app.settings.checks import DEADLINE_MS, QUOTA_MB, check_key, check_number, check_server
from headtail.offload.pairing import PairingCode, build_uri

CODE = build_uri(PairingCode("https://192.168.1.20:8707", "ab" * 32, "t" * 30))


@pytest.mark.parametrize(
    "text", ["", "  ", "https://192.168.1.20:8707", " http://[::1]:8707 ", CODE]
)
def test_a_server_that_may_be_entered(text):
    assert check_server(text) == ""


@pytest.mark.parametrize("text", ["192.168.1.20", "https://", "https:// x", "ftp://x", "headtail:"])
def test_what_is_not_a_server_yet(text):
    assert check_server(text) == "Not yet https://HOST:PORT or headtail://pair?..."


def test_a_code_that_is_cut_short_says_what_it_lacks():
    assert check_server(CODE[:60]).startswith("This is not a Headtail pairing code")


@pytest.mark.parametrize(("text", "right"), [("", True), ("ht_0a_xyz", True), ("0a_xyz", False)])
def test_a_key(text, right):
    assert (check_key(text) == "") is right


@pytest.mark.parametrize(
    ("text", "right"),
    [
        *[(text, True) for text in ("16", " 1024 ", "1000000")],
        *[(text, False) for text in ("15", "", "1e3", "-20", "1000001", "9" * 5000)],
        ("\u0661\u0662\u0663", False),  # digits, but not those that int would be given here
    ],
)
def test_room_for_models(text, right):
    complaint = check_number(text, QUOTA_MB, "MB")
    assert complaint == ("" if right else "A whole number from 16 to 1000000 MB.")


def test_a_deadline():
    assert check_number("1000", DEADLINE_MS, "ms") == ""
    assert check_number("0", DEADLINE_MS, "ms") == "A whole number from 20 to 60000 ms."
