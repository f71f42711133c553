from app.settings.leaving import Sent, sentences
from app.settings.preferences import Preferences

SERVER = "https://192.168.1.20:8707"


def frames(sent=None, **chosen):
    return sentences(Preferences(**chosen), device="this phone", sent=sent)[0]


def test_nothing_leaves_unless_it_is_allowed_and_there_is_somewhere_to_go():
    assert frames(mode="off", server=SERVER) == "No frame leaves this phone: offload is off."
    assert frames(mode="auto") == "No frame leaves this phone: no server is chosen."


def test_the_tensor_is_named_with_its_cut_and_bytes():
    assert frames(mode="auto", server=SERVER).endswith(
        f"the tensor at the cut that the planner chooses goes to {SERVER}."
    )
    told = frames(Sent("b8", "aq8t+deflate", 4704, 812), mode="force", server=SERVER, cut="b8")
    assert f"the tensor at cut b8 goes to {SERVER}." in told
    assert told.endswith("was cut at b8, packed as aq8t+deflate: 4.7 KB out, 812 B back.")


def test_picture_and_analytics():
    told = " ".join(sentences(Preferences(), device="this phone", sent=None))
    assert "The picture itself never leaves this phone" in told
    assert "no analytics" in told
