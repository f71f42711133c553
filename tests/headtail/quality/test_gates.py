import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.errors import UnknownName, UsageFault
from headtail.quality import FIGURES, Settings, assess, failures, parse_gates
from headtail.quality.gates import Gate

SIZE = 5_000_000
LOGITS = np.repeat(np.eye(4) * 5, 10, axis=0)


def report(wrong=0, **more):
    """Of 40 inputs, the first `wrong` of class 0 have another answer in the file."""
    candidate = LOGITS + 0.01 * np.random.default_rng(0).normal(size=LOGITS.shape)
    candidate[:wrong] = np.eye(4)[1] * 5
    quick = Settings(resamples=50)
    return assess(LOGITS, candidate, kind=("litert", "w8"), settings=quick, **more)


def test_every_figure_passes_a_good_artifact_and_fails_a_bad_one():
    known = {"labels": LOGITS.argmax(1), "groups": ["day"] * 10 + ["night"] * 30}
    good = report(**known, program_outputs=LOGITS)
    bad = report(8, **known, program_outputs=LOGITS)
    gates = parse_gates(
        [
            "agreement<.95,snr<40",
            "faithful<40",
            "size_mb>6",
            "worst_class<.8",
            " acc_drop > .003 ",
            "worst_slice<.5",
        ]
    )
    assert [gate.figure for gate in gates] == [
        "agreement",
        "snr",
        "faithful",
        "size_mb",
        "worst_class",
        "acc_drop",
        "worst_slice",
    ]
    assert failures(gates, [(good, SIZE)]) == []
    told = failures(gates, [(good, SIZE), (bad, 7_000_000)])
    assert len(told) == len(gates) == len(FIGURES)
    assert told[0] == (
        "litert.w8: top-1 agreement with the float32 model is 0.8 on 40 inputs, "
        "agreement<0.95 fails."
    )
    assert "size in MB (10^6 bytes) is 7" in told[3]
    assert "drop in accuracy against the float32 model is 0.2" in told[5]
    assert "agreement on the worst slice is 0.2 on 40 inputs" in told[6]


def test_the_limit_itself_is_where_the_operator_says():
    found = report(2)
    assert failures(parse_gates(["agreement<.95"]), [(found, SIZE)]) == []
    assert len(failures(parse_gates(["agreement<=.95"]), [(found, SIZE)])) == 1
    assert failures(parse_gates(["size_mb>5"]), [(found, SIZE)]) == []
    assert len(failures(parse_gates(["size_mb>=5"]), [(found, SIZE)])) == 1


@pytest.mark.parametrize("name", ["faithful", "acc_drop", "worst_slice"])
def test_what_was_not_measured_fails(name):
    operator = FIGURES[name].worse
    [told] = failures(parse_gates([f"{name}{operator}0.5"]), [(report(), SIZE)])
    assert "was not measured" in told
    assert told.endswith(FIGURES[name].how)


def test_an_unknown_figure_lists_what_exists():
    with pytest.raises(UnknownName, match=r"acc_drop, agreement.*Did you mean 'agreement'"):
        parse_gates(["agreemnt<.9"])


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("agreement", "a figure, <, <=, > or >=, and a number"),
        ("", "a figure"),
        ("agreement<.9,", "The gate ''"),
        ("agreement=.9", "a figure"),
        ("agreement<high", "a figure"),
        ("agreement<nan", "a figure"),
        ("agreement<1e", "1e is not a number"),
        ("agreement>.95", "agreement .* is worse when it is <"),
        ("size_mb<6", "is worse when it is >"),
        ("agreement<95", "a share: .95 is 95 %"),
    ],
)
def test_what_cannot_be_meant_is_refused(expression, words):
    with pytest.raises(UsageFault, match=words):
        parse_gates([expression])


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(FIGURES)), st.floats(0, 1), st.booleans())
def test_a_gate_reads_as_it_is_written(name, limit, equal):
    operator = FIGURES[name].worse + "=" * equal
    [gate] = parse_gates([f"{name}{operator}{limit!r}"])
    assert gate == Gate(name, operator, limit)
    [again] = parse_gates([str(gate)])
    assert again.limit == pytest.approx(limit, rel=1e-5)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=20))
def test_no_text_ends_in_anything_but_a_gate_or_a_refusal(text):
    try:
        gates = parse_gates([text])
    except UsageFault:
        return
    assert all(isinstance(gate, Gate) for gate in gates)
