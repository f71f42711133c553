"""What every reader of codes has to do, with pictures of a server's own codes."""

from __future__ import annotations

import numpy as np

from app.scanning.readers import CodeReader, luma_of
from tests.app.scanning.qr_pictures import LINK, OTHER, VARIANTS, side_by_side

__all__ = ["CHECKS"]


def check_it_is_there(reader: CodeReader) -> None:
    capability = reader.probe()
    assert capability.available, capability.reason
    assert capability.version


def check_every_way_to_hold_it(reader: CodeReader) -> None:
    read = {name: reader.decode(luma_of(picture())) for name, picture in VARIANTS.items()}
    assert read == {name: [LINK] for name in VARIANTS}


def check_several_in_one_picture(reader: CodeReader) -> None:
    assert sorted(reader.decode(luma_of(side_by_side(LINK, OTHER)))) == sorted([LINK, OTHER])
    assert reader.decode(luma_of(side_by_side(LINK, LINK))) == [LINK]


def check_none(reader: CodeReader) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (480, 640), np.uint8)
    for luma in (noise, np.zeros((480, 640), np.uint8), np.zeros((1, 1), np.uint8)):
        assert reader.decode(luma) == []


def check_letters_of_any_script(reader: CodeReader) -> None:
    import segno

    from tests.app.scanning.qr_pictures import rgb

    text = "gr\u00fc\u00dfe \u4f60\u597d"
    modules = np.array(list(segno.make_qr(text, error="m").matrix), np.uint8)
    picture = np.pad(np.where(modules == 1, 0, 255), 4, constant_values=255)
    assert reader.decode(luma_of(rgb(picture.repeat(6, 0).repeat(6, 1)))) == [text]


CHECKS = (
    check_it_is_there,
    check_every_way_to_hold_it,
    check_several_in_one_picture,
    check_none,
    check_letters_of_any_script,
)
