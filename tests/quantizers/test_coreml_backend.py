"""A real conversion by coremltools, compressed, merged into one package and re-read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headtail.errors import UsageFault
from quantizers.audit import audit
from quantizers.coreml_backend import quantize_model
from quantizers.coreml_file import MODEL, compact
from quantizers.recipe import recipe

pytestmark = [
    pytest.mark.slow,
    # coremltools and executorch, which it imports, use what torch, Python and they deprecate
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:(open|read)_(text|binary) is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Function _TORCH_OPS_REGISTRY:DeprecationWarning"),
    # coremltools leaves its temporary folders to the garbage collector
    pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning"),
]

ENTRIES = ("forward", "head_project")


@pytest.fixture(scope="module")
def models(net):
    import coremltools as ct

    made = {}
    for name, part in (("forward", net), ("head_project", net.head)):
        program = torch.export.export(part, (torch.zeros(1, 3, 32, 32),)).run_decompositions({})
        for precision in ("FLOAT16", "FLOAT32"):
            made[name, precision] = ct.convert(
                program,
                convert_to="mlprogram",
                minimum_deployment_target=ct.target.iOS18,
                compute_precision=ct.precision[precision],
                skip_model_load=True,
            )
    return made


def merge(models, path, folder):
    import coremltools as ct

    described = ct.utils.MultiFunctionDescriptor()
    for name, model in models.items():
        single = folder / f"single.{name}.mlpackage"
        model.save(str(single))
        described.add_function(str(single), "main", name)
    described.default_function_name = "forward"
    ct.utils.save_multifunction(described, str(path))


@pytest.mark.parametrize("name", ["fp32", "fp16", "w8"])
def test_the_package_holds_what_was_asked_once(models, tmp_path, name):
    precision = "FLOAT16" if name == "fp16" else "FLOAT32"
    chosen = {entry: quantize_model(models[entry, precision], recipe(name)) for entry in ENTRIES}
    package = tmp_path / "net.mlpackage"
    merge(chosen, package, tmp_path)
    found = audit(package, "coreml")
    found.check(recipe(name))
    assert sum(found.weight_elements.values()) == 21_864 + 114  # shared with the head, not copied
    if name == "w8":
        assert found.weight_elements == {"f32": 114, "i8": 21_864}
    assert found.float_ops["conv"] == 3


def test_a_compact_package_is_smaller_and_computes_the_same(models, net, samples, tmp_path):
    from exporters.mil import Program

    package = tmp_path / "net.mlpackage"
    merge({name: models[name, "FLOAT32"] for name in ENTRIES}, package, tmp_path)
    before, found = (package / MODEL).stat().st_size, audit(package, "coreml")
    (array,) = samples[0]
    results = []
    for _ in range(3):
        program = Program(package)
        runs = [program.function(name).run([torch.from_numpy(array)]) for name in ENTRIES]
        results.append([run[0].numpy() for run in runs])
        compact(package)
    assert (package / MODEL).stat().st_size < before
    assert audit(package, "coreml") == found
    for later in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], later, strict=True))
    again = (package / MODEL).read_bytes()
    compact(package)
    assert (package / MODEL).read_bytes() == again


def test_static_activations_are_refused(models):
    with pytest.raises(UsageFault, match=r"w8a8 is honoured by: executorch, litert"):
        quantize_model(models["forward", "FLOAT32"], recipe("w8a8"))
