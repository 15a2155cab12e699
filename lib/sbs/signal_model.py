"""The signal model: what a read of known sequence shows in each cycle and channel.

The light of read n in cycle t and channel c is expected to be

    m[n, t, c] = a[n] * sum_u P[t, u] * M[t, c, b[n, u]]

with a the brightness of the read, b its sequence, P the share of its strands that
show base u in cycle t (phasing and pre-phasing), and M the light of each base in each
channel (gain, crosstalk and decay at once). What is measured, x, scatters around that
by noise of camera and background where it is dark and by a factor where it is bright.
With an offset o[t, c] of the size of the dark scatter, log(x + o) does so by about the same
everywhere, and its residuals

    r[n] = log(x[n] + o) - log(m[n] + o) - d[b]

are taken as t-distributed with one covariance over all cycles and channels. It knows
which channels scatter together, and which cycle is bad; a t-distribution is a normal one
whose scale differs from read to read, as that of blended and lone reads does. d is the
median residual of a base. Everything is estimated from the reads
themselves, by turns with their sequences.

Phasing: Erlich et al. 2008 (Alta-Cyclic), Whiteford et al. 2009 (Swift). Crosstalk per
cycle: Li & Speed 1999. Normal mixtures of log intensities: Gataric et al. 2021 (PoSTcode).
Multivariate t by expectation maximisation: Lange, Little & Taylor 1989.

Arrays are (n, T, C): reads, cycles, channels; B = 4 bases are counted 0 to 3.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import lgamma, log, pi

import numpy as np

BASES = 4
LEAST_READS = 60  # from fewer, no more than channel gains is learnt
MOST_READS = 4000  # more do not make estimates better that matter
ROUNDS = 6
BAND = (-3, 2)  # cycles that a strand may be behind or ahead and still be looked for
TRIMMED = 0.1  # share of the reads left out as not understood
PRIOR_READS = 20.0  # weight of the mean over cycles in the light of a base
SHRINKAGE = 0.05  # of the covariance towards its diagonal
BRIGHTNESS_ROUNDS = 2  # in which the brightness of reads is fitted to their calls
SHINING = 0.9  # quantile of a channel of several bases at which it shines
SINGULAR = 0.02  # singular values of the light that are too small to be inverted, of the largest
FLOOR = 1e-3  # of the brightest entry: what light is at least
FREEDOMS = (2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0, 89.0)  # degrees of freedom tried
SCATTER_ROUNDS = 4
FOLDS = 8  # of the jackknife
CHUNK = 4000  # reads worked on at a time


@dataclass(frozen=True)
class Scatter:
    """A multivariate t-distribution about zero of residuals over all cycles and channels.

    shape : (T*C, T*C) scale matrix. freedom : degrees of freedom.
    """

    shape: np.ndarray
    freedom: float

    def precision(self, used: np.ndarray) -> np.ndarray:
        """Inverse (T*C, T*C) of the shape over the (T,) cycles used; zero elsewhere.

        The other cycles are thereby integrated out, without any search.
        """
        columns = self._columns(used)
        precision = np.zeros_like(self.shape)
        if len(columns):
            precision[np.ix_(columns, columns)] = np.linalg.inv(
                self.shape[np.ix_(columns, columns)]
            )
        return precision

    def log_density(self, distance: np.ndarray, used: np.ndarray) -> np.ndarray:
        """Log-density at squared Mahalanobis distances, over the cycles used."""
        columns = self._columns(used)
        size, freedom = len(columns), self.freedom
        volume = np.linalg.slogdet(self.shape[np.ix_(columns, columns)])[1] if size else 0.0
        constant = lgamma((freedom + size) / 2) - lgamma(freedom / 2)
        constant -= 0.5 * (size * log(freedom * pi) + volume)
        return constant - 0.5 * (freedom + size) * np.log1p(distance / freedom)

    def _columns(self, used: np.ndarray) -> np.ndarray:
        return np.flatnonzero(np.repeat(used, len(self.shape) // len(used)))


@dataclass(frozen=True)
class SignalModel:
    """How reads look; see the module.

    mixing : (T, C, B) light of each base per unit of brightness.
    phasing : (T, T) rows sum to 1; identity when none is modelled.
    offset : (T, C) dark scatter.
    shift : (T, C, B) mean residual of the logarithm by base.
    scatter : of the residuals.
    generic_mean, generic : (T, C) mean and scatter of the residuals from the mean light of
        all bases: what is known of a spot that has no sequence.
    used : (T,) whether the cycle is read at all.
    reads : how many reads it was estimated from.
    """

    mixing: np.ndarray
    phasing: np.ndarray
    offset: np.ndarray
    shift: np.ndarray
    scatter: "Scatter"
    generic_mean: np.ndarray
    generic: "Scatter"
    used: np.ndarray
    reads: int

    def without(self, cycles: np.ndarray) -> "SignalModel":
        """The model of reads whose `cycles` (indices) were not read."""
        used = self.used.copy()
        used[cycles] = False
        return replace(self, used=used)


@dataclass(frozen=True)
class FreeCalls:
    """Most likely sequences, without any library.

    index : (n, T) int8.
    gain : (n, T, B) change of the log-likelihood when one base is replaced; 0 at `index`.
    log_likelihood : (n,) up to a constant shared with `likelihood`.
    amplitude : (n,) brightness.
    """

    index: np.ndarray
    gain: np.ndarray
    log_likelihood: np.ndarray
    amplitude: np.ndarray


# Estimation -----------------------------------------------------------------------------------


def estimate_signal(
    intensity: np.ndarray,
    encoding: np.ndarray | None = None,
    phasing: str = "auto",
    sequences: np.ndarray | None = None,
) -> SignalModel:
    """Estimate the model from (n, T, C) intensities of reads, most of them good.

    Parameters
    ----------
    encoding : (B, C) what each base shows in an ideal instrument, for chemistries of
        fewer colours than bases; the identity for four colours.
    phasing : "on", "off", or "auto": modelled if it makes reads that were not used to
        estimate it more likely.
    sequences : (n, T) bases of the reads where they are known; else they are called by
        turns with the estimates, from the brightest channel of each cycle on.

    Raises ValueError for an intensity that is negative or not finite.
    """
    intensity = np.asarray(intensity, np.float64)
    if intensity.size and not (np.isfinite(intensity).all() and intensity.min() >= 0):
        raise ValueError("intensities must be finite and not negative")
    encoding = np.eye(BASES) if encoding is None else np.asarray(encoding, np.float64)
    if len(intensity) > MOST_READS:
        rows = np.linspace(0, len(intensity) - 1, MOST_READS).astype(int)
        intensity = intensity[rows]
        sequences = None if sequences is None else sequences[rows]
    if len(intensity) < LEAST_READS:
        return _plain_model(intensity, encoding)
    if phasing == "auto":
        phasing = "on" if _phasing_pays(intensity, encoding, sequences) else "off"
    return _alternate(intensity, encoding, phasing == "on", sequences)


def _plain_model(intensity: np.ndarray, encoding: np.ndarray) -> SignalModel:
    """What is believed where reads are too few: channel gains, no crosstalk, even scatter."""
    cycles, channels = intensity.shape[1:]
    scale = _channel_scale(intensity)
    ideal = np.maximum(encoding.T, 0.02) * scale[:, None]
    mixing = np.repeat(ideal[None], cycles, axis=0)
    size = cycles * channels
    spread = 0.35 * np.eye(size)
    return SignalModel(
        mixing=mixing,
        phasing=np.eye(cycles),
        offset=np.repeat(0.1 * scale[None], cycles, axis=0),
        shift=np.zeros((cycles, channels, BASES)),
        scatter=Scatter(spread, 5.0),
        generic_mean=np.zeros((cycles, channels)),
        generic=Scatter(4 * spread, 5.0),
        used=np.ones(cycles, bool),
        reads=len(intensity),
    )


def _channel_scale(intensity: np.ndarray) -> np.ndarray:
    """Typical level (C,) of each channel over all cycles; positive whatever is given.

    Where channels are fewer than bases, each is dark in about half of the cycles, and the median
    may be of either kind: there the level at which it shines.
    """
    channels = intensity.shape[2]
    typical = np.median if channels >= BASES else partial(np.quantile, q=SHINING)
    scale = np.ones(channels)
    for c in range(channels):
        values = intensity[..., c].ravel()
        level = typical(values) if values.size else 0.0
        if level <= 0 and (values > 0).any():
            level = np.median(values[values > 0])
        scale[c] = level or 1.0
    return scale


def _phasing_pays(
    intensity: np.ndarray, encoding: np.ndarray, sequences: np.ndarray | None
) -> bool:
    """Whether phasing makes the other half of the reads more likely, each half in its turn."""
    if intensity.shape[1] < 2:
        return False
    gain = 0.0
    for half in (0, 1):
        known = None if sequences is None else sequences[half::2]
        score = []
        for on in (True, False):
            model = _alternate(intensity[half::2], encoding, on, known)
            others = intensity[1 - half :: 2]
            if sequences is None:
                found = call_free(model, others).log_likelihood
            else:
                found = likelihood(model, others, sequences[1 - half :: 2])
            # Reads that nothing explains must not decide.
            score.append(np.sort(found)[int(TRIMMED * len(found)) :].mean())
            # The density is one of log(x + offset): back to that of x.
            score[-1] -= np.log(others + model.offset).sum(axis=(1, 2)).mean()
        gain += score[0] - score[1]
    return bool(gain > 0)


def _alternate(
    intensity: np.ndarray, encoding: np.ndarray, phased: bool, sequences: np.ndarray | None
) -> SignalModel:
    """Estimate light, phasing and scatter by turns with the sequences of the reads."""
    cycles = intensity.shape[1]
    scale = _channel_scale(intensity)
    known = sequences is not None
    index = sequences if known else _first_calls(intensity / scale, encoding)
    amplitude = np.maximum((intensity / scale).mean(axis=(1, 2)), 1e-9)
    phasing = np.eye(cycles)
    understood = np.ones(len(intensity), bool)
    for _turn in range(2 if known else ROUNDS):
        for _ in range(2):
            relative = intensity[understood] / amplitude[understood, None, None]
            mixing = _fit_mixing(relative, index[understood], phasing, encoding)
            if phased:
                phasing = _fit_phasing(relative, index[understood], mixing)
            amplitude = brightness_given(mixing, phasing, intensity, index)
        model = _fit_scatter(intensity, amplitude, index, mixing, phasing, understood)
        if not known:
            calls = call_free(model, intensity, sweeps=1)
            index, amplitude = calls.index, calls.amplitude
        found = likelihood(model, intensity, index, amplitude=amplitude)
        understood = found >= np.quantile(found, TRIMMED)
    return _fit_scatter(intensity, amplitude, index, mixing, phasing, understood)


def _first_calls(relative: np.ndarray, encoding: np.ndarray) -> np.ndarray:
    """Bases (n, T) whose ideal channels are nearest to those of each cycle."""
    if np.array_equal(encoding, np.eye(len(encoding))):
        return relative.argmax(axis=2)
    level = np.quantile(relative, 0.9, axis=(1, 2), keepdims=True)
    shown = (relative / np.maximum(level, 1e-9))[:, :, None]
    return ((shown - encoding) ** 2).sum(axis=3).argmin(axis=2)


def brightness(mixing: np.ndarray, intensity: np.ndarray) -> np.ndarray:
    """Amplitude (n,) of reads, whatever their sequence.

    Channels are weighted such that every base adds up to one: each cycle shows one
    base, so the mean over cycles is the amplitude.
    """
    weights = np.linalg.pinv(mixing.transpose(0, 2, 1), rcond=SINGULAR).sum(axis=2)
    mean = np.einsum("ntc,tc->n", intensity, weights) / len(mixing)
    return np.maximum(mean, 1e-3 * max(np.median(mean), 1e-9)) if len(mean) else mean


def brightness_given(
    mixing: np.ndarray, phasing: np.ndarray, intensity: np.ndarray, index: np.ndarray
) -> np.ndarray:
    """Amplitude (n,) of reads of sequences `index` (n, T).

    With fewer channels than bases, how much light a read shows hangs on its sequence: there it is
    fitted by least squares.
    """
    if intensity.shape[2] >= BASES:
        return brightness(mixing, intensity)
    light = expected_light(mixing, phasing, index, np.ones(len(index)))
    power = np.maximum((light**2).sum(axis=(1, 2)), 1e-12)
    fitted = (light * intensity).sum(axis=(1, 2)) / power
    return np.maximum(fitted, 1e-3 * max(np.median(fitted), 1e-9)) if len(fitted) else fitted


def _nearest_calls(
    model: SignalModel, intensity: np.ndarray, amplitude: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bases (n, T) by the light nearest to each cycle's, and amplitudes (n,) that fit them."""
    for _ in range(3):
        relative = intensity / amplitude[:, None, None]
        away = relative[:, :, None] - model.mixing.transpose(0, 2, 1)
        index = (away**2).sum(axis=3).argmin(axis=2)
        amplitude = brightness_given(model.mixing, model.phasing, intensity, index)
    return index, amplitude


def _one_hot(index: np.ndarray) -> np.ndarray:
    return np.eye(BASES)[index]


def _fit_mixing(
    relative: np.ndarray, index: np.ndarray, phasing: np.ndarray, encoding: np.ndarray
) -> np.ndarray:
    """Light (T, C, B) by least squares, cycle by cycle, from reads of unit brightness.

    A base that is rare in a cycle borrows from the other cycles; one that is rare in all, from
    the ideal instrument.
    """
    shares = np.einsum("tu,nub->ntb", phasing, _one_hot(index))
    gram = np.einsum("ntb,ntk->tbk", shares, shares)
    light = np.einsum("ntb,ntc->tbc", shares, relative)
    level = np.median(relative.sum(axis=2), axis=0)
    ridge = PRIOR_READS / BASES * np.eye(BASES)
    ideal = encoding / np.maximum(encoding.sum(), 1e-9) * BASES * np.median(level)
    pooled = np.linalg.solve(gram.sum(axis=0) + ridge, light.sum(axis=0) + ridge @ ideal)
    pooled = np.maximum(pooled, FLOOR * pooled.max())
    level = np.maximum(level / max(np.median(level), 1e-9), FLOOR)
    prior = PRIOR_READS / BASES * np.eye(BASES)
    target = light + prior @ pooled * level[:, None, None]
    mixing = np.linalg.solve(gram + prior, target).transpose(0, 2, 1)
    return np.maximum(mixing, FLOOR * pooled.max() * level[:, None, None])


def _fit_phasing(relative: np.ndarray, index: np.ndarray, mixing: np.ndarray) -> np.ndarray:
    """Phasing operator (T, T): each cycle as a non-negative mix of the bases around it."""
    from scipy.optimize import nnls

    cycles = len(mixing)
    phasing = np.zeros((cycles, cycles))
    for t in range(cycles):
        near = np.arange(max(t + BAND[0], 0), min(t + BAND[1] + 1, cycles))
        shown = np.stack([mixing[t][:, index[:, u]].T.ravel() for u in near], axis=1)
        shares, _ = nnls(shown.T @ shown, shown.T @ relative[:, t].ravel())
        phasing[t, near] = shares / shares.sum() if shares.sum() > 0 else near == t
    return phasing


def _fit_scatter(
    intensity: np.ndarray,
    amplitude: np.ndarray,
    index: np.ndarray,
    mixing: np.ndarray,
    phasing: np.ndarray,
    understood: np.ndarray,
) -> SignalModel:
    """Offsets, shifts and covariances for a given light and phasing."""
    intensity, amplitude, index = intensity[understood], amplitude[understood], index[understood]
    cycles, channels = intensity.shape[1:]
    light = expected_light(mixing, phasing, index, amplitude)
    dark = light <= np.quantile(light, 0.4, axis=0)
    offset = np.empty((cycles, channels))
    for t, c in np.ndindex(offset.shape):
        values = intensity[dark[:, t, c], t, c]
        values = values[values <= np.quantile(values, 0.95)]
        offset[t, c] = np.sqrt(np.mean(values**2))
    offset = np.maximum(offset, FLOOR * np.maximum(mixing.max(axis=(1, 2)), 1e-9)[:, None])
    offset = np.maximum(offset, 1e-9)

    residual = np.log(intensity + offset) - np.log(light + offset)
    shift = np.zeros((cycles, channels, BASES))
    for t in range(cycles):
        for base in range(BASES):
            own = residual[index[:, t] == base, t]
            if len(own):
                weight = len(own) / (len(own) + PRIOR_READS)
                shift[t, :, base] = weight * np.median(own, axis=0)
    residual -= _take_shift(shift, index)
    # What a spot without sequence shows, as if the reads had random ones: a library may have so
    # few guides that the mean light of all bases would else be that of a guide.
    anything = np.random.default_rng(0).integers(0, BASES, index.shape)
    shown = np.log(expected_light(mixing, phasing, anything, amplitude) + offset)
    shown += _take_shift(shift, anything) + residual
    generic = shown - np.log(amplitude[:, None, None] * mixing.mean(axis=2) + offset)
    generic_mean = generic.mean(axis=0)
    return SignalModel(
        mixing=mixing,
        phasing=phasing,
        offset=offset,
        shift=shift,
        scatter=_fit_t(residual),
        generic_mean=generic_mean,
        generic=_fit_t(generic - generic_mean),
        used=np.ones(cycles, bool),
        reads=len(intensity),
    )


def _fit_t(residual: np.ndarray) -> Scatter:
    """Multivariate t-distribution about zero of (n, T, C) residuals."""
    flat = _flat(residual)
    used = np.ones(residual.shape[1], bool)
    found, weight = Scatter(np.eye(flat.shape[1]), FREEDOMS[-1]), np.ones(len(flat))
    for _ in range(SCATTER_ROUNDS):
        shape = (flat * weight[:, None]).T @ flat / len(flat)
        shape = (1 - SHRINKAGE) * shape + SHRINKAGE * np.diag(shape.diagonal() + 1e-4)
        distance = _distance(flat, np.linalg.inv(shape))
        tried = [Scatter(shape, freedom) for freedom in FREEDOMS]
        found = max(tried, key=lambda one: one.log_density(distance, used).sum())
        weight = (found.freedom + flat.shape[1]) / (found.freedom + distance)
    return found


def _flat(values: np.ndarray) -> np.ndarray:
    """(n, T, C) as (n, T*C), for no reads too."""
    return values.reshape(len(values), int(np.prod(values.shape[1:])))


def _distance(flat: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Squared Mahalanobis distances (n,) of residuals (n, T*C) from zero."""
    return ((flat @ precision) * flat).sum(axis=1)


def standard_errors(
    model: SignalModel, intensity: np.ndarray, index: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Standard errors of the crosstalk shares (T, C, B) and of the phasing (T, T).

    From estimates on `FOLDS` disjoint parts of the reads, of sequences `index` (n, T), each
    part in its turn left out (Quenouille's jackknife).
    """
    if len(intensity) > MOST_READS:
        rows = np.linspace(0, len(intensity) - 1, MOST_READS).astype(int)
        intensity, index = intensity[rows], index[rows]
    if len(intensity) < LEAST_READS:
        return np.full(model.mixing.shape, np.nan), np.full(model.phasing.shape, np.nan)
    amplitude = brightness_given(model.mixing, model.phasing, intensity, index)
    relative = intensity / amplitude[:, None, None]
    phased = bool((model.phasing != np.eye(len(model.phasing))).any())
    shares, phasings = [], []
    for fold in range(FOLDS):
        kept = np.arange(len(index)) % FOLDS != fold
        mixing = _fit_mixing(
            relative[kept], index[kept], model.phasing, model.mixing.mean(axis=0).T
        )
        shares.append(mixing / mixing.sum(axis=1, keepdims=True))
        if phased:
            phasings.append(_fit_phasing(relative[kept], index[kept], mixing))
    spread = np.sqrt(FOLDS - 1.0)
    return (
        spread * np.std(shares, axis=0),
        spread * np.std(phasings, axis=0) if phased else np.zeros(model.phasing.shape),
    )


# Use ------------------------------------------------------------------------------------------


def expected_light(
    mixing: np.ndarray, phasing: np.ndarray, index: np.ndarray, amplitude: np.ndarray
) -> np.ndarray:
    """Expected intensities (n, T, C) of reads of sequences `index` (n, T)."""
    shares = np.einsum("tu,nub->ntb", phasing, _one_hot(index), optimize=True)
    light = np.einsum("ntb,tcb->ntc", shares, mixing, optimize=True)
    light *= amplitude[:, None, None]
    return light


def _take_shift(shift: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Shift (n, T, C) of the bases `index` (n, T)."""
    return shift.transpose(0, 2, 1)[np.arange(len(shift)), index]


def likelihood(
    model: SignalModel,
    intensity: np.ndarray,
    index: np.ndarray,
    rows: np.ndarray | None = None,
    amplitude: np.ndarray | None = None,
) -> np.ndarray:
    """Log-likelihood (m,) of sequences `index` (m, T) for reads `rows` (m,) of `intensity`.

    The density is that of log(x + offset). `rows` may repeat;
    by default the m-th sequence goes with the m-th read. With fewer channels than bases each
    sequence has the brightness that fits it, whatever `amplitude` (n,) of the reads is given.
    """
    rows = np.arange(len(index)) if rows is None else rows
    if amplitude is None:
        amplitude = brightness(model.mixing, intensity)
    measured = np.log(intensity + model.offset)
    precision = model.scatter.precision(model.used)
    distance = np.empty(len(index))
    for start in range(0, len(index), CHUNK):
        part = slice(start, start + CHUNK)
        bright = amplitude[rows[part]]
        if intensity.shape[2] < BASES:
            own = intensity[rows[part]]
            bright = brightness_given(model.mixing, model.phasing, own, index[part])
        light = expected_light(model.mixing, model.phasing, index[part], bright)
        residual = measured[rows[part]] - np.log(light + model.offset)
        residual -= _take_shift(model.shift, index[part])
        distance[part] = _distance(_flat(residual), precision)
    return model.scatter.log_density(distance, model.used)


def generic_likelihood(
    model: SignalModel, intensity: np.ndarray, amplitude: np.ndarray | None = None
) -> np.ndarray:
    """Log-likelihood (n,) of spots that have no sequence, comparable with `likelihood`."""
    if amplitude is None:
        amplitude = brightness(model.mixing, intensity)
    light = amplitude[:, None, None] * model.mixing.mean(axis=2)
    residual = np.log(intensity + model.offset) - np.log(light + model.offset)
    # Either anything that reads show, or all bases alike: what is fainter than the dark scatter,
    # or background that stays through all cycles, looks so.
    kinds = []
    for law, mean in (
        (model.generic, model.generic_mean),
        (model.scatter, model.shift.mean(axis=2)),
    ):
        distance = _distance(_flat(residual - mean), law.precision(model.used))
        kinds.append(law.log_density(distance, model.used))
    return np.logaddexp(*kinds) - np.log(2)


def linear_calls(
    model: SignalModel, intensity: np.ndarray, amplitude: np.ndarray, ridge: float
) -> np.ndarray:
    """Bases (n, T) by inverting crosstalk and phasing in one linear step.

    The operator of all cycles is inverted by least squares with a `ridge`, relative to
    its mean square: a small one sharpens, a large one quietens.
    """
    cycles, channels, bases = model.mixing.shape
    operator = np.einsum("tu,tcb->tcub", model.phasing, model.mixing)
    operator[~model.used] = 0
    operator = operator.reshape(cycles * channels, cycles * bases)
    gram = operator.T @ operator
    gram += ridge * gram.trace() / len(gram) * np.eye(len(gram))
    inverse = np.linalg.solve(gram, operator.T)
    relative = _flat(intensity / amplitude[:, None, None])
    return (relative @ inverse.T).reshape(-1, cycles, bases).argmax(axis=2)


def call_free(
    model: SignalModel,
    intensity: np.ndarray,
    sweeps: int = 3,
    ridges: tuple[float, ...] = (0.003, 0.05),
) -> FreeCalls:
    """The most likely sequence of each read, without a library.

    Starts from linear calls, one for each of `ridges`, and replaces single bases as long as that
    makes the read more likely (iterated conditional modes, Besag 1986), at most
    `sweeps` times; the likelier of the results is kept.
    """
    intensity = np.asarray(intensity, np.float64)
    amplitude = brightness(model.mixing, intensity)

    def linear(part: slice) -> list[np.ndarray]:
        own = intensity[part], amplitude[part]
        return [linear_calls(model, *own, ridge) for ridge in ridges]

    if intensity.shape[2] >= BASES or not len(intensity):
        return _ascend(model, intensity, amplitude, sweeps, linear)
    index, amplitude = _nearest_calls(model, intensity, amplitude)
    calls = None
    for _ in range(1 + BRIGHTNESS_ROUNDS):
        again = _ascend(model, intensity, amplitude, sweeps, partial(_only, index))
        calls = again if calls is None else _likelier(calls, again)
        index = calls.index
        amplitude = brightness_given(model.mixing, model.phasing, intensity, index)
    return calls


def _only(index: np.ndarray, part: slice) -> list[np.ndarray]:
    return [index[part]]


def _likelier(one: FreeCalls, other: FreeCalls) -> FreeCalls:
    """Of two calls of the same reads the likelier for each."""
    better = other.log_likelihood > one.log_likelihood
    return FreeCalls(
        np.where(better[:, None], other.index, one.index),
        np.where(better[:, None, None], other.gain, one.gain),
        np.where(better, other.log_likelihood, one.log_likelihood),
        np.where(better, other.amplitude, one.amplitude),
    )


def _ascend(
    model: SignalModel,
    intensity: np.ndarray,
    amplitude: np.ndarray,
    sweeps: int,
    starts: Callable[[slice], list[np.ndarray]],
) -> FreeCalls:
    """Calls of reads of known brightness, from `starts` of each part of them."""
    count, cycles = intensity.shape[:2]
    index = np.zeros((count, cycles), np.int8)
    gain = np.zeros((count, cycles, BASES), np.float32)
    best = np.zeros(count)  # squared distances
    for start in range(0, count, CHUNK):
        part = slice(start, start + CHUNK)
        index[part], gain[part], best[part] = _call_some(
            model, intensity[part], amplitude[part], sweeps, starts(part)
        )
    # From squared distances to log-densities.
    density = model.scatter.log_density(best, model.used)
    gain = model.scatter.log_density(best[:, None, None] + gain, model.used)
    gain -= density[:, None, None]
    return FreeCalls(index, gain.astype(np.float32), density, amplitude)


def _call_some(
    model: SignalModel,
    intensity: np.ndarray,
    amplitude: np.ndarray,
    sweeps: int,
    starts: list[np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ascent, best = None, None
    for index in starts:
        other = _Ascent(model, intensity, amplitude)
        other.start(index)
        for _ in range(sweeps):
            if not other.sweep():
                break
        found = other.distance()
        if ascent is None:
            ascent, best = other, found
        else:
            ascent.start(np.where((found < best)[:, None], other.index, ascent.index))
            best = np.minimum(found, best)
    return ascent.index.astype(np.int8), ascent.gains(), best


class _Ascent:
    """Reads on their way to likelier sequences, by replacing one base at a time."""

    def __init__(self, model: SignalModel, intensity: np.ndarray, amplitude: np.ndarray) -> None:
        self.model, self.amplitude = model, amplitude
        self.measured = np.log(intensity + model.offset)
        self.precision = model.scatter.precision(model.used)
        self.cycles, self.channels = intensity.shape[1:]

    def start(self, index: np.ndarray) -> None:
        model = self.model
        self.index = index.copy()
        self.light = expected_light(model.mixing, model.phasing, index, self.amplitude)
        self.residual = self.measured - np.log(self.light + model.offset)
        self.residual -= _take_shift(model.shift, index)

    def distance(self) -> np.ndarray:
        return _distance(_flat(self.residual), self.precision)

    def sweep(self) -> bool:
        """Let each base in turn become its likeliest; whether any changed."""
        changed = False
        for t in range(self.cycles):
            seen, lights, residuals, change = self._replacements(t)
            best = change.argmin(axis=1)
            for base in range(BASES):
                rows = np.flatnonzero((best == base) & (self.index[:, t] != base))
                if len(rows):
                    changed = True
                    self.light[rows[:, None], seen] = lights[base][rows]
                    self.residual[rows[:, None], seen] = residuals[base][rows]
                    self.index[rows, t] = base
        return changed

    def gains(self) -> np.ndarray:
        """Change of the squared distance (n, T, B) by each single replacement."""
        found = [self._replacements(t)[3] for t in range(self.cycles)]
        return np.stack(found, axis=1).astype(np.float32)

    def _replacements(self, t: int) -> tuple[np.ndarray, list, list, np.ndarray]:
        """Base t of every read replaced by each of the four.

        Returns the cycles that show base t, their light and residuals for each base,
        and the change of the squared distance (n, B).
        """
        model, count = self.model, len(self.index)
        seen = np.flatnonzero((model.phasing[:, t] > 0) | (np.arange(self.cycles) == t))
        columns = (seen[:, None] * self.channels + np.arange(self.channels)).ravel()
        pull = _flat(self.residual) @ self.precision[:, columns]
        among = self.precision[np.ix_(columns, columns)]
        share = self.amplitude[:, None, None] * model.phasing[seen, t][:, None]
        without = self.light[:, seen] - share * model.mixing[seen][
            :, :, self.index[:, t]
        ].transpose(2, 0, 1)
        here = int(np.searchsorted(seen, t))
        own_shift = _take_shift(model.shift[t : t + 1], self.index[:, t : t + 1])[:, 0]
        lights, residuals = [], []
        change_of = np.empty((count, BASES))
        for base in range(BASES):
            light = np.maximum(without, 0) + share * model.mixing[seen][:, :, base]
            change = np.log(self.light[:, seen] + model.offset[seen])
            change -= np.log(light + model.offset[seen])
            change[:, here] += own_shift - model.shift[t, :, base]
            flat = _flat(change)
            change_of[:, base] = 2 * (flat * pull).sum(axis=1) + _distance(flat, among)
            lights.append(light)
            residuals.append(self.residual[:, seen] + change)
        change_of[np.arange(count), self.index[:, t]] = 0.0
        return seen, lights, residuals, change_of
