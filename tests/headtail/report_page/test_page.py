"""The page says what the JSON says, all of it, and loads, runs and hides nothing."""

import dataclasses
import json
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from headtail.manifest import SYNTHETIC, Manifest, SampleSet
from headtail.quality import Faithful, Halves, Interval, Quality
from headtail.report import Report
from headtail.report_page import contents, to_html
from headtail.report_page.spots import Spot, number
from headtail.report_page.style import DARK, LIGHT
from headtail.strictjson import to_json
from tests.support.bundles import golden_tensors, manifest_of
from tests.support.reports import full_manifest, full_report

VOID = {"meta", "img", "br", "wbr", "link", "circle", "path", "line", "polygon"}


class Page(HTMLParser):
    """The stdlib's parser; keeps elements, text, and what every `<data>` shows."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.data: list[tuple[dict[str, str], str]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "data":
            self.data.append((self.elements[-1][1], ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self.open and self.open[-1] == "data":
            self.data[-1] = (self.data[-1][0], self.data[-1][1] + data)

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def looked_up(value: Any, path: list[str]) -> Any:
    for key in path:
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def shown(manifest: Manifest | None = None, report: Report | None = None) -> tuple[Page, Any]:
    found = contents(manifest or full_manifest(), report or full_report())
    return Page(to_html(found)), to_json(found)


def assert_numbers_are_the_json_s(page: Page, value: Any) -> None:
    assert len(page.data) > 100
    for attributes, words in page.data:
        expected = looked_up(value, json.loads(attributes["data-at"]))
        assert json.loads(attributes["value"]) == expected
        if expected is None:
            assert words == "\N{EN DASH}"
        else:
            assert words == number(expected, attributes["data-as"])


def test_every_number_on_the_page_is_the_json_s():
    assert_numbers_are_the_json_s(*shown())


def numbers(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Paths of all figures of a JSON value."""
    if isinstance(value, dict):
        return [p for key, item in value.items() for p in numbers(item, (*path, key))]
    if isinstance(value, list):
        return [p for i, item in enumerate(value) for p in numbers(item, (*path, str(i)))]
    is_figure = isinstance(value, (int, float)) and not isinstance(value, bool)
    return [path] if is_figure else []


SPOKEN = (
    r"artifacts\.[0-3]\.(bytes|n|snr_db_min)",
    r"artifacts\.[0-2]\.(ratio|elements|shares\..*)",
    r"artifacts\.\d\.(agreement|snr_db)\..*",
    r"artifacts\.\d\.faithful\.db\..*",
    r"artifacts\.\d\.latency_ms_p50",
    r"quality\.reports\.\d\.(slices|groups)\.0\.agreement\..*",
    r"quality\.reports\.\d\.(slices|groups)\.0\.n",
    r"quality\.reports\.\d\.drift\..*",
    r"quality\.reports\.\d\.calibration\.(reference|candidate)",
    r"quality\.reports\.\d\.accuracy\.(drop\..*|p_value)",
    r"quality\.noise\.\d\.layers\.\d\.snr_db",
    r"quality\.sensitivity\.\d\.layers\.\d\.damage",
    r"quality\.equalization\.\d\.spread_(before|after)",
    r"quality\.halves\.(limit|means|ranges)_db",
    r"cuts\.\d\.(head_flops|wire_bytes\..*)",
    r"cuts\.\d\.(fidelity|heads\.[^.]+\.[^.]+)\..*\.(n|agreement\..*)",
    r"(evaluation|calibration)\.count",
    r"stages\..*",
    r"conversions\..*\.seconds",
)


@pytest.mark.parametrize("pattern", SPOKEN)
def test_the_figures_of_the_json_are_on_the_page(pattern):
    page, value = shown()
    there = {".".join(json.loads(attributes["data-at"])) for attributes, _ in page.data}
    wanted = [p for p in map(".".join, numbers(value)) if re.fullmatch(pattern, p)]
    assert wanted
    assert set(wanted) <= there


def test_the_surest_changed_answers_are_shown():
    page, value = shown()
    there = {".".join(json.loads(attributes["data-at"])) for attributes, _ in page.data}
    [changed] = [one["changed"] for one in value["quality"]["reports"] if one["changed"]]
    assert len(changed) > 8
    sure = sorted(range(len(changed)), key=lambda i: -changed[i]["confidence_before"])
    for place, i in enumerate(sure):
        shown_ = f"quality.reports.1.changed.{i}.confidence_before" in there
        assert shown_ == (place < 8)
    assert len(page.of("img")) == 3  # as many as have a thumbnail
    assert f"LiteRT w8a8: {len(changed)} of 60" in page.text


def stamps(page: Page) -> int:
    return len([a for a in page.of("p") if a.get("class") == "stamp"])


def test_halves_that_disagree_are_stamped_on_the_page():
    report = full_report()
    quality = report.quality or Quality()
    assert quality.halves is not None
    page, _ = shown(None, report)
    assert stamps(page) == 1
    told = " ".join(page.text.split(" ,")).replace(" .", ".")
    assert "its halves are 3.2 dB in ranges and 0.5 dB in means apart" in told
    one = dataclasses.replace(quality, halves=Halves(1, 2.0))
    page, _ = shown(None, dataclasses.replace(report, quality=one))
    assert stamps(page) == 1
    assert "its halves are none, with 1 input." in page.text.replace(" .", ".")
    alike = dataclasses.replace(quality.halves, ranges_db=1.9)
    quality = dataclasses.replace(quality, halves=alike)
    page, _ = shown(None, dataclasses.replace(report, quality=quality))
    assert stamps(page) == 0
    assert "1.9 dB in ranges" in page.text


def test_noise_is_stamped_on_every_page_about_what_was_fitted_to_it():
    manifest = full_manifest()
    noise = SampleSet(f"{SYNTHETIC}noise", 64, 0, "3" * 64)
    first, quantized, *rest = manifest.artifacts
    fitted = dataclasses.replace(quantized, calibration=noise)
    manifest = dataclasses.replace(manifest, artifacts=(first, fitted, *rest))
    page, value = shown(manifest, Report("verify", ()))  # whoever measured last
    assert stamps(page) == 1
    assert "LiteRT w8a8 : calibrated with noise" in page.text
    assert [one["synthetic"] for one in value["artifacts"]] == [False, True, False]


def centre(tag: str, attributes: dict[str, str]) -> tuple[float, float]:
    if tag == "circle":
        return float(attributes["cx"]), float(attributes["cy"])
    corners = [tuple(map(float, pair.split(","))) for pair in attributes["points"].split()]
    xs, ys = zip(*corners, strict=True)
    return (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2


def test_marks_stand_where_their_numbers_are():
    """In each panel heights are linear in scores, and places to the right in logs of costs."""
    page, value = shown()
    panels: dict[str, list[tuple[float, float, float, float]]] = {"bytes": [], "latency_ms_p50": []}
    for i, (tag, attributes) in enumerate(page.elements):
        if tag == "g" and "data-cost" in attributes:
            one = looked_up(value, json.loads(attributes["data-at"]))
            cost, score = float(attributes["data-cost"]), float(attributes["data-score"])
            assert score == one["agreement"]["value"]
            [name] = [name for name in panels if one[name] == cost]
            panels[name].append((cost, score, *centre(*page.elements[i + 2])))
    assert [len(marks) for marks in panels.values()] == [3, 2]
    for marks in panels.values():
        costs, scores, x, y = np.array(marks).T
        for given, place, off in ((scores, y, 1.0), (np.log(costs), x, 12.5)):
            line = np.polyfit(given, place, 1) if np.ptp(given) else (0, place.mean())
            assert np.abs(np.polyval(line, given) - place).max() <= off
        assert np.polyfit(scores, y, 1)[0] < 0


@pytest.mark.parametrize("quality", [None, Quality()])
def test_a_section_without_data_says_how_to_get_it(quality):
    rows = (dataclasses.replace(full_report().artifacts[0], timing_kind="", latency_ms_p50=None),)
    page, _ = shown(manifest_of(golden_tensors(), name="t"), Report("x", rows, quality=quality))
    told = [words for words in page.words if words.startswith("headtail ")]
    assert told.count("headtail quantize SOURCE --recipe w8a8 --calibration-data DIR") == 5
    assert "headtail bench BUNDLE" in told
    assert len(page.of("section")) == 10


def test_nothing_is_loaded_and_nothing_runs():
    markup = to_html(contents(full_manifest(), full_report()))
    page = Page(markup)
    assert not {"script", "link", "iframe", "object", "base", "form"} & {
        t for t, _ in page.elements
    }
    assert not [a for _, a in page.elements if any(name.startswith("on") for name in a)]
    sources = [a["src"] for _, a in page.elements if "src" in a]
    assert sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert not [a for _, a in page.elements if "href" in a or "action" in a]
    assert "url(" not in markup
    assert "@import" not in markup
    assert "http" not in markup.replace("http-equiv", "")
    assert "default-src 'none'" in page.of("meta")[1]["content"]


def test_what_a_stranger_may_name_is_escaped():
    bad = '<script>alert("1")</script>'
    manifest = dataclasses.replace(
        full_manifest(),
        name=bad,
        task=bad,
        source=bad,
        labels=(bad, "b", "c"),
        tool_versions={bad: bad},
        cuts=(dataclasses.replace(full_manifest().cuts[0], id=bad, node=bad),),
    )
    report = full_report()
    rows = tuple(
        dataclasses.replace(row, format=bad if row.verdict == "failed" else row.format, note=bad)
        for row in report.artifacts
    )
    quality = report.quality or Quality()
    quality = dataclasses.replace(
        quality,
        steps=(bad,),
        noise=tuple(
            dataclasses.replace(
                one,
                precision=bad,
                layers=tuple(dataclasses.replace(layer, layer=bad, op=bad) for layer in one.layers),
            )
            for one in quality.noise
        ),
        sensitivity=tuple(
            dataclasses.replace(
                one,
                method=bad,
                storage=bad,
                layers=tuple(dataclasses.replace(layer, layer=bad, op=bad) for layer in one.layers),
            )
            for one in quality.sensitivity
        ),
        equalization=tuple(dataclasses.replace(one, name=bad) for one in quality.equalization),
    )
    report = dataclasses.replace(
        report,
        command=bad,
        artifacts=rows,
        notes=(bad,),
        stages={bad: 1.0},
        quality=quality,
    )
    page, _ = shown(manifest, report)
    assert "script" not in {tag for tag, _ in page.elements}
    assert not [a for _, a in page.elements if "alert" in "".join(a)]
    assert page.text.count("alert(") >= 15


def test_the_page_can_be_read_by_a_machine_that_reads_it_aloud():
    page, _ = shown()
    assert page.of("html")[0]["lang"] == "en"
    assert len(page.of("h1")) == 1
    assert all("alt" in image for image in page.of("img"))
    assert all("scope" in cell for cell in page.of("th"))
    names = {a["id"] for _, a in page.elements if "id" in a}
    labelled = [a["aria-labelledby"] for _, a in page.elements if "aria-labelledby" in a]
    assert len(labelled) >= 10
    assert set(labelled) <= names
    assert len(names) == len([a for _, a in page.elements if "id" in a])
    pictures = [a for a in page.of("svg") if a.get("aria-hidden") != "true"]
    assert pictures
    assert all(a["role"] == "img" for a in pictures)
    titles = [i for i, (tag, _) in enumerate(page.elements) if tag == "svg"]
    for i in titles:
        if page.elements[i][1].get("role") == "img":
            assert page.elements[i + 1][0] == "title"


def luminance(colour: str) -> float:
    """Relative luminance, https://www.w3.org/TR/WCAG21/#dfn-relative-luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_contrast(colours):
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for text in ("ink", "soft", "pass", "poor", "failed"):
        assert contrast(colours[text], colours["paper"]) >= 4.5
        assert contrast(colours[text], colours["raised"]) >= 4.5
    for mark in ("one", "two", "three", "four", "calm", "pale", "front"):
        assert contrast(colours[mark], colours["paper"]) >= 3


def test_the_page_is_the_same_every_time():
    assert to_html(contents(full_manifest(), full_report())) == to_html(
        contents(full_manifest(), full_report())
    )


def test_a_hundred_artifacts_are_no_trouble():
    manifest = full_manifest()
    many = tuple(
        dataclasses.replace(manifest.artifacts[0], precision=f"p{i}", bytes=1000 + 7 * i)
        for i in range(100)
    )
    page, _ = shown(dataclasses.replace(manifest, artifacts=many), Report("export", ()))
    assert len([a for a in page.of("g") if "data-cost" in a]) == 100


def test_numbers_are_written_for_people():
    assert number(-0.0311, "signed") == "\N{MINUS SIGN}0.031"
    assert number(1e-9, "signed") == "0.000"
    assert number(400.0, "db") == "\N{INFINITY}"
    assert number(-400.0, "db") == "\N{MINUS SIGN}\N{INFINITY}"
    assert number(18_649_611, "mb") == "18.65"
    assert number(0.0, "small") == "0"
    assert number(7.7e-12, "small") == "7.7e\N{MINUS SIGN}12"
    assert number(9.4e-05, "small") == "9.4e\N{MINUS SIGN}5"
    assert number(4631000, "count") == "4,631,000"
    assert Spot({"a": [None]})["a"][0].show("db") == (
        '<data value="null" data-at="[&quot;a&quot;, &quot;0&quot;]">\N{EN DASH}</data>'
    )


def test_a_model_that_does_not_classify_is_shown_by_its_decibels():
    manifest = full_manifest()
    seen = dataclasses.replace(manifest.artifacts[0].agreement, top1=None, low=None, high=None)
    artifacts = tuple(dataclasses.replace(one, agreement=seen) for one in manifest.artifacts)
    exact = dataclasses.replace(seen, snr_db_mean=float("inf"), snr_db_min=float("inf"))
    artifacts = (dataclasses.replace(artifacts[0], agreement=exact), *artifacts[1:])
    page, value = shown(dataclasses.replace(manifest, artifacts=artifacts), Report("export", ()))
    assert value["score"] == "snr_db"
    assert value["artifacts"][0]["snr_db"]["value"] == 400.0
    assert "SNR dB against float32" in page.text
    assert "\N{INFINITY}" in page.text


def test_files_that_equal_their_programs_bit_for_bit_are_called_so():
    report = full_report()
    quality = report.quality or Quality()
    same = Faithful(60, Interval(400.0, 400.0, 400.0), 400.0)
    reports = tuple(dataclasses.replace(one, faithful=same) for one in quality.reports)
    quality = dataclasses.replace(quality, reports=reports)
    page, _ = shown(None, dataclasses.replace(report, quality=quality))
    assert page.text.count("\N{INFINITY} bit-equal") == 2


def test_where_channels_were_left_the_page_says_so():
    report = full_report()
    quality = dataclasses.replace(
        report.quality or Quality(), equalization=(), steps=("equalize left out: because",)
    )
    page, _ = shown(None, dataclasses.replace(report, quality=quality))
    assert "No channels were evened out" in page.text
    assert "equalize left out: because" in page.text


def test_many_programs_are_told_apart():
    report = full_report()
    quality = report.quality or Quality()
    noise = tuple(dataclasses.replace(quality.noise[0], precision=f"w{i}") for i in range(9))
    layers = tuple(dataclasses.replace(one, snr_db=400.0) for one in noise[0].layers)
    noise = (dataclasses.replace(noise[0], layers=layers), *noise[1:])
    quality = dataclasses.replace(quality, noise=noise)
    page, _ = shown(None, dataclasses.replace(report, quality=quality))
    looks = [
        (a["stroke"], a.get("stroke-dasharray")) for a in page.of("path") if a["class"] == "line"
    ]
    assert len(set(looks)) == 9
    tags = [a for a in page.of("text") if a.get("class") == "tag"]
    assert len({a["y"] for a in tags}) >= 9


def test_what_a_split_leaves_of_a_model_that_does_not_classify_is_its_noise():
    cut = full_manifest().cuts[0]
    noise = dataclasses.replace(cut.fidelity["raw32"], top1=None, low=None, high=None)
    silent = dataclasses.replace(cut, fidelity={"raw32": noise})
    page, value = shown(dataclasses.replace(full_manifest(), cuts=(silent,)))
    assert_numbers_are_the_json_s(page, value)
    assert f"raw32 256 , 120.0 dB on {noise.n}" in page.text
    assert "aq8t+deflate 64" in page.text  # bytes alone, where nothing was measured


def test_a_bundle_of_nothing_that_works_has_a_page():
    manifest = dataclasses.replace(full_manifest(), artifacts=(), cuts=())
    page, value = shown(manifest, Report("export", (full_report().artifacts[-1],)))
    assert value["verdicts"] == {"pass": 0, "poor": 0, "failed": 1}
    assert "Of 1 artifact , 1 failed." in page.text
    assert "No artifact was measured." in page.text
