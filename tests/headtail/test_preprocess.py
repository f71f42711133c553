"""Image to tensor: numbers worked out by hand, every kind of picture, and pictures that attack."""

import dataclasses
import io
import random
import resource
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from headtail.errors import ImageFault, UnknownName, UsageFault
from headtail.preprocess import MAX_PIXELS, RESIZE_MODES, Preprocess, check_frame, load_image
from headtail.strictjson import from_json, to_json

PLAIN = Preprocess(
    height=2,
    width=2,
    colour="RGB",
    fit="crop",
    crop_fraction=1.0,
    resize="bilinear",
    scale=1.0,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    layout="NCHW",
)


def recipe(**changes):
    return dataclasses.replace(PLAIN, **changes)


def grey(*rows):
    """A frame whose three channels are equal."""
    return np.repeat(np.array(rows, np.uint8)[..., None], 3, axis=2)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def smooth(height, width):
    """A photo-like frame without edges: waves a quarter of the picture long or longer."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [
        np.sin(2 * np.pi * (a * y / height + b * x / width)) for a, b in ((1, 2), (3, 1), (4, 4))
    ]
    return np.stack([128 + 120 * wave for wave in waves], axis=2).astype(np.uint8)


def test_four_pixels_by_hand():
    """(byte * scale - mean) / std: (10*0.1-1)/2 = 0, (20*0.1-2)/0.5 = 0, (30*0.1-1)/4 = 0.5, ..."""
    frame = np.array([[[10, 20, 30], [30, 10, 50]], [[50, 30, 70], [70, 40, 90]]], np.uint8)
    value = recipe(scale=0.1, mean=(1, 2, 1), std=(2, 0.5, 4))(frame)
    assert value.dtype == np.float32
    assert value.flags.c_contiguous
    wanted: list[Any] = [[[[0, 1], [2, 3]], [[0, -2], [2, 4]], [[0.5, 1], [1.5, 2]]]]
    np.testing.assert_allclose(value, wanted, atol=1e-6)


def test_bgr_takes_its_means_in_bgr_order():
    frame = np.full((2, 2, 3), (10, 20, 30), np.uint8)
    value = recipe(colour="BGR", mean=(1, 2, 3))(frame)
    assert value[0, :, 0, 0].tolist() == [30 - 1, 20 - 2, 10 - 3]


def test_nhwc_is_nchw_transposed():
    frame = smooth(5, 7)
    last = recipe(layout="NHWC")(frame)
    assert last.shape == (1, 2, 2, 3)
    np.testing.assert_array_equal(last.transpose(0, 3, 1, 2), PLAIN(frame))


def test_halving_bilinearly_by_hand():
    """Pillow's triangle filter spans 2x the shrink factor: weights 1, 3, 3, 1 over eighths, and
    3, 3, 1 over sevenths at the edge: row [0 0 70 70] becomes [10, 60]."""
    row = [0, 0, 70, 70]
    view = PLAIN.view(grey(row, row, row, row))
    assert view[0, :, 0].tolist() == [10, 60]
    assert view[1, :, 1].tolist() == [10, 60]


def test_nearest_takes_pixels_as_they_are():
    frame = grey([1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16])
    assert recipe(resize="nearest").view(frame)[..., 0].tolist() == [[6, 8], [14, 16]]


def test_the_centre_is_cropped_in_proportion():
    """From 2 x 6 to 2 x 2: columns 2 and 3 survive, untouched."""
    frame = grey([1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12])
    assert PLAIN.view(frame)[..., 0].tolist() == [[3, 4], [9, 10]]
    assert PLAIN.view(frame.transpose(1, 0, 2))[..., 0].tolist() == [[3, 9], [4, 10]]


def test_squash_keeps_the_whole_picture():
    frame = grey([0, 0, 90, 90], [0, 0, 90, 90])
    squashed = recipe(fit="squash", resize="nearest").view(frame)
    assert squashed[..., 0].tolist() == [[0, 90], [0, 90]]
    assert recipe(resize="nearest").view(frame)[..., 0].tolist() == [[0, 90], [0, 90]]
    assert recipe(fit="squash", width=4, height=1).view(frame)[..., 0].tolist() == [[0, 0, 90, 90]]


@pytest.mark.parametrize("side", [(60, 60), (60, 200), (200, 60), (61, 97)])
@pytest.mark.parametrize("target", [(16, 32), (32, 16), (24, 24)])
def test_crop_never_stretches(side, target):
    """A disc stays a disc, whatever the proportions of picture and target."""
    height, width = side
    y, x = np.mgrid[0:height, 0:width]
    radius = min(side) / 5
    disc = (y - (height - 1) / 2) ** 2 + (x - (width - 1) / 2) ** 2 < radius**2
    frame = np.repeat((255 * disc).astype(np.uint8)[..., None], 3, axis=2)
    view = recipe(height=target[0], width=target[1]).view(frame)[..., 0] / 255
    tall, wide = view.sum(axis=0).max(), view.sum(axis=1).max()
    assert tall == pytest.approx(wide, rel=0.1)


# frame (height, width), target, crop_fraction: the resized picture and both margins are whole
WHOLE = [
    ((512, 512), (224, 224), 0.875),
    ((512, 768), (224, 224), 0.875),
    ((1024, 512), (192, 192), 0.75),
    ((300, 400), (300, 400), 1.0),
    ((120, 480), (60, 120), 1.0),
    ((64, 64), (112, 112), 0.875),
]


@pytest.mark.parametrize(("side", "target", "fraction"), WHOLE)
@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "lanczos"])
def test_crop_is_resize_then_crop(side, target, fraction, mode):
    """Within 2 levels, and most pixels exactly: both round twice, between the passes and after."""
    frame = smooth(*side)
    one = recipe(height=target[0], width=target[1], crop_fraction=fraction, resize=mode)
    scale = max(target[0] / side[0], target[1] / side[1]) / fraction
    height, width = round(side[0] * scale), round(side[1] * scale)
    assert (height, width) == pytest.approx((side[0] * scale, side[1] * scale))
    resized = Image.fromarray(frame).resize((width, height), getattr(Image, mode.upper()))
    top, left = (height - target[0]) // 2, (width - target[1]) // 2
    box = (left, top, left + target[1], top + target[0])
    difference = one.view(frame).astype(int) - np.asarray(resized.crop(box)).astype(int)
    assert abs(difference).max() <= 2
    assert (difference != 0).mean() < 0.5


@pytest.mark.parametrize("side", [(480, 640), (333, 500), (1001, 777), (240, 321)])
def test_crop_is_resize_then_crop_where_sizes_are_not_whole(side):
    """Sides and margins are rounded there and not here: half a pixel, so no more than the slope
    from a pixel to its neighbour."""
    frame = smooth(*side)
    ours = recipe(height=224, width=224, crop_fraction=0.875).view(frame).astype(int)
    scale = 256 / min(side)
    height, width = round(side[0] * scale), round(side[1] * scale)
    resized = Image.fromarray(frame).resize((width, height), Image.BILINEAR)  # type: ignore[attr-defined]
    left, top = (width - 224) // 2, (height - 224) // 2
    theirs = np.asarray(resized.crop((left, top, left + 224, top + 224))).astype(int)
    slope = max(abs(np.diff(theirs, axis=axis)).max() for axis in (0, 1))
    assert abs(ours - theirs).max() <= slope
    assert abs(ours - theirs).mean() <= 2


@settings(deadline=None, max_examples=60)
@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.builds(
        recipe,
        height=st.integers(1, 40),
        width=st.integers(1, 40),
        crop_fraction=st.floats(1e-3, 1.0),
        resize=st.sampled_from(RESIZE_MODES),
        fit=st.sampled_from(["crop", "squash"]),
    ),
)
def test_every_size_goes_in_and_the_right_size_comes_out(side, one):
    frame = np.full((*side, 3), (7, 8, 9), np.uint8)
    value = one(frame)
    assert value.shape == (1, 3, one.height, one.width)
    assert (value == np.array([7, 8, 9], np.float32)[:, None, None]).all()


@pytest.mark.parametrize("frame", [(1, 5000), (5000, 1), (1, 1)])
def test_a_vanishing_window_is_still_a_picture(frame):
    tiny = recipe(crop_fraction=1e-30)
    assert (tiny.view(np.full((*frame, 3), 5, np.uint8)) == 5).all()


BAD_FRAMES: dict[str, Any] = {
    "float": np.zeros((4, 4, 3), np.float32),
    "16 bit": np.zeros((4, 4, 3), np.uint16),
    "grey": np.zeros((4, 4), np.uint8),
    "batch": np.zeros((1, 4, 4, 3), np.uint8),
    "alpha": np.zeros((4, 4, 4), np.uint8),
    "channels first": np.zeros((3, 4, 5), np.uint8),
    "empty": np.zeros((0, 4, 3), np.uint8),
}


@pytest.mark.parametrize("case", BAD_FRAMES)
def test_frames_of_another_kind(case):
    frame = BAD_FRAMES[case]
    shape = str(list(frame.shape))
    for take in (check_frame, PLAIN):
        with pytest.raises(ImageFault) as caught:
            take(frame)
        assert f"{frame.dtype.name}{shape}" in caught.value.what


def test_a_frame_need_not_be_contiguous():
    frame = smooth(6, 8)
    np.testing.assert_array_equal(PLAIN(frame[::2, ::-1]), PLAIN(frame[::2, ::-1].copy()))


@pytest.mark.parametrize(
    ("field", "value", "near"),
    [
        ("resize", "bilinaer", "bilinear"),
        ("fit", "cropp", "crop"),
        ("layout", "NHW", "NHWC"),
        ("colour", "BGRA", "BGR"),
    ],
)
def test_an_unknown_name(field, value, near):
    with pytest.raises(UnknownName, match=f"Did you mean '{near}'"):
        recipe(**{field: value})


@pytest.mark.parametrize(
    "change",
    [
        {"height": 0},
        {"width": -1},
        {"height": 8193},
        {"height": 2.0},
        {"crop_fraction": 0.0},
        {"crop_fraction": 1.01},
        {"crop_fraction": float("nan")},
        {"mean": (0.0, 0.0)},
        {"mean": 0.5},
        {"mean": ("red", "green", "blue")},
        {"mean": (0.0, float("nan"), 0.0)},
        {"std": (1.0, 0.0, 1.0)},
        {"std": (1.0, 1e-60, 1.0)},  # zero as a float32
        {"scale": float("inf")},
        {"scale": 1e38},  # 255 times it is not a float32
        {"scale": 10**400},
    ],
)
def test_a_recipe_out_of_range(change):
    with pytest.raises(UsageFault, match=r"out of range.*Correct get_preprocess"):
        recipe(**change)


def test_lists_and_numpy_numbers_become_plain_ones():
    """What people write in get_preprocess() equals what is read back from the manifest."""
    loose = recipe(
        height=np.int64(2), scale=np.float32(0.5), mean=[0, 0, 0], std=np.ones(3, np.float32)
    )
    assert loose == recipe(scale=0.5)
    assert from_json(Preprocess, to_json(loose)) == loose
    assert hash(loose) == hash(recipe(scale=0.5))


def test_the_id_follows_every_field():
    changed = {
        "height": 3, "width": 3, "colour": "BGR", "fit": "squash", "crop_fraction": 0.5,
        "resize": "lanczos", "scale": 2.0, "mean": (1, 0, 0), "std": (2, 1, 1), "layout": "NHWC",
    }  # fmt: skip
    assert set(changed) == {field.name for field in dataclasses.fields(Preprocess)}
    ids = {PLAIN.id, *(recipe(**{field: value}).id for field, value in changed.items())}
    assert len(ids) == len(changed) + 1
    assert all(len(one) == 16 for one in ids)


# --- pictures ---

CORNERS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[9, 9, 9], [99, 99, 99], [0, 0, 0]]])
PHOTO = Image.fromarray(CORNERS.astype(np.uint8))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_files_give_their_pixels(tmp_path, kind):
    data = encoded(PHOTO, kind)
    (tmp_path / "photo").write_bytes(data)
    for source in (data, tmp_path / "photo"):
        frame = load_image(source)
        np.testing.assert_array_equal(frame, CORNERS)
        assert frame.dtype == np.uint8
        assert frame.flags.writeable


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_files_come_close(kind):
    frame = np.repeat(smooth(48, 64)[..., :1], 3, axis=2)  # grey, as colours are subsampled
    decoded = load_image(encoded(Image.fromarray(frame), kind, quality=95))
    assert abs(decoded.astype(int) - frame).mean() < 2


# EXIF orientation -> the stored picture, as the turn that makes it upright undoes it (EXIF 2.32,
# table 7 of https://www.cipa.jp/std/documents/e/DC-X008-Translation-2019-E.pdf)
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(STORED[orientation](CORNERS.astype(np.uint8)))
    data = encoded(Image.fromarray(stored), "PNG", exif=exif.tobytes())
    np.testing.assert_array_equal(load_image(data), CORNERS)


def palette(**options):
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    return encoded(image, "PNG", **options)


RGB = [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
KINDS = {
    "palette": (palette(), RGB),
    "palette, one colour transparent": (palette(transparency=1), RGB),
    "palette with alpha": (palette(transparency=b"\x00\x80\xff"), RGB),
    "alpha dropped": (encoded(Image.new("RGBA", (1, 1), (7, 8, 9, 0))), [[7, 8, 9]]),
    "grey": (encoded(Image.new("L", (1, 1), 77)), [[77, 77, 77]]),
    "grey with alpha": (encoded(Image.new("LA", (1, 1), (77, 3))), [[77, 77, 77]]),
    "black and white": (encoded(Image.new("1", (1, 1), 1)), [[255, 255, 255]]),
    "16-bit grey": (
        encoded(Image.fromarray(np.array([[0, 0x0102, 0x7FFF, 0xFFFF]], np.uint16))),
        [[0] * 3, [1] * 3, [0x7F] * 3, [255] * 3],
    ),
    "16-bit grey TIFF": (
        encoded(Image.fromarray(np.array([[0x0102, 0xFFFF]], np.uint16)), "TIFF"),
        [[1] * 3, [255] * 3],
    ),
    "CMYK": (encoded(Image.new("CMYK", (1, 1), (0, 255, 255, 0)), "TIFF"), [[255, 0, 0]]),
}


@pytest.mark.parametrize("case", KINDS)
def test_kinds_of_pictures(case):
    data, pixels = KINDS[case]
    assert load_image(data)[0].tolist() == pixels


def test_a_cmyk_jpeg():
    data = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95)
    assert np.abs(load_image(data).astype(int) - (255, 0, 0)).max() <= 3


def test_the_first_frame_of_an_animation():
    frames = [Image.new("RGB", (2, 2), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)
    assert load_image(data)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_samples_without_a_known_range_are_refused(dtype):
    data = encoded(Image.fromarray(np.ones((2, 2), dtype)), "TIFF")
    with pytest.raises(ImageFault, match=r"32-bit samples.*8 bits per channel"):
        load_image(data)


def noise():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"])
def test_a_picture_cut_short(kind):
    data = encoded(noise(), kind)
    load_image(data)
    for part in (0, 1, 7, len(data) // 4, len(data) // 2):
        with pytest.raises(ImageFault, match=r"cannot be read as an image \(\w+\)"):
            load_image(data[:part])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 1000,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n",
        b"P6 1 1 255\nabc",
    ],
    ids=["nothing", "zeros", "SVG", "EPS, which runs Ghostscript", "PPM"],
)
def test_other_formats_are_refused(data):
    with pytest.raises(ImageFault, match=r"UnidentifiedImageError.*JPEG, PNG, WebP"):
        load_image(data)


def test_paths_that_are_no_pictures(tmp_path):
    for path, why in ((tmp_path / "absent.png", "FileNotFound"), (tmp_path, "IsADirectory")):
        with pytest.raises(ImageFault) as caught:
            load_image(path)
        assert str(path) in caught.value.what
        assert why in caught.value.what


def chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def declared_png(width, height):
    """A PNG of a few bytes that says it is `width` x `height`."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("width", "height", "said"),
    [
        (8001, 8000, "8001x8000"),  # just over ours
        (10_000, 9_000, "10000x9000"),  # where Pillow warns
        (60_000, 60_000, "over 178956970"),  # where Pillow refuses
        (2**31 - 1, 2**31 - 1, "over 178956970"),
    ],
)
def test_a_bomb_is_refused_without_allocating(width, height, said):
    assert width * height > MAX_PIXELS
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageFault, match=rf"is {said} pixels. At most {MAX_PIXELS}"):
        load_image(declared_png(width, height))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_warnings_of_the_decoder_are_not_the_users():
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        with warnings.catch_warnings(record=True) as seen:
            load_image(palette(transparency=b"\x00\x80\xff"))
        assert seen == []
        assert warnings.filters == filters


def test_damaged_files_end_in_a_picture_or_one_error():
    """Seeded damage to headers and bodies of every format; TIFF's C library also talks to stderr,
    so it is left to the truncation test."""
    exif = Image.Exif()
    exif[0x0112] = 6
    seeds = [
        encoded(noise().resize((16, 16)), kind, **options)
        for kind, options in (
            ("PNG", {"exif": exif.tobytes()}),
            ("JPEG", {"exif": exif.tobytes()}),
            ("GIF", {}),
            ("BMP", {}),
            ("WEBP", {}),
        )
    ]
    chance, refused = random.Random(2), 0
    for _ in range(1500):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 6)):
            data[chance.randrange(min(len(data), chance.choice([64, 200, len(data)])))] ^= (
                1 << chance.randrange(8)
            )
        try:
            frame = load_image(bytes(data[: chance.choice([None, -1, -20])]))
        except ImageFault:
            refused += 1
        else:
            check_frame(frame)
    assert 100 < refused < 1400


@settings(deadline=None, max_examples=60)
@given(
    side=st.tuples(st.integers(40, 300), st.integers(40, 300)),
    fit=st.sampled_from(["crop", "squash"]),
    fraction=st.sampled_from([0.5, 0.875, 1.0]),
    spot=st.tuples(st.floats(0.15, 0.85), st.floats(0.15, 0.85)),
)
def test_the_window_leads_from_the_view_back_to_the_frame(side, fit, fraction, spot):
    """A bright square in the frame is where the window says, to less than a pixel of the view."""
    height, width = side
    prepare = recipe(height=32, width=48, fit=fit, crop_fraction=fraction)
    left, top, right, bottom = prepare.window(width, height)
    # the square is centred on a point of the window, and a quarter of the window wide
    x, y = left + spot[0] * (right - left), top + spot[1] * (bottom - top)
    half = (right - left) / 8, (bottom - top) / 8
    across = np.clip(np.arange(width + 1), x - half[0], x + half[0])
    down = np.clip(np.arange(height + 1), y - half[1], y + half[1])
    covered = np.outer(np.diff(down), np.diff(across))  # of each pixel, exactly
    frame = np.repeat(np.round(covered * 255).astype(np.uint8)[..., None], 3, axis=2)
    seen = prepare.view(frame)[..., 0].astype(np.float64)
    ys, xs = np.mgrid[0:32, 0:48] + 0.5
    assert (seen * xs).sum() / seen.sum() == pytest.approx(spot[0] * 48, abs=0.75)
    assert (seen * ys).sum() / seen.sum() == pytest.approx(spot[1] * 32, abs=0.75)
