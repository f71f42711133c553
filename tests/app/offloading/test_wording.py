import pytest

from app.offloading.choices import CODECS
from app.offloading.wording import MODES, codec_note, mode_note, reach, server_line
from app.settings.preferences import MODES as KNOWN


def test_every_mode_has_a_name_and_a_note():
    assert tuple(MODES) == KNOWN
    for mode in KNOWN:
        assert "this phone" in mode_note(mode, "this phone")


@pytest.mark.parametrize(
    ("breaker", "wait_s", "text"),
    [
        ("closed", 0.0, ""),
        ("open", 7.2, "The server failed and is left alone; tried again in 8 s."),
        ("open", 0.0, "The server failed; it is tried again with the next frame."),
        ("half open", 0.0, "The server failed; it is being tried again."),
        ("", 0.0, ""),
    ],
)
def test_how_things_stand_with_the_server(breaker, wait_s, text):
    assert reach(breaker, wait_s) == text


def test_the_server_is_named_or_missed():
    assert server_line("https://x:1") == "Server: https://x:1"
    assert server_line("") == "No server is chosen, so nothing is offloaded."


def test_every_codec_that_can_be_chosen_says_what_it_does():
    notes = {codec: codec_note(codec) for codec in CODECS}
    assert notes["aq8t+deflate"] == "8 bits a value, one range a tensor, then deflate"
    assert notes["raw32"] == "32 bits a value, floating point"
    assert len(set(notes.values())) == len(CODECS)
