"""The sections about artifacts: trade-offs, the table, what stands behind the means, the audit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from headtail.metrics import DB_LIMIT
from headtail.report_page.glyphs import glyph, named
from headtail.report_page.scatter import Axis, scatter
from headtail.report_page.spots import Spot
from headtail.report_page.tables import (
    artifact_name,
    head,
    interval,
    missing,
    row_head,
    section,
    table,
)

__all__ = ["audit", "figures", "slices", "trade_offs"]

SCORES = {
    "agreement": Axis("agreement", "share", "agreement with float32"),
    "snr_db": Axis("snr_db", "db", "SNR dB against float32"),
}
SIZE = Axis("bytes", "mb", "MB", 1e6)
LATENCY = Axis("latency_ms_p50", "ms", "ms, median")


def trade_offs(page: Spot) -> str:
    """Two panels: the score over size, and over latency."""
    score = SCORES[page["score"].value]
    scored = [
        one for one in page["artifacts"] if one[score.key] and one["verdict"].value != "failed"
    ]
    timed = [one for one in scored if one["latency_ms_p50"].value is not None]
    if not scored:
        return section(
            "Trade-offs", "", missing("No artifact was measured.", command="headtail verify BUNDLE")
        )
    formats = dict.fromkeys(one["format"].value for one in scored)
    key = "".join(f"<li>{glyph(name)}{named(name)}</li>" for name in formats)
    panels = _panel(scored, SIZE, score, "size") + (
        _panel(timed, LATENCY, score, "latency")
        if timed
        else missing("Latency was measured on no host or device.", command="headtail bench BUNDLE")
    )
    without = [one for one in scored if one not in timed]
    about = (
        "Further up and further left is better; equal ratios of cost are equal distances. The "
        "dotted steps are the Pareto front: nothing costs less and scores as well; filled marks "
        "are on it. Bars are 95 % intervals. Equal precisions that would cover each other stand "
        "side by side; a mark without room for its name tells it when pointed at."
    )
    body = f'<ul class="key">{key}</ul><div class="panels">{panels}</div>' + _untimed(without)
    return section("Trade-offs", about, body)


def _panel(found: Sequence[Spot], cost: Axis, score: Axis, front: str) -> str:
    title = f"{score.title} over {front}, one mark per artifact"
    chart = scatter(found, cost, score, front=front, title=title[0].upper() + title[1:])
    return f"<figure><figcaption><b>{front.capitalize()}</b></figcaption>{chart}</figure>"


def _untimed(found: Sequence[Spot]) -> str:
    if not found:
        return ""
    names = ", ".join(map(artifact_name, found))
    return (
        f'<p class="aside">Without a latency: {names}. The time of an emulator or interpreter says '
        "nothing about a device and is not shown.</p>"
    )


def figures(page: Spot) -> str:
    """The table of every artifact, with the two figures under two headings."""
    groups = (
        '<tr class="groups"><td colspan="4"></td>'
        '<th scope="colgroup" class="n">Faithful<small>to its program</small></th>'
        '<th scope="colgroup" colspan="3" class="n">Good<small>against the float32 model</small>'
        "</th></tr>"
    )
    columns = head(
        ["Artifact", "Verdict", "MB#", "p50 ms#", "SNR dB#", "Agreement#", "SNR dB#", "Worst dB#"]
    )
    rows = [row for one in page["artifacts"] for row in _rows(one, page["command"])]
    caption = "Small figures are 95 % intervals, and the size over that of the format's fp32 file"
    about = (
        "<em>Faithful</em> compares a file with the program it should equal: the float32 model, "
        "or for a quantized file the one with its numbers rounded. It shows what writing the file "
        "cost. <em>Good</em> compares it with the float32 model and shows what the recipe cost."
    )
    return section("Artifacts", about, table(caption, groups + columns, rows))


def _rows(one: Spot, command: Spot) -> list[str]:
    said = [str(one["note"])] if one["note"] else []
    if said and one["note_n"]:
        said = [f"{command}, on {one['note_n'].show('count')} inputs: {said[0]}"]
    if one["coverage"] and one["coverage"]["left"]:
        said.append(escape(_left(one["coverage"])))
    faithful = one["faithful"]
    verdict = str(one["verdict"])
    timed = one["latency_ms_p50"]
    kind = one["timing_kind"]
    cells = [
        f"{one['bytes'].show('mb')}<small>{one['ratio'].show('ratio')}</small>",
        f"{timed.show('ms')}<small>{kind}</small>",
        _faithful(faithful),
        interval(one["agreement"], "share"),
        interval(one["snr_db"], "db"),
        f"{one['snr_db_min'].show('db')}<small>of {one['n'].show('count')}</small>",
    ]
    figures_ = "".join(f'<td class="n">{cell}</td>' for cell in cells)
    mark = ' class="remarked"' if said else ""
    judged = f'<td class="verdict {verdict}">{verdict}</td>'
    line = f"<tr{mark}>{row_head(one)}{judged}{figures_}</tr>"
    remark = f'<tr class="remark"><td colspan="8"><div>{"; ".join(said)}</div></td></tr>'
    return [line, remark] if said else [line]


def _faithful(found: Spot) -> str:
    if not found:
        return found.show("db")
    if found["db_min"].value >= DB_LIMIT:
        return f"{found['db']['value'].show('db')}<small>bit-equal</small>"
    return interval(found["db"], "db")


def _left(coverage: Spot) -> str:
    left = ", ".join(
        f"{one['op'].value} \N{MULTIPLICATION SIGN}{one['count'].value}" for one in coverage["left"]
    )
    return f"not taken by {coverage['delegate'].value}: {left}"


def slices(page: Spot) -> str:
    """What a mean hides: the worst class, confidence, calibration, accuracy."""
    reports = [one for one in page["quality"]["reports"] if one["agreement"]]
    about = (
        "The worst class, and the worst slice of the source's own naming, among those with enough "
        "inputs; the worst of many is also the unluckiest. "
        "Confidence: change of the largest probability. KL: how far the probabilities moved. "
        "Calibration: gap between confidence and truth, which without labels is what the float32 "
        "model thinks of the same answer."
    )
    if not reports:
        what = "No figures beyond the means; they are taken while a model is quantized:"
        return section("Beyond the mean", about, missing(what, command=_QUANTIZE))
    labelled = any(one["accuracy"] for one in reports)
    grouped = any(one["groups"] for one in reports)
    more = ["Accuracy drop#", "McNemar p#"] if labelled else []
    columns = [
        "Artifact",
        "Worst class",
        "Agreement#",
        *(["Worst slice", "Agreement#"] if grouped else []),
        "Confidence#",
        "KL nats#",
        "Calibration#",
        *more,
    ]
    rows = [_slice_row(page, one, labelled=labelled, grouped=grouped) for one in reports]
    caption = "Against the float32 model on the same inputs, with 95 % intervals"
    return section("Beyond the mean", about, table(caption, head(columns), rows))


_QUANTIZE = "headtail quantize SOURCE --recipe w8a8 --calibration-data DIR"


def _slice_row(page: Spot, one: Spot, *, labelled: bool, grouped: bool) -> str:
    names = page["class_names"].value
    of_class = _worst(one["slices"], lambda name: names.get(name.value) or f"class {name.value}")
    of_group = _worst(one["groups"], lambda name: str(name.value)) if grouped else ""
    calibration = one["calibration"]
    was = calibration["reference"]
    before = f"<small>{was.show('share')} in float32</small>" if was.value is not None else ""
    cells = [
        interval(one["drift"]["confidence"], "signed"),
        interval(one["drift"]["kl_nats"], "small"),
        calibration["candidate"].show("share") + before,
    ]
    if labelled:
        accuracy = one["accuracy"]
        cells.append(interval(accuracy["drop"], "signed") if accuracy else accuracy.show("signed"))
        cells.append(accuracy["p_value"].show("small") if accuracy else accuracy.show("small"))
    rest = "".join(f'<td class="n">{cell}</td>' for cell in cells)
    return f"<tr>{row_head(one)}{of_class}{of_group}{rest}</tr>"


def _worst(found: Spot, called: Callable[[Spot], str]) -> str:
    """The cells of the first of slices, the worst: what it is `called`, and its agreement."""
    if not found:
        return '<td>\N{EN DASH}</td><td class="n">\N{EN DASH}</td>'
    worst = found[0]
    name = f"{escape(called(worst['name']))}<small>{worst['n'].show('count')} inputs</small>"
    return f'<td>{name}</td><td class="n">{interval(worst["agreement"], "share")}</td>'


def audit(page: Spot) -> str:
    """What the files hold, as they were re-read."""
    held = [one for one in page["artifacts"] if one["shares"]]
    about = (
        "Every file was read back and its weight elements counted by dtype: what is asked for and "
        "what is written are two things."
    )
    if not held:
        return section(
            "Audit", about, missing("No artifact holds weights.", command="headtail verify BUNDLE")
        )
    rows = [
        f'<tr>{row_head(one)}<td class="n">{one["elements"].show("count")}</td>'
        f'<td class="held">{_shares(one)}{_said(one)}</td></tr>'
        for one in held
    ]
    columns = head(["Artifact", "Weights#", "Held as"])
    return section("Audit", about, table("Weight elements by dtype", columns, rows))


def _shares(one: Spot) -> str:
    parts = sorted(one["shares"], key=lambda part: -part.value)
    bar = "".join(
        f'<span class="{part.key}" style="flex:{part.value:.4f}"></span>' for part in parts
    )
    words = ", ".join(f"{part.show('percent')} {part.key}" for part in parts)
    return f'<div class="shares" aria-hidden="true">{bar}</div>{words}'


def _said(one: Spot) -> str:
    said = [str(one["audit"])] if one["audit"] else []
    coverage = one["coverage"]
    if coverage:
        share = coverage["mac_share"].show("percent")
        parts = coverage["partitions"]
        said.append(
            f"{coverage['delegate']} takes {share} of the multiply-accumulates in "
            f"{parts.show('count')} partition{'s' if parts.value != 1 else ''}"
        )
    return "".join(f"<small>{sentence}</small>" for sentence in said)
