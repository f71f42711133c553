"""The model of `tests.companion_server.conftest` as a device's session, run by torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headtail.tensors import Array
from tests.companion_server.conftest import build_model

__all__ = ["ToySession"]


class ToySession:
    """Runs what an entry point needs and no more, as a phone's runtime does."""

    def __init__(self, seed: int) -> None:
        self._model = build_model(seed)

    def entry_points(self) -> Sequence[str]:
        return ["forward", "head_c1", "head_c2"]

    def run(self, entry: str, inputs: Sequence[Array]) -> list[Array]:
        import torch

        model, image = self._model, torch.tensor(np.asarray(inputs[0]))
        with torch.inference_mode():
            if entry == "forward":
                tensors = model(image)
            else:
                early = torch.relu(model.first(image))
                tensors = (early,)
                if entry == "head_c2":
                    tensors = (early, torch.relu(model.second(early)))
        return [tensor.numpy() for tensor in tensors]

    def close(self) -> None:
        pass
