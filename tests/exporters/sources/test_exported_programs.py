"""A saved `.pt2` is the model it was captured from."""

import pytest
import torch
import torch.utils._pytree as pytree
from torch import nn

from exporters.captured import capture_source
from exporters.source import SourceModel, from_module, load_source
from headtail.errors import SourceFault
from tests.exporters.awkward import AWKWARD, IMAGE
from tests.exporters.nets import Residual, settle


def saved(folder, model, *example, **keywords):
    path = folder / "my net.pt2"
    torch.export.save(torch.export.export(model, example, keywords), path)
    return str(path)


def test_it_answers_as_the_model_and_can_be_cut(tmp_path):
    model = settle(Residual())
    source = load_source(saved(tmp_path, model, IMAGE))
    assert isinstance(source, SourceModel)
    assert (source.name, source.origin) == ("my_net", "my net.pt2")
    assert torch.equal(source.module(IMAGE), model(IMAGE))
    captured, remarks = capture_source(source, tmp_path)
    of_the_module, _ = capture_source(from_module(model, (IMAGE,)), tmp_path)
    assert captured.cuts == of_the_module.cuts != ()
    assert not remarks


@pytest.mark.parametrize("name", sorted(AWKWARD))
def test_awkward_models_survive_being_saved(tmp_path, name):
    model, example = AWKWARD[name]()
    source = load_source(saved(tmp_path, model, *example))
    assert isinstance(source, SourceModel)
    with torch.no_grad():
        right, seen = (pytree.tree_leaves(m(*example)) for m in (model, source.module))
    assert all(torch.equal(a, b) for a, b in zip(right, seen, strict=True))


class TwoInputs(nn.Module):
    def forward(self, x, scale):
        return x * scale


def test_keywords_are_refused(tmp_path):
    path = saved(tmp_path, TwoInputs().eval(), IMAGE, scale=torch.ones(1))
    with pytest.raises(SourceFault, match=r"1 sample inputs and the keywords \['scale'\]"):
        load_source(path)


def test_what_is_no_program_is_refused(tmp_path):
    with pytest.raises(SourceFault, match="There is no file"):
        load_source(str(tmp_path / "absent.pt2"))
    broken = tmp_path / "broken.pt2"
    broken.write_bytes(b"not an archive")
    with pytest.raises(SourceFault, match=r"cannot be read: .*torch\.export\.save"):
        load_source(str(broken))
