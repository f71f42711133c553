import pytest

from headtail.errors import GateFailed, IntegrityFault, UnknownName
from quantizers.audit import Audit, audit
from quantizers.recipe import Recipe, Rule, recipe

INTEGER = Audit({"i32": 5, "i8": 995}, {"f32": 2, "i8": 62}, {"softmax": 3, "add": 1})


def test_the_sentence_says_asked_and_got():
    assert INTEGER.sentence(recipe("w8a8")) == (
        "asked w8a8, got 99.5 % int8 weights, 96.9 % int8 activations; "
        "float ops: softmax x3, add x1"
    )
    assert INTEGER.sentence(recipe("w8")) == "asked w8, got 99.5 % int8 weights"
    clean = Audit({"i8": 4}, {"i8": 2}, {})
    assert clean.sentence(recipe("w8a8")).endswith("; no float ops")


PRODUCTS = Audit({"i8": 100}, {"f32": 90, "i8": 10}, {"bmm": 2}, {"f32": 20, "i8": 80}, ("No bmm",))


def test_products_count_before_tensors():
    # a norm may be written as nine tensors; what an operator multiplies is most of the work
    PRODUCTS.check(recipe("w8a8"))
    assert PRODUCTS.sentence(recipe("w8a8")) == (
        "asked w8a8, got 100.0 % int8 weights, 10.0 % int8 activations, 80.0 % int8 products; "
        "float ops: bmm x2; No bmm"
    )
    assert PRODUCTS.sentence(recipe("w8a8d")) == (
        "asked w8a8d, got 100.0 % int8 weights, 80.0 % int8 products; No bmm"
    )
    assert PRODUCTS.sentence(recipe("w8")) == "asked w8, got 100.0 % int8 weights"
    floats = Audit({"i8": 100}, {"i8": 90, "f32": 10}, {}, {"f32": 51, "i8": 49})
    with pytest.raises(GateFailed, match="50% of the products as asked"):
        floats.check(recipe("w8a8"))


def test_many_kinds_of_float_ops_are_counted_not_listed():
    floats = {f"op{i}": 1 for i in range(9)}
    sentence = Audit({"i8": 1}, {"i8": 1}, floats).sentence(recipe("w8a8"))
    assert sentence.endswith("op5 x1 and 3 more kinds")


def test_a_file_that_holds_what_was_asked_passes():
    INTEGER.check(recipe("w8a8"))
    INTEGER.check(recipe("w8"))
    Audit({"f32": 1}, {"f32": 1}, {"add": 1}).check(recipe("fp32"))


FOUR = Audit({"f32": 5, "i4": 900, "i8": 95}, {"f32": 2}, {})


def test_rules_ask_too_and_each_dtype_is_said():
    FOUR.check(recipe("w4"))
    assert FOUR.sentence(recipe("w4")) == "asked w4, got 90.0 % int4 + 9.5 % int8 weights"
    palette = Audit({"f32": 10, "i8": 90, "lut4": 900}, {}, {}).sentence(recipe("p4"))
    assert palette == "asked p4, got 90.0 % 4-bit palette + 9.0 % int8 weights"
    with pytest.raises(GateFailed, match=r"asked w8, got 9\.5 % int8 weights"):
        FOUR.check(recipe("w8"))


def test_a_rule_that_allows_float_does_not_allow_nothing_quantized():
    mixed = Recipe("mixed", "i8", rules=(Rule("head*", weights="f32"),))
    Audit({"f32": 60, "i8": 40}, {}, {}).check(mixed)
    with pytest.raises(GateFailed, match=r"0\.0 % int8 \+ 100\.0 % float32 weights"):
        Audit({"f32": 100}, {}, {}).check(mixed)


def test_a_program_without_weights_is_float_as_it_was_captured():
    Audit({}, {"f32": 2}, {"relu": 1}).check(recipe("fp32"))


@pytest.mark.parametrize(
    ("found", "name"),
    [
        (INTEGER, "fp32"),
        (INTEGER, "fp16"),
        (Audit({"i8": 89, "f32": 11}, {"f32": 1}, {}), "w8"),
        (Audit({"i8": 100}, {"i8": 49, "f32": 51}, {}), "w8a8"),  # weight-only called w8a8
        (Audit({}, {}, {}), "w8"),  # nothing to quantize is nothing quantized
        (Audit({}, {}, {}), "fp16"),
    ],
)
def test_a_file_that_does_not_hold_it_fails(found, name):
    with pytest.raises(GateFailed, match=f"The file is not {name}: asked {name}, got"):
        found.check(recipe(name))


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(UnknownName, match="Known: coreml, executorch, litert"):
        audit(tmp_path, "onnx")


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x00\x00\x00\x00TFL3" + bytes(40)])
def test_what_is_no_litert_file_is_an_integrity_fault(tmp_path, content):
    path = tmp_path / "broken.tflite"
    path.write_bytes(content)
    with pytest.raises(IntegrityFault, match=r"broken\.tflite") as caught:
        audit(path, "litert")
    assert caught.value.file == "broken.tflite"


def test_what_is_no_core_ml_package_is_an_integrity_fault(tmp_path):
    package = tmp_path / "broken.mlpackage"
    model = package / "Data/com.apple.CoreML/model.mlmodel"
    with pytest.raises(IntegrityFault):
        audit(package, "coreml")
    model.parent.mkdir(parents=True)
    for content in (b"", b"\xff\xff\xff not a proto"):
        model.write_bytes(content)
        with pytest.raises(IntegrityFault):
            audit(package, "coreml")
