"""What is known about how well a bundle's artifacts hold up: the section `quality` of report.json.

Two figures are never mixed. *Faithful* compares a file with the program it should equal: the float
program, or for a quantized file the one with its weights and activations on their grids. *Good*
compares it with the float32 model on the same inputs. Intervals are 95 %. Decibels are clamped by
`headtail.metrics.finite_db`, since JSON has no infinity.
"""

from __future__ import annotations

from dataclasses import dataclass

from headtail.errors import UsageFault
from headtail.manifest import SampleSet

__all__ = [
    "Accuracy",
    "CalibrationError",
    "ChangedImage",
    "Drift",
    "Equalization",
    "Faithful",
    "Halves",
    "Histogram",
    "Interval",
    "LayerNoise",
    "NoiseProfile",
    "Quality",
    "QualityReport",
    "Sensitivity",
    "SensitivityRun",
    "Slice",
]


@dataclass(frozen=True)
class Interval:
    """A measured value and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Faithful:
    """The file against the program it should equal: SNR in dB over `n` inputs, mean and worst."""

    n: int
    db: Interval
    db_min: float


@dataclass(frozen=True)
class Accuracy:
    """Share of right answers of the float32 model and of the file on the same labelled inputs.

    `drop` is reference - candidate. `lost` inputs only the reference answers rightly, `won` only
    the candidate; `p_value` is McNemar's, exact and two-sided, for the two being equally likely.
    """

    n: int
    reference: float
    candidate: float
    drop: Interval
    lost: int
    won: int
    p_value: float


@dataclass(frozen=True)
class Slice:
    """Agreement on the `n` inputs of one slice; `name` of a class is its index."""

    name: str
    n: int
    agreed: int
    agreement: Interval


@dataclass(frozen=True)
class Drift:
    """What happened to the confidence where the answer may well be the same.

    `confidence`: mean of (largest probability of the candidate - of the reference). `kl_nats`: mean
    Kullback-Leibler divergence of the candidate's probabilities from the reference's.
    """

    confidence: Interval
    kl_nats: Interval


@dataclass(frozen=True)
class CalibrationError:
    """Expected calibration error over `bins` bins; see `headtail.quality.statistics`.

    `against` says what a confidence should equal: `labels`, the share of right answers; or
    `reference`, the probability that the float32 model gives the same answer, where the
    reference's own error is 0 by definition and not reported.
    """

    against: str
    bins: int
    reference: float | None
    candidate: float


@dataclass(frozen=True)
class ChangedImage:
    """Input `index` (from 0), whose answer was class `before` in float32 and is now `after`.

    The confidences are the reference's in `before` and the candidate's in `after`. `label` is the
    right class if it is known. `thumbnail` is a JPEG in base64, "" if none was kept.
    """

    index: int
    before: int
    after: int
    confidence_before: float
    confidence_after: float
    label: int | None = None
    thumbnail: str = ""


@dataclass(frozen=True)
class QualityReport:
    """One artifact against the float32 model on `n` inputs (*good*), and against the program it
    should equal (`faithful`, None if that was not measured).

    All but SNR are None or empty for a model that does not classify. `slices` are the classes with
    at least `slice_minimum` inputs, worst first; `groups` are those of the user's own naming
    (`get_eval_slices()`), likewise. Intervals of means are bootstrapped with `resamples` and
    `seed`. `audit` is one sentence about what the file really holds, "" if nobody looked.
    """

    format: str
    precision: str
    n: int
    snr_db: Interval
    snr_db_min: float
    agreement: Interval | None
    accuracy: Accuracy | None
    slices: tuple[Slice, ...]
    slice_minimum: int
    drift: Drift | None
    calibration: CalibrationError | None
    changed: tuple[ChangedImage, ...]
    resamples: int
    seed: int
    faithful: Faithful | None = None
    audit: str = ""
    groups: tuple[Slice, ...] = ()

    @property
    def key(self) -> str:
        """FORMAT.PRECISION, as artifacts are called."""
        return f"{self.format}.{self.precision}"

    @property
    def worst(self) -> Slice | None:
        """The class with the least agreement; the worst of many is also the unluckiest of them."""
        return self.slices[0] if self.slices else None

    @property
    def worst_group(self) -> Slice | None:
        """Of the user's own slices, the one with the least agreement."""
        return self.groups[0] if self.groups else None

    @property
    def faithful_db(self) -> float | None:
        """Mean SNR in dB of the file against the program it should equal."""
        return self.faithful.db.value if self.faithful else None


@dataclass(frozen=True)
class LayerNoise:
    """SNR in dB of one layer's output in the quantized program against the float32 program, all
    layers before it quantized too."""

    layer: str
    op: str
    snr_db: float


@dataclass(frozen=True)
class NoiseProfile:
    """Layers in order of execution, mean over `n` inputs. `format` is "" if the program is the same
    for all formats."""

    format: str
    precision: str
    n: int
    layers: tuple[LayerNoise, ...]


@dataclass(frozen=True)
class Sensitivity:
    """What quantizing one layer of `weights` elements does, all others in float32: noise power over
    signal power at the outputs (0.01 is 20 dB)."""

    layer: str
    op: str
    weights: int
    damage: float


@dataclass(frozen=True)
class SensitivityRun:
    """One run over all layers on `n` inputs: `method` says how, `storage` what each was given in
    its turn."""

    method: str
    storage: str
    n: int
    layers: tuple[Sensitivity, ...]


@dataclass(frozen=True)
class Histogram:
    """`counts[i]` values lie between `edges[i]` and `edges[i + 1]`; one edge more than counts."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.edges, self.edges[1:], strict=False))
        if not self.counts or len(self.edges) != len(self.counts) + 1 or not rising:
            raise UsageFault(
                f"A histogram has {len(self.edges)} edges and {len(self.counts)} counts.",
                expected="At least one count, one edge more than counts, edges rising.",
                remedy="Pass what numpy.histogram gives.",
            )


@dataclass(frozen=True)
class Equalization:
    """Values of one tensor before and after the network was equalized; `kind` is `weight` or
    `activation`. `spread_*`: the largest range of a channel over the median one's, 1 if all
    are alike.
    """

    name: str
    kind: str
    before: Histogram
    after: Histogram
    spread_before: float
    spread_after: float


@dataclass(frozen=True)
class Halves:
    """How far two halves of the `count` calibration inputs are apart: noise on one half if it is
    calibrated with the other, over that if it is with itself, in dB; see `quantizers.halves`.

    `ranges_db` is of activation ranges, None if none were taken, and most of it is at the value
    `ranges_at`; `means_db` is of bias corrections, most of it at the layer `means_at`, None if
    there are no halves. `more`: about how many inputs are missing.
    """

    count: int
    limit_db: float
    ranges_db: float | None = None
    ranges_at: str = ""
    means_db: float | None = None
    means_at: str = ""
    more: int = 0

    @property
    def warning(self) -> str:
        """What is wrong with the set, "" if the halves agree."""
        if self.means_db is None:
            return (
                f"The calibration set is too small: whether {self.count} input says enough cannot "
                "even be told. Take some dozens, of different scenes."
            )
        apart, where = max((self.ranges_db or 0.0, self.ranges_at), (self.means_db, self.means_at))
        if apart <= self.limit_db:
            return ""
        return (
            f"The calibration set is too small: one half of its {self.count} inputs in place of "
            f"the other makes {apart:.1f} dB more noise (at most {self.limit_db:g} is small), most "
            f"of it at {where}. Take about {self.more} more, of other scenes than these."
        )


@dataclass(frozen=True)
class Quality:
    """Everything in report.json beyond the table. The sets are those of these figures, None where
    they are the manifest's. `steps` says what was done to the network first, one sentence each;
    `halves` is about the calibration set, None if nothing was fitted to it."""

    reports: tuple[QualityReport, ...] = ()
    noise: tuple[NoiseProfile, ...] = ()
    sensitivity: tuple[SensitivityRun, ...] = ()
    equalization: tuple[Equalization, ...] = ()
    steps: tuple[str, ...] = ()
    calibration: SampleSet | None = None
    evaluation: SampleSet | None = None
    halves: Halves | None = None

    def report(self, format: str, precision: str) -> QualityReport | None:  # noqa: A002
        """The report on one artifact, if there is one."""
        found = [r for r in self.reports if (r.format, r.precision) == (format, precision)]
        return found[0] if found else None
