"""Wrong inputs through the real command line: one clear sentence, and the rest goes on.

What a function call can show is in tests/unit; here only what a user sees.
"""

import pytest
import tifffile

from lib.shared.image_io import read_image

from .conftest import DATA, TINY, Screen, made_by


def missing_raw_file(screen: Screen) -> None:
    (screen.folder / "raw/sbs/P-1_W-B2_T-1_C-2.tif").unlink()


def repeated_row(screen: Screen) -> None:
    screen.edit("sbs_samples.tsv", lambda lines: [*lines, lines[1]])


def unknown_key(screen: Screen) -> None:
    screen.configure(sbs={"spot_treshold": 3})


def forgotten_channel(screen: Screen) -> None:
    screen.configure(sbs={"channel_names": ["DAPI", "CY5", "G", "T", "A", "C"]})


def empty_library(screen: Screen) -> None:
    screen.edit("barcode_library.tsv", lambda lines: lines[:1])


def short_barcode(screen: Screen) -> None:
    screen.edit("barcode_library.tsv", lambda _: ["sgRNA\tgene_symbol\n", "ACG\tTP53\n"])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (missing_raw_file, ["sbs_samples.tsv", "row", "raw/sbs/P-1_W-B2_T-1_C-2.tif"]),
        (repeated_row, ["sbs_samples.tsv", "rows 2 and"]),
        (unknown_key, ["sbs.spot_treshold", "did you mean", "spot_threshold"]),
        (
            forgotten_channel,
            [
                "raw/sbs/P-1_W-A1_T-0_C-1.tif (sbs_samples.tsv, plate 1, well A1, tile 0, cycle 1)",
                "holds 5",
                "6 are expected (DAPI, CY5, G, T, A, C)",
                "channel_names",
            ],
        ),
        (empty_library, ["barcode_library.tsv", "no rows"]),
        (short_barcode, ["barcode_library.tsv", "row 2", f"the {TINY.cycles} sequenced cycles"]),
    ],
)
def test_what_is_wrong_is_said_before_any_job_starts(screen, spoil, words):
    spoil(screen)
    said = screen.refusal(*DATA)
    sentences = [line for line in said.splitlines() if line.startswith("Error: ")]
    assert len(sentences) == 1, said
    assert [word for word in words if word not in sentences[0]] == [], said


def test_raw_files_that_only_their_job_can_judge_spoil_their_tiles_alone(screen):
    truncated, two_channels = (
        screen.folder / f"raw/sbs/P-1_W-A1_T-{tile}_C-2.tif" for tile in (0, 1)
    )
    whole = {path: path.read_bytes() for path in (truncated, two_channels)}
    truncated.write_bytes(whole[truncated][: len(whole[truncated]) // 2])
    tifffile.imwrite(two_channels, tifffile.imread(two_channels)[:2], photometric="minisblack")

    done = screen.call(*DATA, "--cores", "2")
    assert done.returncode != 0
    assert "Traceback" not in done.stdout, done.stdout
    for tile, path in enumerate((truncated, two_channels)):
        place = f"sbs_samples.tsv, plate 1, well A1, tile {tile}, cycle 2"
        name = str(path.relative_to(screen.folder))
        said = [line for line in done.stdout.splitlines() if name in line and place in line]
        assert said, done.stdout
        log = screen.results / f"logs/convert_sbs/P-1_W-A1_T-{tile}.log"
        assert name in log.read_text()
        assert not list(screen.results.glob(f"preprocess/images/sbs/*W-A1_T-{tile}_*"))
    # The other well is complete.
    for rule in ("align_sbs", "segment_sbs", "detect_spots", "call_reads", "call_cells"):
        assert all((screen.results / path).exists() for path in made_by(rule, "1 B2 0"))
    assert read_image(screen.results / made_by("segment_sbs", "1 B2 1")[0]).any()

    # Once the files are whole, the same command does what is missing and nothing else.
    for path, content in whole.items():
        path.write_bytes(content)
    assert {job.place.split()[1] for job in screen.plan(*DATA)} == {"A1"}


def test_a_run_without_config_says_what_to_add(tmp_path):
    done = Screen(tmp_path).call("--dry-run")
    assert done.returncode != 0
    assert "Error: No config is given: add --configfile" in done.stdout
    assert "Traceback" not in done.stdout
