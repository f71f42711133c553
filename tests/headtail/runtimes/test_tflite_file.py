"""The structure of a `.tflite`, checked before LiteRT follows it."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.errors import IntegrityFault, TensorMismatch
from headtail.runtimes.litert_border import Affine
from headtail.runtimes.tflite_file import TfliteTensor, read_tflite


def written(model: bytes, folder):
    path = folder / "net.tflite"
    path.write_bytes(model)
    return path


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"TFL3", "does not say TFL3 at byte 4"),
        (struct.pack("<I", 8) + b"TFL2" + bytes(64), "does not say TFL3"),
        (struct.pack("<I", 1 << 31) + b"TFL3" + bytes(64), "beyond its 72 bytes"),
        (struct.pack("<I", 8) + b"TFL3" + bytes(64), "no signatures"),
    ],
)
def test_what_is_not_a_model_is_told(tmp_path, content, words):
    with pytest.raises(IntegrityFault, match=rf"net.tflite is not a whole .tflite file.*{words}"):
        read_tflite(written(content, tmp_path))


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=300))
def test_any_bytes_end_in_one_error(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp()
    with pytest.raises(IntegrityFault):
        read_tflite(written(struct.pack("<I", 8) + b"TFL3" + content, folder))


@pytest.mark.slow
def test_a_real_file_is_read_as_the_interpreter_reads_it(ordered_litert, in_codes):
    from ai_edge_litert.interpreter import Interpreter

    for path in (ordered_litert.path, in_codes):
        signatures = read_tflite(path)
        interpreter = Interpreter(model_path=str(path))
        assert set(signatures) == set(interpreter.get_signature_list())
        for name, signature in signatures.items():
            runner = interpreter.get_signature_runner(name)
            for mine, theirs in (
                (signature.inputs, runner.get_input_details()),
                (signature.outputs, runner.get_output_details()),
            ):
                assert [tensor.name for tensor in mine] == sorted(theirs)
                for tensor in mine:
                    detail = theirs[tensor.name]
                    assert tensor.index == detail["index"]
                    assert tensor.shape == tuple(detail["shape"])
                    assert tensor.affine.dtype == detail["dtype"]
                    assert (tensor.affine.scale, tensor.affine.zero) == detail["quantization"]


@pytest.mark.slow
def test_every_cut_of_a_real_file_is_refused(ordered_litert, tmp_path):
    data = ordered_litert.path.read_bytes()
    for length in range(0, len(data) - 16, max(1, len(data) // 97)):
        with pytest.raises(IntegrityFault):
            read_tflite(written(data[:length], tmp_path))


@pytest.mark.slow
def test_a_changed_byte_is_read_or_refused(ordered_litert, tmp_path):
    """Never another error: a byte of a weight may change unseen, an offset may not."""
    data = ordered_litert.path.read_bytes()
    generator = np.random.default_rng(7)
    refused = 0
    for place in generator.integers(len(data), size=400):
        changed = bytearray(data)
        changed[place] ^= int(generator.integers(1, 256))
        try:
            read_tflite(written(bytes(changed), tmp_path))
        except IntegrityFault:
            refused += 1
    assert refused > 20


def test_a_tensor_takes_its_own_dtype_and_shape():
    tensor = TfliteTensor("args_0", 0, (1, 2), Affine(np.dtype("int8"), 0.5, 3))
    codes = tensor.filed(np.array([[1.0, -1000.0]], np.float32))
    np.testing.assert_array_equal(codes, np.array([[5, -128]], np.int8))
    with pytest.raises(TensorMismatch, match=r"args_0 as int8\[2\].*takes int8\[1, 2\]"):
        tensor.filed(np.zeros(2, np.float32))
