"""The posterior caller on tables of bases whose truth is known."""

import numpy as np
import pandas as pd
import pytest
from synthetic_reads import (
    BASES,
    BRIGHT_COLOURS,
    BRIGHT_ENCODING,
    THREE_COLOURS,
    THREE_ENCODING,
    TWO_COLOURS,
    TWO_ENCODING,
    bases_table,
    intensities,
    library,
    phasing_operator,
    spell,
)

from lib.sbs.posterior_caller import (
    add_wells,
    call_tile,
    fit_caller,
    nearest_guides,
    nearest_patterns,
    sample_tiles,
    signal_table,
    spread,
)
from lib.sbs.reads import Sequencing, call_reads

CYCLES = 10
PLAN = Sequencing.plan(range(1, CYCLES + 1), list(BASES))


@pytest.fixture(scope="module")
def screen():
    """2400 spots on three tiles: reads of 60 guides, a sixth of other sequences."""
    rng = np.random.default_rng(0)
    codes = np.unique(rng.integers(0, 4, (60, CYCLES)), axis=0)
    sequences = codes[rng.integers(0, len(codes), 2400)]
    sequences[::6] = rng.integers(0, 4, (400, CYCLES))
    light = intensities(rng, sequences, phasing_operator(CYCLES, 0.05, 0.01))
    bases = bases_table(light, tile=np.repeat(["0", "1", "2"], 800))
    return codes, sequences, bases, fit_caller(bases, library(codes), PLAN)


@pytest.fixture(scope="module")
def reads(screen):
    return call_tile(screen[3], screen[2])


def test_true_error_of_accepted_reads_is_below_the_one_asked(screen, reads):
    truth = spell(screen[1])
    accepted = reads["sgRNA"].notna().to_numpy()
    assert accepted.mean() > 0.8
    assert (reads["barcode"].to_numpy("U") == truth)[accepted].mean() > 0.985
    assert (reads["sgRNA"] == truth)[accepted].mean() > 0.985
    assert (reads.loc[accepted, "q_value"] <= 0.01).all()
    assert (reads.loc[accepted, "barcode"] == reads.loc[accepted, "barcode_library"]).all()


@pytest.mark.parametrize("level", [6, 12, 25])
def test_faint_background_is_no_guide(level):
    """What stays the same through all cycles, or is lost in noise, has no sequence."""
    rng = np.random.default_rng(0)
    codes = np.unique(rng.integers(0, 4, (60, CYCLES)), axis=0)
    light = intensities(rng, codes[rng.integers(0, len(codes), 1500)])
    glow = level * rng.lognormal(0, 0.3, (1000, 1, 1)) * np.array([1, 0.2, 0.8, 0.1])
    glow = glow * rng.lognormal(0, 0.1, (1000, CYCLES, 4))
    glow = np.abs(glow + 12 * rng.standard_normal(glow.shape))
    spots = bases_table(np.concatenate([light, glow])).sample(frac=1, random_state=0)
    reads = call_tile(fit_caller(spots, library(codes), PLAN), spots)

    accepted = reads["sgRNA"].notna().to_numpy()
    is_read = spots["read"].to_numpy() < 1500
    assert accepted[is_read].mean() > 0.99
    assert (~is_read[accepted]).mean() <= 0.01


def test_more_reads_are_right_than_by_the_classic_caller(screen, reads):
    codes, sequences, bases, _ = screen
    classic, _ = call_reads(bases, library(codes), PLAN, "median")
    truth = spell(sequences)
    exact = [(table["barcode"] == truth).mean() for table in (reads, classic)]
    assert exact[0] > 0.97 and exact[1] < exact[0] - 0.1


def test_claimed_errors_are_those_observed(screen, reads):
    truth = np.array([list(word) for word in spell(screen[1])])
    called = np.array([list(word) for word in reads["barcode"]])
    quality = reads[[f"Q_{t}" for t in range(CYCLES)]].to_numpy(float)
    claimed = 10 ** (-quality / 10)
    unsure = (quality >= 5) & (quality < 30)
    wrong = (truth != called)[unsure]
    spread_of_counts = 3 * np.sqrt(claimed[unsure].sum())
    assert abs(wrong.sum() - claimed[unsure].sum()) < spread_of_counts + 0.5 * claimed[unsure].sum()
    accepted = reads["sgRNA"].notna()
    assert (1 - reads.loc[accepted, "posterior"]).mean() < 0.01
    assert reads["Q_min"].to_numpy() == pytest.approx(quality.min(axis=1))


def test_tile_by_tile_equals_all_at_once(screen, reads):
    pieces = [call_tile(screen[3], tile) for _, tile in screen[2].groupby("tile")]
    pd.testing.assert_frame_equal(pd.concat(pieces, ignore_index=True), reads)


def test_columns_stay_without_reads(screen, reads):
    empty = call_tile(screen[3], screen[2][:0])
    pd.testing.assert_series_equal(empty.dtypes, reads.dtypes)
    nothing = fit_caller(screen[2][:0], library(screen[0]), PLAN)
    assert len(call_tile(nothing, screen[2][:0])) == 0
    assert "too few reads" in nothing.describe()


def test_few_reads_are_called_with_a_plain_model(screen):
    codes, _, bases, _ = screen
    few = bases[1:30].reset_index(drop=True)
    called = call_tile(fit_caller(few, library(codes), PLAN), few)
    assert len(called) == 29 and np.isfinite(called["Q_min"]).all()


def test_guides_that_differ_in_one_base_are_told_apart():
    rng = np.random.default_rng(5)
    codes = np.unique(rng.integers(0, 4, (40, CYCLES)), axis=0)
    twins = codes.copy()
    twins[:, 4] = (twins[:, 4] + 1) % 4
    codes = np.concatenate([codes, twins])
    sequences = codes[rng.integers(0, len(codes), 900)]
    bases = bases_table(intensities(rng, sequences, phasing_operator(CYCLES, 0.02, 0.01)))
    called = call_tile(fit_caller(bases, library(codes), PLAN), bases)
    accepted = called["sgRNA"].notna().to_numpy()
    assert accepted.mean() > 0.95
    assert (called["sgRNA"] == spell(sequences))[accepted].mean() > 0.985


@pytest.mark.parametrize("guides", [1, 2, 4])
def test_libraries_of_a_few_guides(guides):
    rng = np.random.default_rng(guides)
    codes = rng.integers(0, 4, (guides, CYCLES))
    sequences = codes[rng.integers(0, guides, 600)]
    sequences[::6] = rng.integers(0, 4, (100, CYCLES))
    bases = bases_table(intensities(rng, sequences, phasing_operator(CYCLES, 0.03, 0.01)))
    called = call_tile(fit_caller(bases, library(codes), PLAN), bases)
    own = np.isin(spell(sequences), spell(codes))
    accepted = called["sgRNA"].notna().to_numpy()
    assert accepted[own].mean() > 0.98
    assert (called["sgRNA"] == spell(sequences))[accepted].mean() > 0.985
    assert (called["barcode_free"] == spell(sequences))[own].mean() > 0.95


def test_the_table_says_of_how_few_reads_the_model_was_learnt(screen):
    codes, _, bases, _ = screen
    few = bases[:20].reset_index(drop=True)
    caller = fit_caller(few, library(codes), PLAN)
    table = signal_table(caller, {"plate": "1", "well": "A1"})
    assert table.loc[table["parameter"] == "reads", "value"].tolist() == [20]
    assert "too few reads, only gains of 20" in caller.describe()


def test_a_well_of_few_reads_learns_from_other_wells(screen):
    codes, sequences, bases, _ = screen
    few = bases[:30].reset_index(drop=True)
    others = bases.assign(well="B2")
    sample = add_wells(few, iter([others[:800], others[800:]]))
    assert len(sample) == 30 + len(bases)
    assert set(sample.loc[sample["well"] == "B2", "tile"]) == {"B2 0", "B2 1", "B2 2"}
    caller = fit_caller(sample, library(codes), PLAN)
    called = call_tile(caller, few)
    own = np.isin(spell(sequences[:30]), spell(codes))
    assert (called["sgRNA"] == spell(sequences[:30]))[own].mean() > 0.9
    assert "wells A1, B2" in caller.describe() and "too few" not in caller.describe()
    table = signal_table(caller, {"plate": "1", "well": "A1"}).set_index("from")
    spots = table.loc[table["parameter"] == "sample", "value"]
    assert spots.to_dict() == {"A1": 30, "B2": len(bases)}


def test_a_well_of_enough_reads_reads_no_other(screen):
    def never():
        raise AssertionError("read")
        yield

    assert add_wells(screen[2], never()) is screen[2]


def test_sampled_tiles_are_spread_evenly():
    assert spread(list("abcdefgh"))[:4] == ["a", "e", "c", "g"]
    for count in (1, 2, 5, 300):
        assert sorted(spread(range(count))) == list(range(count))
    tiles = (pd.DataFrame({"a": range(10)}) for _ in range(5))
    assert len(sample_tiles(tiles, most=25)) == 30


def test_failed_cycles_are_n_and_reads_are_decoded_without_them(screen):
    codes, sequences, bases, _ = screen
    cycles = [c for c in range(1, CYCLES + 1) if c != 4]
    plan = Sequencing.plan(cycles, list(BASES), failed_cycles=[4])
    guides = library(codes)
    guides["barcode"] = [f"{code[:3]}N{code[4:]}" for code in guides["barcode"]]
    called = call_tile(fit_caller(bases, guides, plan), bases)
    assert (called["barcode"].str[3] == "N").all() and called["Q_3"].isna().all()
    accepted = called["sgRNA"].notna().to_numpy()
    assert accepted.mean() > 0.75
    assert (called["sgRNA"] == spell(sequences))[accepted].mean() > 0.98


def test_a_cycle_that_failed_unnoticed_does_little_harm(screen):
    codes, sequences, bases, _ = screen
    spoilt = bases.copy()
    noise = np.random.default_rng(3).lognormal(4, 0.7, (len(bases), 4))
    spoilt[[f"{base}_6" for base in BASES]] = noise.astype(np.float32)
    called = call_tile(fit_caller(spoilt, library(codes), PLAN), spoilt)
    accepted = called["sgRNA"].notna().to_numpy()
    assert accepted.mean() > 0.7
    assert (called["sgRNA"] == spell(sequences))[accepted].mean() > 0.98


def test_guides_that_share_a_barcode_are_not_told_apart(screen):
    codes, _, bases, _ = screen
    guides = pd.concat([library(codes), library(codes[:1]).assign(sgRNA="twin")])
    guides = guides.reset_index(drop=True)
    called = call_tile(fit_caller(bases, guides, PLAN), bases)
    shared = guides["barcode"].iloc[0]
    assert called.loc[called["barcode_free"] == shared, "sgRNA"].isna().all()
    assert (called["sgRNA"] != "twin").all()


def test_dual_barcodes():
    rng = np.random.default_rng(4)
    first = np.unique(rng.integers(0, 4, (40, 6)), axis=0)
    second = rng.integers(0, 4, (len(first), 4))
    guide = rng.integers(0, len(first), 1500)
    other = np.where(np.arange(1500) % 5 == 0, rng.integers(0, len(first), 1500), guide)
    light = intensities(rng, np.hstack([first[guide], second[other]]))
    plan = Sequencing.plan(
        range(1, 11), list(BASES), mapping_cycles=range(1, 7), recombination_cycles=range(7, 11)
    )
    guides = library(first).assign(barcode_recombination=spell(second))
    bases = bases_table(light)
    called = call_tile(fit_caller(bases, guides, plan), bases)
    assert called["sgRNA"].notna().mean() > 0.95
    known = called["recombined"].notna().to_numpy()
    truth = (second[guide] != second[other]).any(axis=1)
    assert known.mean() > 0.9
    found = called["recombined"].fillna(False).to_numpy(bool)
    assert (found == truth)[known].mean() > 0.98
    assert called.loc[known & truth, "p_recombined"].mean() > 0.95


def test_table_of_estimates(screen):
    table = signal_table(screen[3], {"plate": "1", "well": "A1"})
    assert list(table.columns[:3]) == ["plate", "well", "parameter"]
    crosstalk = table[table["parameter"] == "crosstalk"]
    assert crosstalk.groupby(["cycle", "from"])["value"].sum().to_numpy() == pytest.approx(1)
    matrix = crosstalk.pivot_table("value", "to", "from")
    assert matrix.loc[list(BASES), list(BASES)].to_numpy().diagonal().min() > 0.4
    phasing = table[table["parameter"] == "phasing"]
    assert phasing.groupby("cycle")["value"].sum().to_numpy() == pytest.approx(1)
    assert (phasing["error"] >= 0).all()
    score = table[table["parameter"] == "score"]
    assert set(score["from"]) == {"guide", "decoy"}


def test_nearest_guides_by_hand():
    # Channel 1 is ten times as bright as channel 0; channels 2 and 3 are in no guide.
    codes = np.array([[0, 0, 1], [1, 1, 0]])
    light = np.full((4, 3, 4), 1.0)
    for read, sequence in enumerate([[0, 0, 1], [0, 0, 1], [1, 1, 0], [1, 2, 0]]):
        light[read, np.arange(3), sequence] = np.array([10.0, 100.0, 50.0, 50.0])[sequence]
    index, agreed = nearest_guides(light, codes, np.arange(3))
    assert index.tolist() == [[0, 0, 1], [0, 0, 1], [1, 1, 0], [1, 1, 0]]
    assert agreed == pytest.approx([1, 1, 1, 2 / 3])
    # A cycle that is no part of the barcode shows its brightest channel.
    index, agreed = nearest_guides(light, codes[:, :2], np.arange(2))
    assert index[:, 2].tolist() == [1, 1, 0, 0]


# Fewer colours than bases ---------------------------------------------------------------------

CHEMISTRIES = {
    "two": (TWO_COLOURS, TWO_ENCODING),
    "three": (THREE_COLOURS, THREE_ENCODING),
    "three, no base dark": (BRIGHT_COLOURS, BRIGHT_ENCODING),
}


def coloured(sequences, mixing, encoding, rng, phasing=None):
    """Plan and bases table of reads of sequences (n, T), in the channels of a chemistry."""
    plan = Sequencing.plan(range(1, CYCLES + 1), list(BASES), base_encoding=encoding)
    return plan, bases_table(intensities(rng, sequences, phasing, mixing), channels=plan.channels)


@pytest.mark.parametrize(("mixing", "encoding"), CHEMISTRIES.values(), ids=CHEMISTRIES)
def test_reads_of_fewer_colours_are_decoded(mixing, encoding):
    """A sixth of the reads are of no guide, and phasing blurs them all."""
    rng = np.random.default_rng(2)
    codes = np.unique(rng.integers(0, 4, (60, CYCLES)), axis=0)
    sequences = codes[rng.integers(0, len(codes), 1800)]
    sequences[::6] = rng.integers(0, 4, (300, CYCLES))
    phasing = phasing_operator(CYCLES, 0.02, 0.01)
    plan, bases = coloured(sequences, mixing, encoding, rng, phasing)
    caller = fit_caller(bases, library(codes), plan)
    reads = call_tile(caller, bases)
    truth = spell(sequences)
    accepted = reads["sgRNA"].notna().to_numpy()
    of_guide = np.arange(len(truth)) % 6 > 0
    assert accepted[of_guide].mean() > 0.97
    assert (reads["sgRNA"] != truth)[accepted].mean() < 0.01
    assert (reads["barcode_free"] == truth).mean() > 0.85

    table = signal_table(caller, {"plate": "1", "well": "A1"})
    crosstalk = table[table["parameter"] == "crosstalk"].pivot_table("value", "to", "from")
    assert set(crosstalk) == {base for base, shown in encoding.items() if shown}
    shares = mixing / np.maximum(mixing.sum(axis=0), 1e-9)
    expected = pd.DataFrame(shares, index=plan.channels, columns=list(BASES))
    difference = crosstalk - expected.loc[crosstalk.index, crosstalk.columns]
    assert np.abs(difference.to_numpy()).max() < 0.1
    assert table[table["parameter"] == "scatter"]["to"].value_counts().to_dict() == dict.fromkeys(
        plan.channels, CYCLES
    )


@pytest.mark.parametrize(("guides", "seed"), [(1, 1), (2, 0)])
def test_few_guides_in_two_colours(guides, seed):
    """A base that hardly any guide shows in a cycle cannot be learnt without the library."""
    rng = np.random.default_rng(seed)
    codes = np.unique(rng.integers(0, 4, (guides, CYCLES)), axis=0)
    sequences = codes[rng.integers(0, len(codes), 800)]
    sequences[::4] = rng.integers(0, 4, (200, CYCLES))
    phasing = phasing_operator(CYCLES, 0.02, 0.01)
    plan, bases = coloured(sequences, TWO_COLOURS, TWO_ENCODING, rng, phasing)
    reads = call_tile(fit_caller(bases, library(codes), plan), bases)
    accepted = reads["sgRNA"].notna().to_numpy()
    assert accepted[np.arange(800) % 4 > 0].mean() > 0.93
    assert (reads["sgRNA"] != spell(sequences))[accepted].mean() < 0.015


def test_nearest_patterns_by_hand():
    # GREEN is ten times as bright as RED; guides TGA and CAG.
    encoding = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    codes = np.array([[1, 0, 2], [3, 2, 0]])
    shown = (
        encoding[codes[[0, 1, 1]]] * np.array([100.0, 10.0]) * np.array([1, 2, 0.5])[:, None, None]
    )
    shown[2, 0] = [50.0, 0.0]  # T instead of C
    index, agreed = nearest_patterns(shown + 0.1, codes, np.arange(3), encoding)
    assert index.tolist() == [[1, 0, 2], [3, 2, 0], [3, 2, 0]]
    assert agreed == pytest.approx([1, 1, 2 / 3])
    # A cycle that is no part of the barcode is called by itself.
    index, _ = nearest_patterns(shown + 0.1, codes[:, 1:], np.array([1, 2]), encoding)
    assert index[:, 0].tolist() == [1, 3, 1]


def test_an_encoding_of_one_channel_each_changes_nothing(screen, reads):
    named = {base: [base] for base in BASES}
    plan = Sequencing.plan(range(1, CYCLES + 1), list(BASES), base_encoding=named)
    again = call_tile(fit_caller(screen[2], library(screen[0]), plan), screen[2])
    pd.testing.assert_frame_equal(again, reads, check_exact=True)
    # Nor do other names of the channels.
    dyes = dict(zip(BASES, (["Cy3"], ["AF594"], ["Cy5"], ["Cy7"]), strict=True))
    plan = Sequencing.plan(range(1, CYCLES + 1), list(BASES), base_encoding=dyes)
    spots = screen[2].rename(
        columns={f"{b}_{t}": f"{dyes[b][0]}_{t}" for b in BASES for t in range(1, CYCLES + 1)}
    )
    again, _ = call_reads(spots, library(screen[0]), plan, "median")
    assert (
        again["barcode"].tolist()
        == call_reads(screen[2], library(screen[0]), PLAN)[0]["barcode"].tolist()
    )
