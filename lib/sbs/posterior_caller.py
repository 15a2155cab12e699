"""The posterior caller: a well's spots to decoded reads with error rates.

It is fitted to a sample of the well's spots (whole tiles), then calls tile by tile, so that
a well of any size passes through little memory. Fitting goes in three steps: the
signal model from confident spots without a library; decoding of the sample against
library and decoys, and the model again from the reads decoded; decoding again, from which
come q-values and calibrated probabilities.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import pandas as pd

from lib.sbs.base_calling import confident_reads, spell
from lib.sbs.base_quality import blended_bases, decoded_bases, fits, margins
from lib.sbs.calibration import BaseErrors, Curve, error_curve, phred
from lib.sbs.decoding import letters
from lib.sbs.decoys import least_distance, make_decoys, q_values
from lib.sbs.posterior import (
    Codebook,
    Decoded,
    Weights,
    decode,
    estimate_weights,
    sum_by_read,
    weigh,
)
from lib.sbs.read_sources import (
    Candidates,
    SourceLaw,
    estimate_sources,
    find_candidates,
    find_sources,
    likeliest,
)
from lib.sbs.reads import Sequencing, look_up
from lib.sbs.signal_model import (
    LEAST_READS,
    SignalModel,
    estimate_signal,
    likelihood,
    standard_errors,
)

SAMPLE = 40_000  # spots that the caller is fitted to, in whole tiles
TRAINING_FDR = 0.05  # of the decoded reads that the model is estimated from again
RARE = 0.1  # chance of a random sequence to be near a guide, up to which decoded reads can teach
FEW_GUIDES = 20  # up to which the first model is learnt from reads that look like guides
PHASED_GUIDES = 5  # of fewer, a neighbouring cycle's base cannot be told from crosstalk
BRIGHT = 0.9  # quantile of a channel's light at which it shines, before anything is learnt
PATTERN_ROUNDS = 3
SHOWN = 0.6  # share of cycles in which these show the guide's base
RECOMBINED = 0.95  # probability at which a read is said to be recombined, or not to be
# Log-odds of the model below which no read is accepted, whatever the decoys say: spots that are
# no reads are not spread as evenly over barcodes as decoys suppose.
LEAST_SCORE = -10.0
TRUSTED_SCORE = -5.0  # log-odds from which a read teaches the caller and speaks for a cell
CONFIDENT_SHARE = 0.25  # of the reads in cells, the brightest, which the model is first learnt from
LEAST_CONFIDENT = 500
SCORE_BIN = 2.0  # of the histogram of scores in the decoding table


@dataclass(frozen=True)
class PosteriorCaller:
    """A caller fitted to a well; `call_tile` uses it.

    q_curve, error : score of a read to its q-value and to the probability that it is wrong.
    base_errors : how often bases called without library are wrong.
    fdr : false discovery rate accepted.
    second, second_weights : for dual barcodes, the other part's barcodes, and how
        often it is the guide's own, another guide's, or none of the library.
    scores, is_decoy : (m,) log-odds of the sample's spots, and whether a decoy won them.
    errors : standard errors of crosstalk shares and phasing.
    reliability : (quality, bases, claimed error, observed error) of bases called without library.
    sample : spots that it was fitted to, by well.
    """

    sequencing: Sequencing
    library: pd.DataFrame
    model: SignalModel
    codebook: Codebook
    weights: Weights
    q_curve: Curve
    error: Curve
    base_errors: BaseErrors
    fdr: float
    second: Codebook | None
    second_weights: np.ndarray
    scores: np.ndarray
    is_decoy: np.ndarray
    errors: tuple[np.ndarray, np.ndarray]
    reliability: list[tuple[float, float, float, float]]
    sources: SourceLaw
    sample: dict[str, int]

    def read_error(self, score: np.ndarray, least: float = LEAST_SCORE) -> np.ndarray:
        """Probability that the best guide of a read is wrong.

        As decoys tell; where the model says that it is no read at all (log-odds below `least`),
        as the model does.
        """
        hopeless = 1 / (1 + np.exp(np.clip(score - least, -50, 50)))
        return np.maximum(self.error(score), hopeless)

    def trust(self, score: np.ndarray) -> np.ndarray:
        """Weight of a read in what is said of cells: a false read harms more there."""
        return 1 - self.read_error(score, TRUSTED_SCORE)

    def describe(self) -> str:
        """One line for the log."""
        model = self.model
        learnt = "the signal of" if model.reads >= LEAST_READS else "too few reads, only gains of"
        phased = "with" if (model.phasing != np.eye(len(model.phasing))).any() else "without"
        return (
            f"{learnt} {model.reads} reads, {phased} phasing; guides {self.weights.library:.3f}, "
            f"other sequences {self.weights.other:.3f}, no reads {self.weights.none:.3f} of spots; "
            f"sample of {sum(self.sample.values())} spots of {_wells(self.sample)}"
        )


def fit_caller(
    bases: pd.DataFrame,
    library: pd.DataFrame,
    sequencing: Sequencing,
    fdr: float = 0.01,
    phasing: str = "auto",
    seed: int = 0,
) -> PosteriorCaller:
    """Fit a caller to a sample of a well's spots; arguments as for `lib.sbs.reads.call_reads`.

    Parameters
    ----------
    fdr : share of false reads among those accepted.
    phasing : see `lib.sbs.signal_model.estimate_signal`.
    seed : of the decoys.
    """
    intensity = sequencing.intensities(bases, np.float64)
    peak = bases["peak"].to_numpy()
    codebook = make_codebook(library["barcode"], sequencing, sequencing.mapping, seed)
    first, known = _first_reads(intensity, _confident(bases), codebook, sequencing.encoding)
    if known is not None and len(codebook.codes) < PHASED_GUIDES:
        phasing = "off"
    encoding = sequencing.encoding
    model = estimate_signal(intensity[first], encoding, phasing, known)
    decoded, codebook, weights = _decode_sample(model, codebook, intensity)

    taught, known = _accepted(decoded, codebook, TRAINING_FDR), None
    if _chance(codebook) < RARE:
        known = _best_index(decoded, codebook)[taught]
    else:  # the brighter half of as many spots as there seem to be reads
        least = np.quantile(peak, 1 - weights.library / 2) if len(peak) else 0.0
        taught = peak >= least
    if taught.sum() >= LEAST_READS:
        phased = bool((model.phasing != np.eye(len(model.phasing))).any())
        model = estimate_signal(intensity[taught], encoding, "on" if phased else "off", known)
        decoded, codebook, weights = _decode_sample(model, codebook, intensity)

    is_decoy = decoded.best >= len(codebook.codes)
    won = decoded.best >= 0
    score, q = q_values(decoded.score[won], is_decoy[won], codebook.ratio)
    error = error_curve(decoded.score[won], is_decoy[won], codebook.ratio)
    sure, known = _accepted(decoded, codebook, fdr), _best_index(decoded, codebook)
    place = tuple(bases[name].to_numpy()[sure] for name in ("tile", "i", "j"))
    least = decoded.score[sure].min(initial=np.inf)
    guide = decoded.best[sure]
    spots = decoded_bases(decoded, codebook, error).and_also(
        blended_bases(model, codebook, weights, place, intensity[sure], guide, least, seed)
    )
    caller = PosteriorCaller(
        sequencing=sequencing,
        library=library,
        model=model,
        codebook=codebook,
        weights=weights,
        q_curve=Curve(score, q),
        error=error,
        base_errors=spots.errors(),
        fdr=fdr,
        second=None,
        second_weights=np.array([1.0, 0.0, 0.0]),
        scores=decoded.score[won].astype(np.float32),
        is_decoy=is_decoy[won],
        errors=standard_errors(model, intensity[sure], known[sure]),
        reliability=spots.reliability(),
        sources=SourceLaw(),
        sample=bases.groupby("well", observed=True).size().to_dict(),
    )
    caller = replace(caller, sources=_fit_sources(caller, bases, decoded))
    if sequencing.recombination is not None:
        caller = _fit_second(caller, intensity, seed)
    return caller


def spread(tiles: Sequence) -> list:
    """All `tiles` in an order that any first part of is spread evenly over them."""
    count = len(tiles)
    bits = max(count - 1, 1).bit_length()
    reverse = [int(f"{number:0{bits}b}"[::-1], 2) for number in range(2**bits)]
    return [tiles[number] for number in reverse if number < count]


def sample_tiles(tiles: Iterable[pd.DataFrame], most: int = SAMPLE) -> pd.DataFrame:
    """The first tables of bases that have `most` spots together, one below the other."""
    taken, spots = [], 0
    for tile in tiles:
        taken.append(tile)
        spots += len(tile)
        if spots >= most:
            break
    return pd.concat(taken, ignore_index=True)


def add_wells(sample: pd.DataFrame, others: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """`sample`, and tiles of `others` below it where it holds too few reads to learn from."""
    if _confident(sample).sum() >= LEAST_READS:
        return sample
    # Tiles of different wells may have one name.
    named = (tile.assign(tile=tile["well"] + " " + tile["tile"]) for tile in others)
    return sample_tiles(chain([sample], named))


def _wells(sample: dict[str, int]) -> str:
    return f"well{'s' * (len(sample) != 1)} {', '.join(sample)}" if sample else "no well"


def _confident(bases: pd.DataFrame) -> np.ndarray:
    """Spots (n,) that are reads if any are: the brightest, in cells where there are cells."""
    peak = bases["peak"].to_numpy()
    half = confident_reads(peak, bases["cell"].to_numpy() > 0)
    if half.sum() <= LEAST_CONFIDENT:
        return half
    share = max(CONFIDENT_SHARE, LEAST_CONFIDENT / len(bases))
    least = np.sort(peak[half])[::-1][min(int(2 * share * half.sum()), half.sum() - 1)]
    return half & (peak >= least)


def _first_reads(
    intensity: np.ndarray, confident: np.ndarray, codebook: Codebook, encoding: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads (m,) from which the model is first learnt, and their sequences (m, T) if known.

    They are called without a library, as that needs no guide to be right. With a few guides
    some base is so rare in some cycle that nothing tells its light: then the reads are those that
    show a guide in most of the cycles.
    """
    rows = np.flatnonzero(confident)
    if not 0 < len(codebook.codes) <= FEW_GUIDES or len(rows) < LEAST_READS:
        return rows, None
    own_channels = np.array_equal(encoding, np.eye(len(encoding)))
    index, agreed = (
        nearest_guides(intensity[rows], codebook.codes, codebook.places)
        if own_channels
        else nearest_patterns(intensity[rows], codebook.codes, codebook.places, encoding)
    )
    shown = agreed >= SHOWN
    if shown.sum() < LEAST_READS:
        return rows, None
    return rows[shown], index[shown]


def nearest_guides(
    intensity: np.ndarray, codes: np.ndarray, places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sequences (n, T) by the guide whose channels are brightest, before anything is learnt.

    Channels are divided by their brightness in reads of their base, which may not be had from all
    reads where guides are few. At cycles other than `places` the brightest channel
    is taken. Also returns the share (n,) of `places` where the guide's channel is the brightest.
    """
    scale = np.median(intensity, axis=(0, 1))
    level = np.log(intensity[:, places] + np.median(intensity))
    one_hot = np.eye(4)[codes].reshape(len(codes), -1)
    best = codes[(level.reshape(len(level), -1) @ one_hot.T).argmax(axis=1)]
    own = np.take_along_axis(intensity[:, places], best[..., None].astype(int), axis=2)[..., 0]
    for channel in np.unique(best):
        scale[channel] = np.median(own[best == channel])
    absent = np.setdiff1d(np.arange(len(scale)), best)
    scale[absent] = np.median(scale[np.unique(best)])
    index = (intensity / np.maximum(scale, 1e-9)).argmax(axis=2)
    agreed = (index[:, places] == best).mean(axis=1)
    index[:, places] = best
    return index, agreed


def nearest_patterns(
    intensity: np.ndarray, codes: np.ndarray, places: np.ndarray, encoding: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The same as `nearest_guides` where channels are fewer than bases, by `encoding` (B, C).

    The guide is the one whose pattern of light, times a brightness of the read, is nearest. What
    a channel shows when it shines is measured again with the guides found.
    """
    scale = np.maximum(np.quantile(intensity, BRIGHT, axis=(0, 1)), 1e-9)
    pattern = encoding[codes]
    power = np.maximum((pattern**2).sum(axis=(1, 2)), 1e-9)
    for _ in range(PATTERN_ROUNDS):
        relative = intensity / scale
        product = np.einsum("ntc,ktc->nk", relative[:, places], pattern)
        best = (product**2 / power).argmax(axis=1)
        amplitude = np.maximum(product[np.arange(len(best)), best] / power[best], 1e-9)
        light = relative / amplitude[:, None, None]
        for c, shines in enumerate(np.moveaxis(pattern[best] > 0, 2, 0)):
            level = np.median(light[:, places, c][shines]) if shines.any() else 1.0
            scale[c] *= max(level, 1e-9)
    index = ((light[:, :, None] - encoding) ** 2).sum(axis=3).argmin(axis=2)
    agreed = (index[:, places] == codes[best]).mean(axis=1)
    index[:, places] = codes[best]
    return index, agreed


def make_codebook(
    barcodes: pd.Series, sequencing: Sequencing, part: np.ndarray, seed: int
) -> Codebook:
    """Guides and decoys at those places of `part` (0-based barcode places) that were read."""
    read = [k for k, place in enumerate(part) if place in sequencing.positions]
    places = np.searchsorted(sequencing.positions, part[read])
    text = barcodes.to_numpy("U")
    order = np.array(["ACGT".index(base) for base in sequencing.bases])
    channel = np.argsort(order).astype(np.int8)
    codes = channel[letters(text)[:, read]] if len(text) else np.zeros((0, len(read)), np.int8)
    codes, first, row, copies = np.unique(
        codes, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    entry = np.where(copies == 1, first, -1)
    return Codebook(codes, entry, row.ravel(), make_decoys(codes, seed), places)


def _decode_sample(
    model: SignalModel, codebook: Codebook, intensity: np.ndarray
) -> tuple[Decoded, Codebook, Weights]:
    free, terms = weigh(model, codebook, intensity)
    weights, codebook = estimate_weights(terms, codebook)
    return decode(free, terms, codebook, weights), codebook, weights


def _accepted(decoded: Decoded, codebook: Codebook, fdr: float) -> np.ndarray:
    """Reads (n,) of guides that stay within `fdr` and are not against all odds."""
    is_decoy = decoded.best >= len(codebook.codes)
    won = decoded.best >= 0
    curve = Curve(*q_values(decoded.score[won], is_decoy[won], codebook.ratio))
    return won & ~is_decoy & (decoded.score > TRUSTED_SCORE) & (curve(decoded.score) <= fdr)


def _chance(codebook: Codebook) -> float:
    """Number of guides within one mismatch of a random sequence.

    Where it is large, spots that are no reads find guides, and a model that learnt from
    them would find more of them.
    """
    count, length = codebook.codes.shape
    return count * (1 + 3 * length) / 4.0**length


def _best_index(decoded: Decoded, codebook: Codebook) -> np.ndarray:
    """Bases (n, T) of the best barcode of each read, elsewhere those called without library."""
    index = decoded.free.index.copy()
    some = decoded.best >= 0
    rows = np.flatnonzero(some)
    if len(rows):
        index[rows[:, None], codebook.places] = codebook.all_codes()[decoded.best[rows]]
    return index


def _base_shares(decoded: Decoded, base_errors: BaseErrors) -> np.ndarray:
    """Probability (n, T, B) of each base if the best barcode is wrong."""
    gain = np.exp(decoded.free.gain.astype(np.float64))
    called = np.eye(4)[decoded.free.index].astype(bool)
    others = np.where(called, 0, gain)
    others /= np.maximum(others.sum(axis=2, keepdims=True), 1e-300)
    wrong = base_errors(margins(decoded), fits(decoded))[..., None]
    free = np.where(called, 1 - wrong, wrong * others)
    return decoded.rivals + decoded.unknown[:, None, None] * free


def call_tile(caller: PosteriorCaller, bases: pd.DataFrame) -> pd.DataFrame:
    """Reads table of one tile's spots; columns as `lib.sbs.reads.call_reads` gives, and

    `posterior` (probability that the guide `barcode_library` is right) and `q_value`
    (false discovery rate when every read as good as this one is accepted). `barcode` is that
    of the guide where the read is accepted, else as called without library, which is
    always in `barcode_free`. Q are phred: -10 log10 of the probability that the base is wrong.
    """
    sequencing, library, codebook = caller.sequencing, caller.library, caller.codebook
    bases = bases.reset_index(drop=True)
    intensity = sequencing.intensities(bases, np.float64)
    free, terms = weigh(caller.model, codebook, intensity)
    decoded = decode(free, terms, codebook, caller.weights)
    guide = (decoded.best >= 0) & (decoded.best < len(codebook.codes))
    posterior = np.where(guide, 1 - caller.read_error(decoded.score), 0.0)
    q_value = np.where(guide, caller.q_curve(decoded.score), 1.0)
    accepted = guide & (decoded.score > LEAST_SCORE) & (q_value <= caller.fdr)

    best = _best_index(decoded, codebook)
    index = np.where(accepted[:, None], best, free.index)
    shares = _base_shares(decoded, caller.base_errors)
    right = np.take_along_axis(shares, index[..., None].astype(np.int64), axis=2)[..., 0]
    wrong = (1 - posterior)[:, None] * (1 - right) + posterior[:, None] * (best != index)

    reads = bases[["plate", "well", "tile", "cell", "read", "i", "j"]].copy()
    reads["barcode"] = _spell(index, sequencing)
    quality = np.full((len(bases), sequencing.length), np.nan, np.float32)
    quality[:, sequencing.positions] = phred(np.clip(wrong, 0, 1))
    reads[[f"Q_{position}" for position in range(sequencing.length)]] = quality
    reads["Q_min"] = phred(np.clip(wrong, 0, 1).max(axis=1, initial=0.0))
    reads["peak"] = bases["peak"]
    entry = np.full(len(bases), -1)
    entry[guide] = codebook.entry[decoded.best[guide]]
    taken = np.where(accepted, entry, -1)
    reads["barcode_library"] = look_up(library["barcode"], entry)
    reads["sgRNA"] = look_up(library["sgRNA"], taken)
    reads["gene_symbol"] = look_up(library["gene_symbol"], taken)
    if "gene_id" in library:
        reads["gene_id"] = look_up(library["gene_id"], taken)
    mismatches = (free.index != best)[:, codebook.places].sum(axis=1)
    reads["mismatches"] = pd.arrays.IntegerArray(mismatches.astype("int8"), entry < 0)
    reads["barcode_free"] = _spell(free.index, sequencing)
    reads["posterior"] = posterior.astype(np.float32)
    reads["q_value"] = q_value.astype(np.float32)
    source_of = np.where(accepted, decoded.best, -1)
    found = _candidates(bases, codebook, source_of, caller.trust(decoded.score))
    sources = find_sources(found, caller.sources)
    source = likeliest(found, sources.chance)
    known = source >= 0
    cells = _cells(bases)
    place = np.zeros(len(bases), int)
    place[known] = found.rank[source[known]]
    reads["cell"] = cells[place, np.arange(len(bases))]
    evidence = sources.evidence[found.group]
    for name, values in (("p_cell", sources.chance), ("evidence", evidence)):
        column = np.full(len(bases), np.nan, np.float32)
        column[known] = values[source[known]]
        reads[name] = column
    if caller.second is not None:
        reads["recombined"], reads["p_recombined"] = _recombined(caller, intensity, taken)
    return reads


def _cells(bases: pd.DataFrame) -> np.ndarray:
    """Labels (1 + k, n) of the cell that each spot lies in, and of those near."""
    near = bases.filter(regex=r"^cell_near_\d+$").to_numpy().T
    return np.concatenate([bases["cell"].to_numpy()[None], near])


def _candidates(
    bases: pd.DataFrame, codebook: Codebook, guide: np.ndarray, trust: np.ndarray
) -> Candidates:
    """Cells that accepted reads, of row `guide` (n,) of the codebook, may come from."""
    distance = bases.filter(regex=r"^near_px_\d+$").to_numpy().T
    share = np.exp(codebook.log_prior()[: len(codebook.codes)])
    cells = _cells(bases)
    return find_candidates(bases["tile"].to_numpy(), cells, distance, guide, trust, share)


def _fit_sources(caller: PosteriorCaller, bases: pd.DataFrame, decoded: Decoded) -> SourceLaw:
    accepted = _accepted(decoded, caller.codebook, caller.fdr)
    guide = np.where(accepted, decoded.best, -1)
    trust = np.where(accepted, caller.trust(decoded.score), 0.0)
    cells = sum(len(np.setdiff1d(_cells(own), [0])) for _, own in bases.groupby("tile", sort=False))
    return estimate_sources(_candidates(bases, caller.codebook, guide, trust), cells)


def _spell(index: np.ndarray, sequencing: Sequencing) -> pd.array:
    barcodes = spell(index, sequencing.bases, sequencing.positions, sequencing.length)
    return pd.array(barcodes, dtype="str")


# Dual barcodes --------------------------------------------------------------------------------


def _fit_second(caller: PosteriorCaller, intensity: np.ndarray, seed: int) -> PosteriorCaller:
    """Add the second part's barcodes and how often it is the own one, another, or unknown."""
    sequencing = caller.sequencing
    second = make_codebook(
        caller.library["barcode_recombination"], sequencing, sequencing.recombination, seed
    )
    second = replace(second, decoys=second.decoys[:0])
    caller = replace(caller, second=second)
    free, terms = weigh(caller.model, caller.codebook, intensity)
    decoded = decode(free, terms, caller.codebook, caller.weights)
    good = _accepted(decoded, caller.codebook, caller.fdr)
    entry = np.full(len(intensity), -1)
    entry[good] = caller.codebook.entry[decoded.best[good]]
    logs = _second_terms(caller, intensity, entry)[entry >= 0]
    shares = np.array([0.8, 0.1, 0.1])
    for _ in range(20):
        joint = logs + np.log(shares)
        weight = np.exp(joint - np.logaddexp.reduce(joint, axis=1)[:, None])
        shares = (weight.sum(axis=0) + 1) / (len(logs) + 3)
    return replace(caller, second_weights=shares)


def _second_terms(caller: PosteriorCaller, intensity: np.ndarray, entry: np.ndarray) -> np.ndarray:
    """Log-likelihoods (n, 3) of the second part: the own guide's, another's, any sequence."""
    second = caller.second
    own = second.row[np.maximum(entry, 0)]
    free, terms = weigh(caller.model, second, intensity)
    # The own part is weighed even where it is not near.
    rows = np.concatenate([terms.rows, np.arange(len(intensity))])
    code = np.concatenate([terms.code, own])
    index = free.index[rows].copy()
    index[:, second.places] = second.codes[code]
    pair = likelihood(caller.model, intensity, index, rows, free.amplitude)
    is_own = code == own[rows]
    logs = np.full((len(intensity), 3), -np.inf)
    logs[:, 0] = pair[len(terms.rows) :]
    others = len(second.codes) - 1
    if others:
        away = ~is_own
        logs[:, 1] = sum_by_read(rows[away], pair[away], len(intensity)) - np.log(others)
    logs[:, 2] = terms.other
    return logs


def _recombined(
    caller: PosteriorCaller, intensity: np.ndarray, entry: np.ndarray
) -> tuple[pd.arrays.BooleanArray, np.ndarray]:
    """Whether the second part is another guide's, and how probable that is.

    Null where the first part is not mapped or the second not sure.
    """
    joint = _second_terms(caller, intensity, entry) + np.log(caller.second_weights)
    total = np.logaddexp.reduce(joint, axis=1) if len(joint) else np.zeros(0)
    own, other = (np.exp(joint[:, k] - total) for k in (0, 1))
    known = (entry >= 0) & (np.maximum(own, other) >= RECOMBINED)
    probability = np.where(entry >= 0, other, np.nan).astype(np.float32)
    return pd.arrays.BooleanArray(other > own, ~known), probability


# The table of estimates -----------------------------------------------------------------------


def signal_table(caller: PosteriorCaller, place: dict[str, str]) -> pd.DataFrame:
    """What the decoding of a well rests on.

    Columns `plate, well, parameter, cycle, from, to, value, error`.

    `crosstalk`: share of base `from` that shows in channel `to` of a cycle; none of a base that
    is dark in all channels. `signal`: light
    of base `from` in a cycle, relative to the mean over all. `phasing`: share of strands
    that show in `cycle` the base of cycle `from`. `scatter`: standard deviation of the
    logarithm of the intensity of channel `to`. `share`: of spots that are a guide, another
    sequence, or no read. `score`: number of spots won by guides or decoys (`from`) in a
    bin of scores (`to`). `quality_claimed`, `quality_observed`: mean error of the bases (their
    number is `from`) called without library at a quality of `to` and above, where the guide
    is sure.
    `reads`: that the model was estimated from. `sample`: spots of well `from` that the caller was
    fitted to. `error` is the standard error where known.
    """
    model, sequencing = caller.model, caller.sequencing
    bases, channels, cycles = sequencing.bases, sequencing.channels, list(sequencing.cycles)
    shines = sequencing.encoding.any(axis=1)
    total = model.mixing.sum(axis=1, keepdims=True)
    share = model.mixing / total
    level = total[:, 0] / total.mean()
    scatter = np.sqrt(model.scatter.shape.diagonal()).reshape(len(cycles), len(channels))
    rows = []

    def add(
        parameter: str,
        cycle: object = None,
        source: object = None,
        to: object = None,
        value: float = np.nan,
        error: float = np.nan,
    ) -> None:
        names = ("parameter", "cycle", "from", "to", "value", "error")
        rows.append(dict(zip(names, (parameter, cycle, source, to, value, error), strict=True)))

    for t, cycle in enumerate(cycles):
        for b, base in enumerate(bases):
            for c, channel in enumerate(channels if shines[b] else ()):
                add("crosstalk", cycle, base, channel, share[t, c, b], caller.errors[0][t, c, b])
            add("signal", cycle, base, None, level[t, b])
            if b < len(channels):
                add("scatter", cycle, None, channels[b], scatter[t, b])
        for u in np.flatnonzero(model.phasing[t]):
            add("phasing", cycle, cycles[u], None, model.phasing[t, u], caller.errors[1][t, u])
    for kind in ("library", "other", "none"):
        add("share", None, kind, None, getattr(caller.weights, kind))
    add("reads", None, None, None, model.reads)
    for well, spots in caller.sample.items():
        add("sample", None, well, None, spots)
    add("freedom", None, None, None, model.scatter.freedom)
    add("least_distance", None, None, None, least_distance(caller.codebook.codes))
    for kind, won in (("guide", ~caller.is_decoy), ("decoy", caller.is_decoy)):
        low = np.floor(caller.scores[won] / SCORE_BIN) * SCORE_BIN
        for edge, count in zip(*np.unique(low, return_counts=True), strict=True):
            add(
                "score", None, kind, edge, count * (caller.codebook.ratio if kind == "decoy" else 1)
            )
    for low, count, claimed, observed in caller.reliability:
        add("quality_claimed", None, round(count), low, claimed)
        spread = np.sqrt(observed / max(count, 1))
        add("quality_observed", None, round(count), low, observed, spread)
    table = pd.DataFrame(rows)
    for position, (key, value) in enumerate(place.items()):
        table.insert(position, key, value)
    return table
