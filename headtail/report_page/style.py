"""The page's one style sheet. Colours are variables, so that a test can hold their contrast."""

from __future__ import annotations

__all__ = ["DARK", "FORMATS", "LIGHT", "style"]

# text on paper has a contrast of at least 4.5, lines that carry meaning of at least 3:
# https://www.w3.org/TR/WCAG21/#contrast-minimum
LIGHT = {
    "paper": "#fcfcfa",
    "raised": "#f3f3ef",
    "ink": "#191b1f",
    "soft": "#5a6068",
    "line": "#dfdfd8",
    "front": "#191b1f",
    "pass": "#1a7547",
    "poor": "#9a5700",
    "failed": "#c02a30",
    "one": "#3551b5",
    "two": "#b0470d",
    "three": "#0c7566",
    "four": "#8a3aa3",
    "calm": "#4d5f80",
    "pale": "#8a93a3",
}
DARK = {
    "paper": "#131517",
    "raised": "#1c1f22",
    "ink": "#e9eaec",
    "soft": "#a0a7b0",
    "line": "#30353a",
    "front": "#e9eaec",
    "pass": "#4cc38a",
    "poor": "#f0a44b",
    "failed": "#ff8f8c",
    "one": "#9db0ff",
    "two": "#ff9f66",
    "three": "#4fcbb6",
    "four": "#d69aec",
    "calm": "#93a5c8",
    "pale": "#6d7684",
}
# colour and shape of each format's marks; others share the last
FORMATS = {"coreml": ("one", "circle"), "litert": ("two", "square"), "executorch": ("three", "up")}

_LAYOUT = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);
font:1rem/1.55 Inter,system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;
font-variant-numeric:tabular-nums}
main,header,footer{max-width:78rem;margin:0 auto;padding:0 2rem}
header{padding-top:3.5rem;padding-bottom:1.5rem}
h1{font-size:clamp(1.9rem,4.5vw,2.9rem);line-height:1.08;letter-spacing:-.025em;font-weight:680;
margin:.35rem 0 1rem;overflow-wrap:anywhere}
h2{font-size:1.06rem;line-height:1.3;letter-spacing:-.005em;font-weight:650;margin:0 0 .5rem}
h3{font-size:.9rem;font-weight:600;margin:1.75rem 0 .6rem}
h3:first-child{margin-top:0}
p{margin:0 0 .75rem}
code{font:.86em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
.eyebrow{font-size:.8rem;color:var(--soft);margin:0}
.meta{display:flex;flex-wrap:wrap;gap:.15rem 1.6rem;color:var(--soft);font-size:.875rem;margin:0}
.meta b{font-weight:500;color:var(--ink)}
.lede{font-size:clamp(1.08rem,2vw,1.3rem);line-height:1.5;max-width:46rem;margin:1.75rem 0 0;
text-wrap:pretty}
.lede strong{font-weight:620}
.stamp{max-width:46rem;margin:1.2rem 0 0;padding:.7rem 1rem;border-left:4px solid var(--poor);
background:var(--raised);border-radius:0 6px 6px 0;font-size:.92rem}
section{display:grid;grid-template-columns:13.5rem minmax(0,1fr);gap:0 3rem;
border-top:1px solid var(--line);padding:2.2rem 0 2.6rem}
section>.about{font-size:.84rem;line-height:1.5;color:var(--soft)}
section>.about h2{color:var(--ink)}
.none{color:var(--soft);margin:0;padding:.9rem 1.1rem;background:var(--raised);border-radius:6px;
font-size:.9rem}
.aside{color:var(--soft);font-size:.84rem;margin:.75rem 0 0;max-width:44rem}
.key{display:flex;flex-wrap:wrap;gap:.3rem 1.4rem;font-size:.84rem;margin:0 0 .9rem;padding:0;
list-style:none;color:var(--soft)}
.key svg,th .glyph{width:.85em;height:.85em;vertical-align:-.06em;margin-right:.4em}
.name{white-space:nowrap;font-weight:560}
footer{color:var(--soft);font-size:.8rem;padding-top:1.5rem;padding-bottom:4rem}
"""

_TABLES = """
.scroll{overflow-x:auto;margin:0 -.25rem;padding:0 .25rem}
.scroll:focus-visible{outline:2px solid var(--one);outline-offset:3px;border-radius:4px}
table{border-collapse:collapse;width:100%;font-size:.84rem;line-height:1.4}
.caption{color:var(--soft);font-size:.84rem;margin:0 0 .6rem}
th,td{padding:.5rem 1.1rem .5rem 0;text-align:left;vertical-align:top;
border-bottom:1px solid var(--line);font-weight:400}
th:last-child,td:last-child{padding-right:0}
thead th{color:var(--soft);font-size:.76rem;vertical-align:bottom;padding-bottom:.35rem}
thead tr.groups>*{border-bottom:0;padding-bottom:0}
thead tr.groups th{color:var(--ink);font-weight:600;font-size:.8rem}
thead tr.groups th small{display:block;font-weight:400;color:var(--soft);font-size:.74rem}
td.n,th.n{text-align:right}
td small,th small{display:block;color:var(--soft);font-size:.76rem;white-space:nowrap}
tbody tr:last-child>*{border-bottom:0}
tbody th,td.whole{white-space:nowrap}
td.held{min-width:14rem}td.held small{white-space:normal}
tr.remark td{border-top:0;padding-top:0;color:var(--soft);font-size:.8rem}
tr.remark div{position:sticky;left:0;width:fit-content;max-width:min(100%,calc(100vw - 2.5rem))}
tr.remarked>*{border-bottom:0;padding-bottom:.15rem}
.verdict{font-weight:600;white-space:nowrap}
.pass{color:var(--pass)}.poor{color:var(--poor)}.failed{color:var(--failed)}
details{margin-top:1rem;font-size:.84rem}
td details{margin-top:.3rem;font-size:1em}
summary{cursor:pointer;color:var(--soft);width:fit-content}
summary:hover{color:var(--ink)}
details+details{margin-top:.4rem}
details .scroll,details .sheet{margin-top:.8rem}
dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.35rem 1.4rem;margin:0;
font-size:.84rem}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
"""

_CHARTS = """
figure{margin:0}
figcaption{font-size:.84rem;margin-bottom:.4rem}
figcaption b{font-weight:600}figcaption span{color:var(--soft)}
svg{display:block;width:100%;height:auto;overflow:visible}
svg.glyph{display:inline-block;width:.85em;height:.85em}
svg text{font-size:12px;fill:var(--soft)}
svg text.tag{fill:var(--ink);font-weight:560}
svg .grid{stroke:var(--line);stroke-width:1}
svg .axis{stroke:var(--soft);stroke-width:1}
svg .front{fill:none;stroke:var(--front);stroke-width:1.5;stroke-dasharray:1 4;
stroke-linecap:round}
svg .whisker{stroke-width:1.5;opacity:.35}
svg .leader{stroke:var(--soft);stroke-width:.75;opacity:.7}
svg .mark{stroke-width:2}
svg .line{fill:none;stroke-width:1.75;stroke-linejoin:round}
svg .before{fill:none;stroke:var(--soft);stroke-width:1.25;vector-effect:non-scaling-stroke}
svg .after{fill:var(--calm);opacity:.6}
.panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:2rem}
.split{display:grid;grid-template-columns:minmax(0,1.75fr) minmax(0,1fr);gap:2.5rem}
.small{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,9.2rem),1fr));
gap:1.6rem 2rem}
.small figcaption{font-size:.78rem;line-height:1.4;margin:.45rem 0 0;overflow-wrap:anywhere}
.small svg{border-bottom:1px solid var(--soft)}
.ends{display:flex;justify-content:space-between;color:var(--soft);font-size:.72rem}
.bars{list-style:none;margin:0;padding:0;font-size:.84rem}
.bars li{display:grid;grid-template-columns:minmax(0,15rem) minmax(3rem,1fr) 4.6rem;gap:.9rem;
align-items:center;padding:.2rem 0}
.bars.short li{grid-template-columns:minmax(0,1fr) 3.4rem}
.bars .bar{height:.6rem;border-radius:2px;background:var(--calm);min-width:2px;display:block}
.bars .bar.depthwise{background:var(--four)}
.bars .bar.linear{background:var(--pale)}
.bars li>:last-child{text-align:right}
.shares{display:flex;height:.6rem;border-radius:2px;overflow:hidden;gap:1px;min-width:6rem;
margin:.35rem 0 .3rem}
.shares span{background:var(--calm)}
.shares .f32,.shares .f16{background:var(--line)}
.shares .f16{background:var(--pale)}
.shares .i32,.shares .i16{background:var(--four)}
.swatch{display:inline-block;width:.7em;height:.7em;border-radius:2px;margin-right:.4em;
border:2px solid currentColor;background:currentColor}
.swatch.hollow{background:none}
"""

_PICTURES = """
.sheet{display:grid;grid-template-columns:repeat(auto-fill,minmax(6.4rem,1fr));gap:1.1rem .9rem;
list-style:none;margin:0;padding:0;font-size:.76rem;line-height:1.35}
.sheet img,.sheet .blank{width:100%;aspect-ratio:1;object-fit:cover;border-radius:4px;
display:block;margin-bottom:.4rem;background:var(--raised)}
.sheet s{color:var(--soft);text-decoration-thickness:1px}
.sheet data{color:var(--soft)}
.sheet div{overflow-wrap:anywhere}
"""

_NARROW = """
@media(max-width:62rem){section{grid-template-columns:minmax(0,1fr);gap:1.1rem}
section>.about{max-width:44rem}.split{grid-template-columns:minmax(0,1fr);gap:1.4rem}}
@media(max-width:40rem){main,header,footer{padding-left:1.25rem;padding-right:1.25rem}
header{padding-top:2rem}section{padding:1.7rem 0 2rem}
svg.panel text{font-size:14.5px}svg.wide text{font-size:19px}
.bars li{grid-template-columns:minmax(0,1fr) 4.6rem;row-gap:.1rem}
.bars li .track{grid-column:1/-1;grid-row:2}
.sheet{grid-template-columns:repeat(3,minmax(0,1fr))}
dl{grid-template-columns:minmax(0,1fr);gap:0}dd{margin-bottom:.6rem}
tbody th:first-child,thead th:first-child{position:sticky;left:0;background:var(--paper)}}
@media print{@page{margin:14mm}html{font-size:8.6pt}:root{--paper:#fff}
main,header,footer{max-width:none;padding:0}
section{grid-template-columns:minmax(0,1fr);gap:.7rem;padding:1.4rem 0}
.panels{grid-template-columns:1fr 1fr}.split{grid-template-columns:1.75fr 1fr}
figure,li,tr,.none,.sheet{break-inside:avoid}h2,h3,.about,.caption{break-after:avoid}
.scroll{overflow:visible}details{display:none}}
"""


def style() -> str:
    """The style sheet: light, dark where the reader's system is, and light again on paper."""
    light, dark = (_variables(colours) for colours in (LIGHT, DARK))
    rest = _LAYOUT + _TABLES + _CHARTS + _PICTURES + _NARROW
    return (
        f":root{{color-scheme:light dark;{light}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}{rest}"
    )


def _variables(colours: dict[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in colours.items())
