"""The tuner on real scores: every one of a space's configurations was scored once, and is kept."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest

from headtail.errors import UsageFault
from quantizers.tuner import tune

GOLDEN = Path(__file__).parent / "golden" / "efficientnet_lite0_w8a8.json"
SEEDS = range(20)


@pytest.fixture(scope="module")
def kept():
    return json.loads(GOLDEN.read_text())


@pytest.fixture(scope="module")
def table(kept):
    """Configuration -> dB."""
    configs = itertools.product(*kept["options"].values())
    return dict(zip(configs, kept["scores"], strict=True))


def lookup(table, options):
    return lambda config: table[tuple(config[choice] for choice in options)]


def regrets(table, options, trials, seeds=SEEDS):
    """dB below the best there is, by seed."""
    best = max(table.values())
    return [
        best - tune(options, lookup(table, options), trials=trials, seed=seed).best.score
        for seed in seeds
    ]


def test_the_best_of_an_exhaustive_search_in_a_twentieth_of_its_trials(kept, table):
    assert len(table) >= 200
    first = next(iter(table.values()))
    assert max(table.values()) - first > 3  # the beginning is not the end
    trials = len(table) // 20
    found = regrets(table, kept["options"], trials)
    assert max(found) <= 0.2
    result = tune(kept["options"], lookup(table, kept["options"]), trials=trials)
    assert (len(result.trials), result.exhaustive, result.saved) == (
        trials,
        len(table),
        len(table) - trials,
    )


def test_random_search_does_worse(kept, table):
    trials, best = len(table) // 20, max(table.values())
    drawn = [np.random.default_rng(seed).choice(kept["scores"], trials) for seed in SEEDS]
    random = np.mean([best - scores.max() for scores in drawn])
    assert np.mean(regrets(table, kept["options"], trials)) < 0.2 * random


def reordered(options, seed):
    """Options in any order: the first trial is any configuration."""
    rng = np.random.default_rng(seed)
    return {choice: rng.permutation(names).tolist() for choice, names in options.items()}


def test_from_anywhere_it_does_better_than_random_search(kept, table):
    trials, best = len(table) // 20, max(table.values())
    found = [regrets(table, reordered(kept["options"], seed), trials, (seed,))[0] for seed in SEEDS]
    drawn = [np.random.default_rng(seed).choice(kept["scores"], trials) for seed in SEEDS]
    assert np.mean(found) < 0.5 * np.mean([best - scores.max() for scores in drawn])


def test_the_model_finds_what_single_changes_miss():
    """Two options are worth something only together: there the model's part begins."""
    options = {name: ["0", "1", "2"] for name in "abcde"}

    def score(config):
        return 3.0 * (config["a"] == config["b"] == "2") + int(config["c"]) + int(config["d"])

    single, longer = (
        [tune(options, score, trials=trials, seed=seed).best.score for seed in range(6)]
        for trials in (11, 24)
    )
    assert max(single) == 4.0
    # as many random ones would be among the 3 best of 243 in 15 of 100 cases
    assert np.mean(np.array(longer) == 7.0) >= 0.5


def test_every_option_is_tried_once_at_first():
    options = {"a": ["p", "q", "r"], "b": ["s", "t"], "c": ["u", "v", "w"]}
    seen = []

    def score(config):
        seen.append(tuple(config.values()))
        return float(len(seen) == 4)

    tune(options, score, trials=6, seed=3)
    assert seen[0] == ("p", "s", "u")
    assert [set(column) for column in zip(*seen, strict=True)] == [set(n) for n in options.values()]


def test_no_configuration_is_tried_twice_and_a_small_space_is_exhausted():
    options = {"a": ["p", "q"], "b": ["s", "t", "u"]}
    result = tune(options, lambda config: len(config["a"] + config["b"]), trials=100)
    assert len({tuple(trial.config.values()) for trial in result.trials}) == 6
    assert (len(result.trials), result.saved) == (6, 0)


def test_the_same_seed_makes_the_same_trials(kept, table):
    score = lookup(table, kept["options"])
    first, again, other = (tune(kept["options"], score, trials=12, seed=s) for s in (1, 1, 2))
    assert first == again
    assert first.trials != other.trials


def test_a_space_too_large_to_list():
    options = {f"choice {i}": [str(j) for j in range(4)] for i in range(12)}  # 4^12

    def score(config):
        return -sum(abs(int(option) - 3) for option in config.values())

    result = tune(options, score, trials=40, seed=0)
    assert result.exhaustive == 4**12
    assert result.best.score == 0


@pytest.mark.parametrize("options", [{}, {"rounding": []}])
def test_nothing_to_choose_from_is_refused(options):
    with pytest.raises(UsageFault, match=r"There are no options for (anything|rounding)"):
        tune(options, lambda config: 0.0, trials=1)


def test_no_trials_are_refused():
    with pytest.raises(UsageFault, match="0 trials were allowed"):
        tune({"a": ["b"]}, lambda config: 0.0, trials=0)


@pytest.mark.parametrize("score", [math.nan, -math.inf])
def test_a_score_that_is_not_finite_names_its_configuration(score):
    with pytest.raises(UsageFault, match=f"The score of range=mse, bits=8 is {score}"):
        tune({"range": ["mse"], "bits": ["8", "4"]}, lambda config: score, trials=2)
