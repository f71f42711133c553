"""Normalization, pooling and attention, for packages built by `building`, against torch."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody reads at once

from .building import Case
from .built_image import IMAGE, small, torched


def norms_and_pools() -> list[Case]:
    """Normalization over any axes, pooling in one to three dimensions."""
    gamma, beta, mean = small(3), small(3), small(3)
    square = np.abs(small(3)) + 1
    cases = [
        Case(
            "batch_norm",
            (small(*IMAGE),),
            lambda mb, x: mb.batch_norm(
                x=x, mean=mean, variance=square, gamma=gamma, beta=beta, epsilon=0.1
            ),
            lambda x: (
                (x - mean[:, None, None])
                / np.sqrt(square + 0.1)[:, None, None]
                * gamma[:, None, None]
                + beta[:, None, None]
            ),
        ),
        Case(
            "instance_norm",
            (small(*IMAGE),),
            lambda mb, x: mb.instance_norm(x=x, gamma=gamma, beta=beta),
            torched(
                lambda x: F.instance_norm(
                    x, weight=torch.from_numpy(gamma), bias=torch.from_numpy(beta)
                )
            ),
            atol=1e-4,
        ),
        Case(
            "instance_norm-one-pixel",
            (small(2, 3, 1, 1),),
            lambda mb, x: mb.instance_norm(x=x, beta=beta),
            lambda x: np.zeros_like(x) + beta[:, None, None],
        ),
        Case(
            "layer_norm-middle",
            (small(2, 3, 4),),
            lambda mb, x: mb.layer_norm(x=x, axes=[1], gamma=gamma, epsilon=0.5),
            lambda x: (
                (x - x.mean(1, keepdims=True))
                / np.sqrt(x.var(1, keepdims=True) + 0.5)
                * gamma[:, None]
            ),
            atol=1e-4,
        ),
        Case(
            "layer_norm-all",
            (small(2, 3, 4),),
            lambda mb, x: mb.layer_norm(x=x, axes=[0, 1, 2]),
            torched(lambda x: F.layer_norm(x, x.shape)),
            atol=1e-4,
        ),
        Case(
            "l2_norm",
            (small(*IMAGE),),
            lambda mb, x: mb.l2_norm(x=x, epsilon=0.5),
            lambda x: x / np.sqrt((x * x).sum((1, 2, 3), keepdims=True) + 0.5),
        ),
        *(
            Case(
                f"local_response_norm-{n}",
                (small(2, 6, 3),),
                lambda mb, x, n=n: mb.local_response_norm(x=x, size=n, alpha=0.5, beta=0.6, k=2.0),
                torched(lambda x, n=n: F.local_response_norm(x, n, 0.5, 0.6, 2.0)),
            )
            for n in (1, 2, 3, 4)
        ),
    ]
    for n, shape in enumerate([(1, 2, 9), (2, 2, 7, 6), (1, 2, 5, 6, 4)], 1):
        x, kernel, strides, pads = small(*shape), [3] * n, [2] * n, [1] * (2 * n)
        pool = [F.avg_pool1d, F.avg_pool2d, F.avg_pool3d][n - 1]
        most = [F.max_pool1d, F.max_pool2d, F.max_pool3d][n - 1]
        for ceil in (False, True) if n < 3 else (False,):
            common = {
                "kernel_sizes": kernel,
                "strides": strides,
                "pad_type": "custom",
                "pad": pads,
                "ceil_mode": ceil,
            }
            cases.append(
                Case(
                    f"max_pool-{n}-{ceil}",
                    (x,),
                    lambda mb, x, c=common: mb.max_pool(x=x, **c),
                    torched(lambda x, f=most, c=ceil: f(x, 3, 2, 1, ceil_mode=c)),
                )
            )
            for counts in (False, True):
                cases.append(
                    Case(
                        f"avg_pool-{n}-{ceil}-{counts}",
                        (x,),
                        lambda mb, x, c=common, e=counts: mb.avg_pool(
                            x=x, exclude_padding_from_average=not e, **c
                        ),
                        torched(
                            lambda x, f=pool, c=ceil, e=counts: f(
                                x, 3, 2, 1, ceil_mode=c, count_include_pad=e
                            )
                        ),
                    )
                )
    cases.append(
        Case(
            "l2_pool",
            (small(1, 2, 6, 6),),
            lambda mb, x: mb.l2_pool(x=x, kernel_sizes=[2, 3], strides=[2, 3], pad_type="valid"),
            torched(lambda x: F.lp_pool2d(x, 2, (2, 3), (2, 3))),
        )
    )
    return cases


def attention() -> list[Case]:
    """scaled_dot_product_attention of iOS18: without a mask, added, and true where it counts."""
    q, k, v = small(2, 3, 4, 8), small(2, 3, 5, 8), small(2, 3, 5, 6)
    keep = np.tril(np.ones((4, 5), bool), 1)
    return [
        Case(
            "plain",
            (q, k, v),
            lambda mb, q, k, v: mb.scaled_dot_product_attention(query=q, key=k, value=v),
            torched(F.scaled_dot_product_attention),
        ),
        Case(
            "added",
            (q, k, v, small(4, 5)),
            lambda mb, q, k, v, m: mb.scaled_dot_product_attention(
                query=q, key=k, value=v, attn_mask=m
            ),
            torched(F.scaled_dot_product_attention),
        ),
        Case(
            "kept",
            (q, k, v, keep),
            lambda mb, q, k, v, m: mb.scaled_dot_product_attention(
                query=q, key=k, value=v, attn_mask=m
            ),
            torched(F.scaled_dot_product_attention),
        ),
    ]
