"""Files that several adapters of one format are tested with."""

import warnings

import numpy as np
import pytest

from tests.exporters.converted import converted


@pytest.fixture(scope="session")
def ordered_litert(tmp_path_factory):
    """`Ordered` with two heads, fp32, as LiteRT."""
    return converted(tmp_path_factory.getbasetemp(), "litert", "Ordered")


@pytest.fixture(scope="session")
def in_codes(ordered_litert, tmp_path_factory):
    """The same net in int8 to its very ends, as ai-edge-quantizer makes it by default."""
    from ai_edge_quantizer import quantizer
    from ai_edge_quantizer.qtyping import TFLOperationName

    generator = np.random.default_rng(4)
    tool = quantizer.Quantizer(str(ordered_litert.path))
    tool.add_static_config(
        ".*", TFLOperationName.ALL_SUPPORTED, activation_num_bits=8, weight_num_bits=8
    )
    samples = [
        {
            f"args_{place}": array + generator.normal(0, 0.1, array.shape).astype(np.float32)
            for place, array in enumerate(ordered_litert.inputs)
        }
        for _ in range(8)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # calibration reads inner tensors, of which LiteRT warns
        ranges = tool.calibrate(dict.fromkeys(ordered_litert.entries, samples))
        result = tool.quantize(ranges)
    path = tmp_path_factory.mktemp("int8") / "net.w8a8.tflite"
    path.write_bytes(bytes(result.quantized_model))
    return path
