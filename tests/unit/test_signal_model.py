"""The signal model on reads whose chemistry is known."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic_reads import CROSSTALK, intensities, phasing_operator

from lib.sbs import signal_model
from lib.sbs.signal_model import (
    Scatter,
    SignalModel,
    brightness,
    call_free,
    estimate_signal,
    expected_light,
    likelihood,
    linear_calls,
    standard_errors,
)


@pytest.fixture(scope="module")
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def phased():
    """2000 reads of 12 cycles with 7 % phasing and 2 % pre-phasing, and their model."""
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 4, (2000, 12))
    measured = intensities(rng, codes, phasing_operator(12, 0.07, 0.02))
    return codes, measured, estimate_signal(measured)


def plain(cycles, phasing=None, size=0.1):
    """A model without crosstalk, of light 1 and scatter `size`."""
    shape = size * np.eye(cycles * 4)
    return SignalModel(
        mixing=np.repeat(np.eye(4)[None], cycles, axis=0) + 1e-3,
        phasing=np.eye(cycles) if phasing is None else phasing,
        offset=np.full((cycles, 4), 0.1),
        shift=np.zeros((cycles, 4, 4)),
        scatter=Scatter(shape, 5.0),
        generic_mean=np.zeros((cycles, 4)),
        generic=Scatter(shape, 5.0),
        used=np.ones(cycles, bool),
        reads=100,
    )


def test_light_of_a_phased_read_by_hand():
    phasing = np.array([[1.0, 0.0], [0.25, 0.75]])
    mixing = np.repeat(np.diag([1.0, 2.0, 3.0, 4.0])[None], 2, axis=0)
    light = expected_light(mixing, phasing, np.array([[0, 3]]), np.array([2.0]))
    assert light[0].tolist() == [[2, 0, 0, 0], [0.5, 0, 0, 6]]


def test_phasing_and_crosstalk_are_inverted_where_there_is_no_noise(rng):
    phasing = phasing_operator(8, 0.1, 0.03)
    model = replace(plain(8, phasing), mixing=np.repeat(CROSSTALK[None] + 1e-3, 8, axis=0))
    codes = rng.integers(0, 4, (300, 8))
    light = expected_light(model.mixing, phasing, codes, np.full(300, 5.0))
    assert (light.argmax(axis=2) != codes).mean() > 0.05  # the brightest channel is not enough
    assert (linear_calls(model, light, np.full(300, 5.0), 1e-9) == codes).all()
    assert (call_free(model, light).index == codes).all()


def test_brightness_does_not_depend_on_the_sequence():
    mixing = np.repeat(CROSSTALK[None], 3, axis=0)
    codes = np.array([[0, 0, 0], [1, 2, 3], [3, 3, 1]])
    light = expected_light(mixing, np.eye(3), codes, np.array([1.0, 1.0, 7.0]))
    assert brightness(mixing, light) == pytest.approx([1, 1, 7])


def test_phasing_is_recovered(phased):
    model = phased[2]
    truth = phasing_operator(12, 0.07, 0.02)
    truth /= truth.sum(axis=1, keepdims=True)
    assert np.abs(model.phasing - truth).max() < 0.05
    assert np.abs(np.diag(model.phasing) - np.diag(truth))[:10].max() < 0.03


def test_crosstalk_is_recovered(phased):
    share = phased[2].mixing / phased[2].mixing.sum(axis=1, keepdims=True)
    # Noise in dark channels, which cannot be negative, looks like some crosstalk.
    assert np.abs(share - CROSSTALK / CROSSTALK.sum(axis=0)).max() < 0.06


def test_phased_reads_are_called(phased):
    codes, measured, model = phased
    naive = (measured / CROSSTALK.diagonal()).argmax(axis=2)
    assert (naive == codes).all(axis=1).mean() < 0.5
    assert (call_free(model, measured).index == codes).all(axis=1).mean() > 0.92


def test_phasing_is_not_modelled_where_there_is_none(rng):
    codes = rng.integers(0, 4, (600, 8))
    # Held-out reads may like a trace of phasing; it must be no more than that.
    model = estimate_signal(intensities(rng, codes))
    assert np.abs(model.phasing - np.eye(8)).max() < 0.02
    assert (estimate_signal(intensities(rng, codes), phasing="off").phasing == np.eye(8)).all()


def test_gains_are_the_changes_of_the_likelihood(phased):
    _, measured, model = phased
    calls = call_free(model, measured[:50])
    base = likelihood(model, measured[:50], calls.index)
    assert calls.log_likelihood == pytest.approx(base)
    for t, b in ((0, 1), (5, 3), (11, 0)):
        replaced = calls.index.copy()
        replaced[:, t] = b
        change = likelihood(model, measured[:50], replaced) - base
        assert calls.gain[:, t, b] == pytest.approx(change, abs=1e-3)


def test_unread_cycles_are_integrated_out():
    rng = np.random.default_rng(2)
    root = rng.standard_normal((8, 8))
    scatter = Scatter(root @ root.T + np.eye(8), 5.0)
    used = np.array([True, False])
    expected = np.linalg.inv(scatter.shape[:4, :4])
    precision = scatter.precision(used)
    np.testing.assert_allclose(precision[:4, :4], expected)
    assert not precision[4:].any() and not precision[:, 4:].any()
    # The density is that of the other cycle alone.
    alone = Scatter(scatter.shape[:4, :4], 5.0)
    assert scatter.log_density(2.0, used) == pytest.approx(alone.log_density(2.0, np.array([True])))


def test_bases_of_an_unread_cycle_make_no_difference(phased):
    _, measured, model = phased
    model = model.without(np.array([0]))
    calls = call_free(model, measured[:20])
    other = calls.index.copy()
    other[:, 0] = (other[:, 0] + 1) % 4
    change = likelihood(model, measured[:20], other) - calls.log_likelihood
    # Only what is late of the first base shows, in the second cycle.
    full = likelihood(phased[2], measured[:20], other) - likelihood(
        phased[2], measured[:20], calls.index
    )
    assert np.median(np.abs(change)) < 0.3 * np.median(np.abs(full))


def test_two_colours(rng):
    encoding = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    codes = rng.integers(0, 4, (1500, 8))
    light = 300 * encoding[codes] * rng.lognormal(0, 0.2, (1500, 1, 1))
    measured = np.abs(light + 10 * rng.standard_normal(light.shape))
    model = estimate_signal(measured, encoding, phasing="off")
    assert (call_free(model, measured).index == codes).mean() > 0.92


def test_few_reads_give_a_plain_model(rng):
    measured = intensities(rng, rng.integers(0, 4, (20, 5)))
    model = estimate_signal(measured)
    assert (model.phasing == np.eye(5)).all()
    assert np.isfinite(call_free(model, measured).log_likelihood).all()
    assert len(call_free(estimate_signal(measured[:0]), measured[:0]).index) == 0


def test_a_dead_channel_and_an_empty_cycle_do_no_harm(rng):
    codes = rng.integers(0, 3, (400, 6))
    measured = intensities(rng, codes)
    measured[:, :, 3] = 0
    measured[:, 2] = 0
    model = estimate_signal(measured)
    calls = call_free(model, measured)
    assert np.isfinite(calls.gain).all()
    read = [0, 1, 3, 4, 5]
    assert (calls.index == codes)[:, read].mean() > 0.95


def test_standard_errors_shrink_with_reads(phased):
    codes, measured, model = phased
    few = standard_errors(model, measured[:250], codes[:250])
    many = standard_errors(model, measured, codes)
    assert np.median(many[0]) < 0.6 * np.median(few[0])
    truth = phasing_operator(12, 0.07, 0.02)
    diagonal = many[1].diagonal()
    assert (diagonal < 0.02).all() and diagonal[1:].min() > 0
    assert len(truth) == len(diagonal)


def test_bad_intensities_are_refused():
    with pytest.raises(ValueError, match="finite"):
        estimate_signal(np.full((5, 2, 4), -1.0))


def test_t_distribution_follows_its_residuals():
    rng = np.random.default_rng(3)
    normal = rng.standard_normal((4000, 2, 4))
    heavy = normal / np.sqrt(rng.chisquare(3, 4000) / 3)[:, None, None]
    assert signal_model._fit_t(normal).freedom > 30
    assert signal_model._fit_t(heavy).freedom <= 5
