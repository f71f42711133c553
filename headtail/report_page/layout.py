"""The page: head, lede, sections in the order of the questions a reader has, provenance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from headtail.report_page.artifacts import audit, figures, slices, trade_offs
from headtail.report_page.contents import Contents
from headtail.report_page.network import changed, distributions, noise, sensitivity
from headtail.report_page.spots import Spot
from headtail.report_page.style import style
from headtail.report_page.tables import artifact_name, definitions, head, section, table
from headtail.strictjson import to_json

__all__ = ["to_html"]

# a page from a bundle of unknown origin may load and run nothing; thumbnails are inside it
CODECS = ("raw32", "aq8t", "aq8t+deflate", "aq4c+deflate")  # of many, those that say most
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def to_html(known: Contents) -> str:
    """The page, ending in a newline. Everything that a stranger may have named is escaped."""
    page = Spot(to_json(known))
    sections = [
        trade_offs(page),
        figures(page),
        slices(page),
        changed(page),
        noise(page),
        sensitivity(page),
        distributions(page),
        audit(page),
        _cuts(page),
        _provenance(page),
    ]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<title>{page['name']} - Headtail report</title>",
            f"<style>{style()}</style></head><body>",
            _header(page),
            "<main>",
            *sections,
            "</main>",
            "<footer>MB are 10<sup>6</sup> bytes. Intervals are 95 %: Wilson's for shares, "
            "bootstrapped over inputs for means, Newcombe's for paired differences. The page "
            "loads nothing and runs no script.</footer>",
            "</body></html>\n",
        ]
    )


def _header(page: Spot) -> str:
    meta = [
        f"<b>{page['task']}</b>",
        f"in <b>{', '.join(map(str, page['inputs']))}</b>",
        f"bundle <b><code>{escape(page['bundle_id'].value[:16])}</code></b>",
        f"measured by <b><code>headtail {page['command']}</code></b>",
    ]
    stamps = "".join(f'<p class="stamp">{one}</p>' for one in _stamps(page))
    return (
        f'<header><p class="eyebrow">Headtail report</p><h1>{page["name"]}</h1>'
        f'<p class="meta">{"".join(f"<span>{one}</span>" for one in meta)}</p>'
        f'<p class="lede">{" ".join(_lede(page))}</p>'
        f"{stamps}</header>"
    )


def _lede(page: Spot) -> Iterator[str]:
    """What a reader wants to know first, in sentences."""
    verdicts = page["verdicts"]
    told = ", ".join(
        f"{one.show('count')} {word}"
        for one, word in zip(verdicts, ("pass", "are poor", "failed"), strict=True)
        if one.value
    )
    count = len(page["artifacts"].value)
    yield f"Of <strong>{count} artifact{'s' if count != 1 else ''}</strong>, {told}."
    by_key = {one["key"].value: one for one in page["artifacts"]}
    smallest = by_key.get(page["smallest"].value)
    if smallest:
        ratio = smallest["ratio"]
        against = (
            f" ({ratio.show('ratio')} its fp32 file)" if ratio.value not in (None, 1.0) else ""
        )
        yield (
            f"The smallest that passes is {_name(smallest)}: {smallest['bytes'].show('mb')} MB"
            f"{against}{_agrees(smallest)}."
        )
    fastest = by_key.get(page["fastest"].value)
    if fastest:
        yield (
            f"The fastest is {_name(fastest)}: {fastest['latency_ms_p50'].show('ms')} ms on a "
            f"{fastest['timing_kind']}."
        )


def _stamps(page: Spot) -> Iterator[str]:
    """What must not be overlooked, since it takes the meaning from figures below."""
    noise = [_name(one) for one in page["artifacts"] if one["synthetic"].value]
    if noise:
        yield (
            f"{', '.join(noise)}: calibrated with noise, by the word <code>synthetic</code>. The "
            "figures show that the recipe works; they say little about the model on real inputs."
        )
    halves = page["quality"]["halves"]
    if halves and _apart(halves) > halves["limit_db"].value:
        yield (
            f"The calibration set is too small: its halves are {_halves(halves)}. Inputs that are "
            "not in it will have more noise than these figures say."
        )


def _apart(halves: Spot) -> float:
    """Decibels; endless if there are no halves."""
    found = halves["means_db"].value
    return math.inf if found is None else float(max(found, halves["ranges_db"].value or 0.0))


def _halves(halves: Spot) -> str:
    if halves["means_db"].value is None:
        return f"none, with {halves['count'].show('count')} input"
    parts = [
        f"{halves[key].show('db')} dB in {what}"
        for key, what in (("ranges_db", "ranges"), ("means_db", "means"))
        if halves[key].value is not None
    ]
    return f"{' and '.join(parts)} apart, where {halves['limit_db'].show('db')} dB is the limit"


def _name(one: Spot) -> str:
    return f"<strong>{artifact_name(one)}</strong>"


def _agrees(one: Spot) -> str:
    if not one["agreement"]:
        return ""
    share, count = one["agreement"]["value"].show("share"), one["n"].show("count")
    return f", with the float32 model's answer on {share} of {count} inputs"


def _cuts(page: Spot) -> str:
    cuts = list(page["cuts"])
    about = (
        "Where the network can be cut into a head on the phone and a tail on the server, what then "
        "crosses the link, as the median over the evaluation set, and on which share of the inputs "
        "the answer is still the unsplit float32 model's: from the fp32 head through the codec and "
        "the tail, and from the own heads of other files that pass."
    )
    if not cuts:
        return section("Cuts", about, '<p class="none">The model was exported whole.</p>')
    rows = [
        f'<tr><th scope="row"><code>{cut["id"]}</code><small>after {cut["node"]}</small></th>'
        f'<td class="whole">{"<br>".join(tensor.dotted for tensor in cut["tensors"])}</td>'
        f'<td class="n">{cut["head_flops"].show("percent")}</td>'
        f"<td>{_wire(cut)}</td><td>{'yes' if cut['materialised'].value else 'no'}</td></tr>"
        for cut in cuts
    ]
    columns = head(["Cut", "Tensors", "Head's work#", "Bytes on the wire, same answer", "Built"])
    return section("Cuts", about, table("Cuts of the network", columns, rows))


def _wire(cut: Spot) -> str:
    sizes = list(cut["wire_bytes"])
    first = [one for one in sizes if one.path[-1] in CODECS] or sizes[:1]
    rest = [one for one in sizes if one not in first]
    more = (
        f"<details><summary>{len(rest)} more</summary>{_sizes(rest, cut)}</details>" if rest else ""
    )
    own = [f"<br>{heads.key} heads: {_answers(heads)}" for heads in cut["heads"]]
    return _sizes(first, cut) + more + "".join(own)


def _sizes(sizes: Sequence[Spot], cut: Spot) -> str:
    known = cut["fidelity"]
    return "<br>".join(
        f"{one.key} {one.show('bytes')}"
        + (f", {_answer(known[one.path[-1]])}" if one.path[-1] in known.value else "")
        for one in sizes
    )


def _answers(known: Spot) -> str:
    return ", ".join(f"{one.key} {_answer(one)}" for one in known)


def _answer(found: Spot) -> str:
    """The share and its interval, the noise for models that do not classify."""
    count, share = found["n"].show("count"), found["agreement"]
    if not share:
        return f"{found['snr_db_mean'].show('db')} dB on {count}"
    ends = f"{share['low'].show('share')} to {share['high'].show('share')}"
    return f"{share['value'].show('share')} of {count} ({ends})"


def _provenance(page: Spot) -> str:
    about = "What the figures were taken on, and with which tools."
    sets = [
        (name.capitalize(), _set(page[name]) if page[name] else "none: nothing was calibrated")
        for name in ("evaluation", "calibration")
    ]
    if page["quality"]["halves"]:
        sets.append(("Its halves", _halves(page["quality"]["halves"])))
    runtimes = sorted({one["runtime"].value for one in page["artifacts"] if one["runtime"]})
    pairs = [
        ("Model", str(page["source"])),
        *sets,
        ("Bundle", f"<code>{page['bundle_id']}</code>"),
        ("Runtimes", escape(", ".join(runtimes))),
        ("Tools", ", ".join(f"{one.key} {one}" for one in page["tool_versions"])),
    ]
    if page["stages"]:
        spent = ", ".join(f"{one.key} {one.show('seconds')} s" for one in page["stages"])
        pairs.append(("Time spent", spent))
    if page["conversions"]:
        each = ", ".join(
            f"{one.key} {one['seconds'].show('seconds')} s" for one in page["conversions"]
        )
        pairs.append(("Conversions", each))
    pairs += [("Note", str(note)) for note in page["notes"]]
    return section("Provenance", about, definitions(pairs))


def _set(one: Spot) -> str:
    return (
        f"{one['count'].show('count')} inputs, {one['source']}, seed {one['seed'].value}<br>"
        f"<code>sha256 {one['sha256']}</code>"
    )
