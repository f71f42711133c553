"""Weights onto grids: what is won over rounding each to its nearest, and what must not break."""

from __future__ import annotations

import pytest
import torch

from quantizers.rounding import Levels, Palette, nearest, path_following, scales

GROUPS, OUTPUTS, COLUMNS = 2, 8, 36


@pytest.fixture(scope="module")
def weight():
    torch.manual_seed(5)
    return torch.randn(GROUPS, OUTPUTS, COLUMNS, dtype=torch.double)


@pytest.fixture(scope="module")
def correlated():
    """H of inputs that move together, as the pixels under a kernel do."""
    torch.manual_seed(6)
    mixing = torch.randn(GROUPS, COLUMNS, 12, dtype=torch.double)
    rows = mixing @ torch.randn(GROUPS, 12, 500, dtype=torch.double)
    rows += 0.3 * torch.randn(GROUPS, COLUMNS, 500, dtype=torch.double)
    return rows @ rows.transpose(1, 2) / 500


def identity():
    return torch.eye(COLUMNS, dtype=torch.double).repeat(GROUPS, 1, 1)


def values(codes, chosen):
    return torch.stack([codes.value(chosen[..., c], c) for c in range(COLUMNS)], -1)


def cost(weight, gram, codes, chosen):
    """Sum of e^T H e over the outputs, relative to that of the weights themselves."""
    error = values(codes, chosen) - weight
    both = [torch.einsum("goc,gcd,god->", one, gram, one) for one in (error, weight)]
    return (both[0] / both[1]).item()


def levels(weight, gram, bits, **options):
    return Levels(scales(weight, gram, bits, **options), bits)


def palette(weight):
    ends = torch.linspace(-1, 1, 16, dtype=torch.double) ** 3  # uneven, as palettes are
    return Palette(ends * weight.abs().amax(-1, keepdim=True))


@pytest.mark.parametrize("bits", [8, 4, 3])
def test_path_following_errs_less_in_what_comes_out(weight, correlated, bits):
    grid = levels(weight, correlated, bits)
    plain = cost(weight, correlated, grid, nearest(weight, grid))
    followed = cost(weight, correlated, grid, path_following(weight, correlated, grid))
    assert followed < plain / 2
    off = (path_following(weight, correlated, grid) - nearest(weight, grid)).abs()
    assert off.max() >= 1  # by choosing others than the nearest


def test_path_following_for_palettes(weight, correlated):
    table = palette(weight)
    plain = cost(weight, correlated, table, nearest(weight, table))
    assert cost(weight, correlated, table, path_following(weight, correlated, table)) < plain / 2


def test_without_correlation_the_nearest_is_best(weight):
    for codes in (levels(weight, identity(), 4), palette(weight)):
        assert torch.equal(path_following(weight, identity(), codes), nearest(weight, codes))


def test_no_code_beats_the_nearest_for_each_weight_alone(weight):
    for codes in (levels(weight, identity(), 4), palette(weight)):
        chosen = nearest(weight, codes)
        best = (values(codes, chosen) - weight).abs()
        for step in (-1, 1):
            top = codes.top if isinstance(codes, Levels) else 15
            other = (chosen + step).clamp(-top if isinstance(codes, Levels) else 0, top)
            assert bool((best <= (values(codes, other) - weight).abs() + 1e-12).all())


def test_levels_stay_inside_their_bits(weight, correlated):
    small = Levels(scales(weight, correlated, 4, search=False) / 3, 4)
    for chosen in (nearest(weight, small), path_following(weight, correlated, small)):
        assert (int(chosen.min()), int(chosen.max())) == (-7, 7)


def test_blocks_of_more_columns_than_are_rounded_at_once():
    """150 columns, two batches of updates: the same as one column after another."""
    torch.manual_seed(8)
    wide = torch.randn(1, 4, 150, dtype=torch.double)
    rows = torch.randn(1, 150, 40, dtype=torch.double) @ torch.randn(40, 450, dtype=torch.double)
    gram = rows @ rows.transpose(1, 2) / 450 + torch.eye(150, dtype=torch.double)
    grid = levels(wide, gram, 4)
    assert torch.equal(path_following(wide, gram, grid), one_by_one(wide, gram, grid))


def one_by_one(weight, gram, codes):
    """The definition: after each column, the best the rest can do is solved for anew."""
    order = torch.diagonal(gram[0]).argsort(descending=True).tolist()
    left, chosen = weight.clone(), torch.zeros_like(weight)
    while order:
        column, *order = order
        chosen[..., column] = codes.of(left[..., column], column)
        error = left[..., column] - codes.value(chosen[..., column], column)
        if order:
            # least squares: what change of the others undoes this error, as far as inputs agree
            among = gram[0][order][:, order]
            left[..., order] += error[..., None] * torch.linalg.solve(among, gram[0, order, column])
    return chosen


@pytest.mark.parametrize("blocks", [1, 4])
@pytest.mark.parametrize("alike", [False, True], ids=["independent", "correlated"])
def test_searched_scales_err_less_at_four_bits(weight, correlated, blocks, alike):
    gram = correlated if alike else identity()
    costs = []
    for search in (True, False):
        found = scales(weight, gram, 4, blocks=blocks, search=search)
        grid = Levels(found.repeat_interleave(COLUMNS // blocks, -1), 4)
        costs.append(cost(weight, gram, grid, nearest(weight, grid)))
    assert costs[0] < (0.8 if alike else 0.9) * costs[1]


def test_scales_without_a_search_reach_the_largest_weight(weight):
    found = scales(weight, identity(), 4, blocks=4, search=False)
    parts = weight.reshape(GROUPS, OUTPUTS, 4, 9)
    assert found.shape == (GROUPS, OUTPUTS, 4)
    assert torch.allclose(found * 7, parts.abs().amax(-1))


def test_blocks_have_less_error_than_channels(weight):
    plain, blocks = (scales(weight, identity(), 4, blocks=b) for b in (1, 4))
    grids = Levels(plain, 4), Levels(blocks.repeat_interleave(9, -1), 4)
    errors = [cost(weight, identity(), g, nearest(weight, g)) for g in grids]
    assert errors[1] < errors[0] * 0.8


def test_the_scale_of_a_wide_matrix_is_chosen_by_the_diagonal():
    """700 columns: correlations are left out, and powers of inputs still count."""
    torch.manual_seed(9)
    wide = torch.randn(1, 2, 700, dtype=torch.double)
    wide[..., 0] = 9.0  # the largest by far, of an input that is almost always zero
    power = torch.ones(700, dtype=torch.double)
    power[0] = 1e-6
    gram = torch.diag(power)[None]
    grid, largest = levels(wide, gram, 4), levels(wide, gram, 4, search=False)
    assert bool((grid.scale < 0.6 * largest.scale).all())


def test_inputs_that_are_always_zero(weight, correlated):
    """Dead channels after a ReLU: the rest is rounded as well, theirs to the nearest."""
    dead = correlated.clone()
    dead[:, 3:6] = 0
    dead[:, :, 3:6] = 0
    grid = levels(weight, dead, 4)
    assert torch.isfinite(grid.scale).all()
    chosen = path_following(weight, dead, grid)
    assert torch.equal(chosen[..., 3:6], nearest(weight, grid)[..., 3:6])
    alive = [c for c in range(COLUMNS) if c not in (3, 4, 5)]
    rest = Levels(grid.scale, 4)
    without = path_following(weight[..., alive], dead[:, alive][:, :, alive], rest)
    assert torch.equal(chosen[..., alive], without)


def test_weights_and_inputs_that_are_all_zero():
    nothing = torch.zeros(1, 3, COLUMNS, dtype=torch.double)
    grid = levels(nothing, torch.zeros(1, COLUMNS, COLUMNS, dtype=torch.double), 8)
    assert torch.isfinite(grid.scale).all()
    assert bool((grid.scale > 0).all())
    assert not path_following(nothing, identity()[:1], grid).any()
