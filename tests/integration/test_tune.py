"""The parameter aid on a small simulated screen that no workflow has run on."""

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from lib.sbs.alignment import alignment_table, apply_alignment, estimate_alignment
from lib.shared import layout
from lib.shared.image_io import read_image, write_image
from lib.shared.tables import read_table, write_table
from lib.simulate.parameters import PHENOTYPE_CHANNELS, PRESETS, SBS_CHANNELS
from lib.simulate.screen import simulate_screen
from lib.tune import __main__ as tune

CYCLES = [1, 2, 3, 4, 5]
PARAMETERS = replace(PRESETS["tiny"], tiles=2, cycles=len(CYCLES), guides=12, seed=1)
DIAMETER = 19  # px, of a simulated nucleus on the sequencing images


@pytest.fixture(scope="module")
def raw_screen(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tune")
    with contextlib.chdir(folder):  # paths in the config stay relative
        simulate_screen(".", PARAMETERS)
    return folder


@pytest.fixture
def screen(tmp_path, raw_screen, monkeypatch) -> Path:
    """The screen, in a folder of the test's own that is the working directory."""
    folder = Path(shutil.copytree(raw_screen, tmp_path / "screen"))
    monkeypatch.chdir(folder)
    return folder


def run(*arguments: str) -> None:
    assert tune.main([*arguments, "--config", "config.yml"]) == 0


def table_of(name: str, folder: str = "results/tune") -> pd.DataFrame:
    return read_table(f"{folder}/{name}.tsv")


def by_setting(table: pd.DataFrame, key: str) -> dict[str, int]:
    """Rank of each value of a key."""
    return dict(zip(table[key].astype(str), table["rank"], strict=True))


def configure(module: str, **keys: object) -> None:
    path = Path("config.yml")
    config = yaml.safe_load(path.read_text())
    config[module] |= keys
    path.write_text(yaml.safe_dump(config))


def raw_stack(tile: str) -> np.ndarray:
    paths = [f"raw/sbs/P-1_W-A1_T-{tile}_C-{cycle}.tif" for cycle in CYCLES]
    return np.stack([read_image(path) for path in paths])


def checkpoint(stage: str, module: dict, tile: str, **wildcards: object) -> list[str]:
    place = {"plate": "1", "well": "A1", "tile": tile} | wildcards
    return [f"results/{template.format(**place)}" for template in module[stage]]


def test_the_true_size_ranks_above_a_wrong_configured_one(screen, monkeypatch, capsys):
    configure("sbs", segmentation={"nucleus_diameter_px": 60})
    figures = []
    write = tune.write_figure

    def keep(path, figure, dpi):
        figures.append(figure)
        write(path, figure, dpi)

    monkeypatch.setattr(tune, "write_figure", keep)
    run("segmentation", "--grid", f"nucleus_diameter_px=6,{DIAMETER},60")

    table = table_of("sbs_segmentation")
    ranks = by_setting(table, "nucleus_diameter_px")
    assert ranks.keys() == {str(DIAMETER), "6", "60"} and ranks[str(DIAMETER)] == 1
    truth = read_table("truth/tile_cells.parquet")
    truth = truth[(truth["module"] == "sbs") & (truth["nucleus_area"] > 0)]
    true = truth.groupby("tile").size()
    best = table[table["rank"] == 1].set_index("tile")["nuclei"]
    assert (best / true).between(0.85, 1.15).all()
    assert table["configured"].tolist() == [False, False, True] * 2
    assert (table.loc[table["configured"], "f1_configured_nuclei"] == 1).all()

    assert [len(figure.axes) for figure in figures] == [2 * 3]
    drawn = [text.get_text() for text in figures[0].axes[0].texts]
    assert any(text.startswith(f"{table['nuclei'][0]} nuclei") for text in drawn)
    assert Path("results/tune/sbs_segmentation.png").stat().st_size > 10_000
    said = capsys.readouterr().out
    lines = yaml.safe_load(said[said.index("#") :])
    assert lines == {"sbs": {"segmentation": {"nucleus_diameter_px": DIAMETER}}}


def test_tables_do_not_depend_on_the_number_of_processes(screen):
    chosen = ["--tiles", "1/A1/1", "1/A1/0", "--grid", "reconcile=consensus,contained"]
    run("segmentation", *chosen, "--out", "one")
    run("segmentation", *chosen, "--out", "two", "--jobs", "2")

    assert table_of("sbs_segmentation", "one")["tile"].tolist() == ["1", "1", "0", "0"]
    for name in ("sbs_segmentation.tsv", "sbs_segmentation.png"):
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes()


def test_phenotype_tiles_are_tuned_without_a_grid_and_from_their_checkpoint(screen):
    run("segmentation", "--module", "phenotype", "--count", "1")
    table = table_of("phenotype_segmentation")
    assert len(table) == 9
    assert (table["nuclei"] > 0).all()
    assert table["diameter_used_px"].between(25, 60).sum() >= 3  # where it is not given

    aligned, shifts = checkpoint("align_phenotype", layout.PHENOTYPE, table["tile"][0])
    blank = np.zeros((len(PHENOTYPE_CHANNELS), 64, 64), np.uint16)
    write_image(aligned, blank, "CYX", channel_names=PHENOTYPE_CHANNELS)
    write_table(shifts, {"dy": [0.0]})
    run("segmentation", "--module", "phenotype", "--count", "1", "--grid", "expansion_px=3")
    assert (table_of("phenotype_segmentation")["nuclei"] == 0).all()


def test_a_threshold_of_noise_and_one_of_few_reads_rank_low(screen):
    run("spots", "--grid", "spot_threshold=0.6,2,20")

    table = table_of("spots")
    assert by_setting(table, "spot_threshold") == {"auto": 1, "2": 2, "0.6": 3, "20": 4}
    for _, tile in table.groupby("tile"):
        tile = tile.set_index("spot_threshold")
        assert tile["candidates"].loc[["0.6", "auto", "2", "20"]].is_monotonic_decreasing
        assert tile["on_codebook_median"]["0.6"] < 0.3 < 0.8 < tile["on_codebook_median"]["2"]
        assert tile["threshold"]["2"] == 2
    assert table["chance"].unique() == pytest.approx([12 / 4 ** len(CYCLES)], abs=1e-4)


def test_spots_in_phenotype_cells_lie_side_by_side_without_a_rank(screen, capsys):
    arguments = ("spots", "--module", "phenotype", "--count", "1")
    assert tune.main([*arguments, "--config", "config.yml"]) == 1
    assert "phenotype.secondary_objects.channel is null" in capsys.readouterr().err
    assert not Path("results").exists()

    configure("phenotype", secondary_objects={"channel": "WGA", "diameter_px": 6})
    run(*arguments, "--grid", "deviations=3,6,60")

    assert "# Nothing ranks the settings" in capsys.readouterr().out
    table = table_of("phenotype_spots")
    assert table["configured"].tolist() == [False, True, False]
    assert (table["rank"] == 0).all() and table["score"].isna().all()
    assert (table["cells"] > 5).all()
    few, usual, many = sorted(table["objects"])
    assert table["objects"].tolist() == [many, usual, few]
    assert few < usual < many
    np.testing.assert_allclose(
        table["objects_per_cell"], table["objects"] / table["cells"], atol=1e-4
    )
    assert Path("results/tune/phenotype_spots.png").stat().st_size > 10_000


def test_aligned_images_of_a_run_give_the_same_spots(screen):
    arguments = ("spots", "--tiles", "1/A1/0", "--grid", "spot_threshold=2")
    run(*arguments, "--out", "raw")

    stack = raw_stack("0")
    alignment = estimate_alignment(stack, [1, 2, 3, 4], 0)
    image, shifts = checkpoint("align_sbs", layout.SBS, "0")
    aligned = apply_alignment(stack, alignment.offsets, alignment.turns)
    write_image(image, aligned, "TCYX", channel_names=SBS_CHANNELS)
    write_table(shifts, alignment_table(alignment, CYCLES, SBS_CHANNELS, 0.5))
    shutil.rmtree("raw/sbs")
    configure("sbs", illumination_correction=False)  # which needs raw files of the well
    run(*arguments)

    first, second = table_of("spots", "raw"), table_of("spots")
    columns = ["candidates", "on_codebook_median", "score"]
    assert (second[columns] > 0).all(axis=None)
    pd.testing.assert_frame_equal(second[columns], first[columns], rtol=0.02)


def test_an_aligned_image_of_other_cycles_is_not_used(screen, capsys):
    image, shifts = checkpoint("align_sbs", layout.SBS, "0")
    write_image(image, np.zeros((2, 5, 8, 8), np.uint16), "TCYX", channel_names=SBS_CHANNELS)
    write_table(shifts, {"dy": [0.0]})

    run("segmentation", "--tiles", "1/A1/0", "--grid", "remove_border=false,true")

    assert (
        "is not used: it has planes (2, 5), and the config asks for (5, 5)"
        in capsys.readouterr().err
    )
    table = table_of("sbs_segmentation").set_index("remove_border")
    assert table["cells"][True] < table["cells"][False]
    assert table["share_touching_border"][True] == 0 < table["share_touching_border"][False]


def test_the_field_of_a_run_is_divided_out(screen):
    arguments = ("spots", "--tiles", "1/A1/0", "--grid", "spot_threshold=2")
    size = PARAMETERS.tile_size
    (path,) = checkpoint("calculate_ic_sbs", layout.PREPROCESS, "0", cycle=1)
    field = np.full((len(SBS_CHANNELS), size, size), 2, np.float32)
    write_image(path, field, "CYX", channel_names=SBS_CHANNELS)
    run(*arguments, "--out", "field")
    configure("sbs", illumination_correction=False)
    run(*arguments, "--out", "none")

    noise = [table_of("spots", folder)["noise_G"] for folder in ("field", "none")]
    assert noise[0].to_numpy() == pytest.approx(noise[1].to_numpy() / 2, rel=1e-3)


def test_cycles_without_nuclear_stain_are_segmented(screen):
    for path in Path("raw/sbs").glob("*_C-[35].tif"):
        write_image(path, read_image(path)[1:], "CYX", channel_names=SBS_CHANNELS[1:])
    configure("sbs", no_dapi_cycles=[3, 5])

    run("segmentation", "--tiles", "1/A1/0", "--grid", f"nucleus_diameter_px={DIAMETER}")

    assert (table_of("sbs_segmentation")["nuclei"] > 40).all()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--tiles", "1/A1/9"], "well A1 of plate 1 has the tiles 0, 1."),
        (["--tiles", "1/A1"], "write a tile as plate/well/tile"),
        (["--tiles", "2/A1/0"], "has no plate 2"),
        (["--grid", "nucleus_diamter_px=3"], "did you mean sbs.segmentation.nucleus_diameter_px?"),
        (["--grid", "method=watershed,cellpose"], "which is not installed"),
        (["--tiles", "1/A1/0"], "P-1_W-A1_T-0_C-3.tif"),
    ],
)
def test_bad_input_gets_one_sentence(screen, monkeypatch, capsys, arguments, sentence):
    monkeypatch.setattr("lib.shared.inputs.find_spec", lambda name: None)
    Path("raw/sbs/P-1_W-A1_T-0_C-3.tif").unlink()

    assert tune.main(["segmentation", "--config", "config.yml", *arguments]) == 1

    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not Path("results").exists()
