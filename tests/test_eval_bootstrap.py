"""The paired bootstrap's interval, and flips."""

import numpy as np
import pytest

from ner_edge.eval.bootstrap import delta_f1_resamples, flips, interval, strict_counts, verdicts
from ner_edge.eval.metrics import score_spans
from ner_edge.spans import Span


def delta_f1_interval(a, b, **settings):
    return interval(delta_f1_resamples(a, b, **settings))


PER, LOC = Span(0, 1, "PER"), Span(0, 1, "LOC")


def noisy_counts(seed, recall, sentences=400):
    """Counts of a system that finds each sentence's two entities with probability `recall`."""
    hits = np.random.default_rng(seed).binomial(2, recall, size=sentences)
    return np.stack([hits, 2 - hits, 2 - hits], axis=1)


def f1(counts):
    hits, false_positives, false_negatives = counts.sum(axis=0)
    return 200 * hits / (2 * hits + false_positives + false_negatives)


def test_counts_per_sentence_add_up_to_the_score():
    gold = [[PER, Span(1, 2, "LOC")], [LOC], []]
    predicted = [[PER, Span(1, 3, "LOC")], [PER], [PER]]
    counts = strict_counts(gold, predicted)
    assert counts.tolist() == [[1, 1, 1], [0, 1, 1], [0, 1, 0]]
    assert f1(counts) == pytest.approx(score_spans(gold, predicted, [3, 1, 1]).micro.f1)


def test_identical_systems_differ_by_nothing():
    counts = noisy_counts(1, 0.9)
    assert delta_f1_interval(counts, counts) == (0, 0)


def test_no_entities_anywhere_is_no_difference():
    nothing = strict_counts([[], []], [[], []])
    assert delta_f1_interval(nothing, nothing) == (0, 0)


def test_interval_covers_a_known_shift_and_excludes_zero():
    worse, better = noisy_counts(2, 0.80), noisy_counts(3, 0.90)
    low, high = delta_f1_interval(better, worse)
    assert 0 < low < 10 < high
    assert low < f1(better) - f1(worse) < high


def test_interval_has_the_width_that_theory_gives():
    # F1 here is the mean of n independent sentences, so its standard error is known.
    a, b = noisy_counts(4, 0.85), noisy_counts(5, 0.85)
    error = 100 * np.std(a[:, 0] / 2 - b[:, 0] / 2) / np.sqrt(len(a))
    low, high = delta_f1_interval(a, b)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.08)


def test_pairing_makes_the_interval_narrow():
    a = noisy_counts(6, 0.85)
    b = a.copy()
    b[:8] = (0, 2, 2)  # the same system, failing in eight more sentences
    low, high = delta_f1_interval(b, a)
    unrelated_low, unrelated_high = delta_f1_interval(b, noisy_counts(7, 0.85))
    assert high - low < (unrelated_high - unrelated_low) / 2


def test_swapping_the_systems_mirrors_the_interval():
    a, b = noisy_counts(8, 0.8), noisy_counts(9, 0.9)
    low, high = delta_f1_interval(a, b)
    assert delta_f1_interval(b, a) == pytest.approx((-high, -low), abs=1e-12)


def test_the_same_seed_gives_the_same_interval():
    a, b = noisy_counts(10, 0.8), noisy_counts(11, 0.9)
    assert delta_f1_interval(a, b) == delta_f1_interval(a, b)
    assert delta_f1_interval(a, b) != delta_f1_interval(a, b, seed=7)


def test_unequal_sentences_cannot_be_paired():
    with pytest.raises(ValueError, match="400 and 399"):
        delta_f1_interval(noisy_counts(1, 0.9), noisy_counts(1, 0.9, sentences=399))


def test_flips_count_sentences_not_entities():
    a = [[PER], [PER, Span(1, 2, "LOC")], [LOC], []]
    b = [[PER], [LOC], [PER], []]
    assert flips(a, b) == flips(b, a) == 2
    assert flips(a, a) == 0


def test_the_order_of_entities_is_no_flip():
    assert flips([[PER, Span(1, 2, "LOC")]], [[Span(1, 2, "LOC"), PER]]) == 0


def draws(centre, spread, seed=0):
    return np.random.default_rng(seed).normal(centre, spread, size=2000)


def test_verdicts():
    said = verdicts(
        {
            "same": draws(0.02, 0.1),
            "worse": draws(-2, 0.5),
            "a little worse, for certain": draws(-0.2, 0.05),
            "better": draws(1, 0.2),
            "who knows": draws(-0.4, 0.6),
        }
    )
    assert said == {
        "same": "equivalent",
        "worse": "worse",
        "a little worse, for certain": "equivalent",
        "better": "better",
        "who knows": "undecided",
    }


def test_many_comparisons_need_more_evidence():
    borderline = draws(-1, 0.56)  # about p = 0.04 when asked alone
    assert verdicts({"one": borderline})["one"] == "worse"
    crowd = {f"other {i}": draws(0, 1, i) for i in range(10)}
    assert verdicts({"one": borderline, **crowd})["one"] == "undecided"


def test_the_interval_covers_the_truth_at_its_rate():
    """200 corpora from two systems whose true F1 is known: 0.9 and 0.85, as one error is a false
    positive and a false negative at once."""
    covered = 0
    for seed in range(200):
        a, b = noisy_counts(2 * seed, 0.85, 150), noisy_counts(2 * seed + 1, 0.90, 150)
        low, high = interval(delta_f1_resamples(a, b, resamples=500))
        covered += low <= -5 <= high
    assert 180 <= covered <= 198  # 95 % of 200, within three standard deviations
