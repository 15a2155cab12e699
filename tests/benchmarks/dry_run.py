"""Planning a large plate: a dry run of 6 wells of 1300 tiles with 10 cycles."""

from pathlib import Path

import yaml
from measure import SNAKEFILE, print_table, run_snakemake

WELLS = ("A1", "A2", "A3", "B1", "B2", "B3")
TILES, CYCLES = 1300, 10
CODES = ("ACGTACGTAC", "TGCATGCATG", "GATCGATCGA")


def write_plate(folder: Path, wells: tuple[str, ...] = WELLS, tiles: int = TILES) -> None:
    """Write empty raw files, their sample sheet, a library and a config into `folder`."""
    raw = folder / "raw"
    raw.mkdir(parents=True)
    with open(folder / "sbs_samples.tsv", "w") as sheet:
        sheet.write("sample_fp\tplate\twell\ttile\tcycle\n")
        for well in wells:
            for tile in range(tiles):
                for cycle in range(1, CYCLES + 1):
                    name = f"raw/{well}_{tile}_{cycle}.tiff"
                    (folder / name).touch()
                    sheet.write(f"{name}\t1\t{well}\t{tile}\t{cycle}\n")
    library = ["sgRNA\tgene_symbol", *(f"{code}\tgene{n}" for n, code in enumerate(CODES))]
    (folder / "barcode_library.tsv").write_text("\n".join(library) + "\n")
    config = {
        "all": {"root_fp": "results/"},
        "preprocess": {"sbs_samples_fp": "sbs_samples.tsv"},
        "sbs": {
            "barcode_library_fp": "barcode_library.tsv",
            "channel_names": ["DAPI", "G", "T", "A", "C"],
            "bases": ["G", "T", "A", "C"],
        },
    }
    (folder / "config.yml").write_text(yaml.safe_dump(config))


def measure(scratch: Path) -> None:
    """Print user seconds and peak memory of the dry run of the whole plate."""
    folder = scratch / "plate"
    write_plate(folder)
    arguments = ("--configfile", "config.yml", "--cores", "2", "--dry-run", "--quiet", "all")
    run = run_snakemake(folder, SNAKEFILE, *arguments)
    what = f"{len(WELLS)} wells x {TILES} tiles x {CYCLES} cycles"
    rows = [[what, run.user_s, run.snakemake.peak_mb]]
    print_table("Dry run of a plate", ["plate", "user s", "MB"], rows)
    print("target: 60 user s, 1200 MB")
