"""Everything a user gives, checked before any job starts."""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from lib.omero.connection import read_account
from lib.shared.chemistry import base_channels
from lib.shared.errors import InputError
from lib.shared.files import check_folder
from lib.shared.layout import is_omero_image
from lib.shared.library import describe_ambiguous, read_barcodes
from lib.shared.samples import Samples, read_phenotype_samples, read_sbs_samples
from lib.shared.sheets import name_some, natural_key

logger = logging.getLogger(__name__)
# Names that NGFF allows for the wells and fields of a plate.
PLATE_WELL, PLATE_FIELD = re.compile("[A-Za-z]+[0-9]+"), re.compile("[A-Za-z0-9]+")
OMERO_WELL = re.compile("[A-Z]{1,2}[1-9][0-9]?")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Inputs:
    """The sample sheets of a screen; an absent half is None.

    Attributes
    ----------
    cycles : cycles whose images are used, ascending.
    reference_cycle : the one that the others are aligned to.
    failed_positions : barcode positions, from 1, whose cycle failed.
    """

    sbs: Samples | None
    phenotype: Samples | None
    cycles: tuple[int, ...] = ()
    reference_cycle: int | None = None
    failed_positions: tuple[int, ...] = ()

    @property
    def n_positions(self) -> int:
        """Number of barcode positions, failed ones included."""
        return len(self.sbs.barcode_cycles) if self.sbs else 0


def check_inputs(config: dict, check_files: bool = True, check_login: bool = False) -> Inputs:
    """Read the sample sheets and check them and the barcode library.

    `config` comes from `lib.shared.config.load_config`. `check_files` looks for
    each raw file; a job on another machine, which parses the workflow again, can
    leave that out. `check_login` looks for a login where OMERO is needed, without
    asking the server.

    Raises `InputError` with one sentence per line for all that is wrong.
    """
    problems: list[str] = []
    samples = {
        module: _collect(problems, lambda module=module: _read_samples(config, module, check_files))
        for module in ("sbs", "phenotype")
        if module in config
    }
    problems += _missing_models(config)
    problems += _missing_engine(config)
    problems += _missing_omero(config, list(filter(None, samples.values())), check_login)
    _collect(problems, lambda: _check_root(config["all"]["root_fp"]))
    if config["all"]["omezarr_layout"] == "plate":
        for found in filter(None, samples.values()):
            problems += _unfit_for_plates(found)
    if config["omero"]["import"]:
        problems += _unfit_for_omero(config, list(filter(None, samples.values())))
    inputs = Inputs(samples.get("sbs"), samples.get("phenotype"))
    if inputs.sbs is not None:
        inputs = _with_cycles(inputs, config["sbs"])
        _collect(problems, lambda: _check_reference(inputs, config))
        _collect(problems, lambda: _check_library(inputs, config["sbs"]))
    if problems:
        raise InputError("\n".join(problems))
    return inputs


def _with_cycles(inputs: Inputs, sbs: dict) -> Inputs:
    barcode_cycles, failed = inputs.sbs.barcode_cycles, sbs["failed_cycles"]
    used = tuple(cycle for cycle in barcode_cycles if cycle not in failed)
    reference = sbs["reference_cycle"]
    if reference is None:
        stained = [cycle for cycle in used if cycle not in sbs["no_dapi_cycles"]]
        reference = stained[0] if stained else None
    return replace(
        inputs,
        cycles=used,
        reference_cycle=reference,
        failed_positions=tuple(
            position for position, cycle in enumerate(barcode_cycles, start=1) if cycle in failed
        ),
    )


def _missing_models(config: dict) -> list[str]:
    packages = [
        f"config key {module}.segmentation.method is {method}, which is not installed: "
        f'pip install "poolscope[{method}]", or take another method.'
        for module in ("sbs", "phenotype")
        if module in config
        and (method := config[module]["segmentation"]["method"]) in ("cellpose", "stardist")
        and find_spec(method) is None
    ]
    return packages + [
        f"config key {module}.segmentation.{key} names {path}, which does not exist."
        for module in ("sbs", "phenotype")
        for key in ("model_path", "cell_model_path")
        if module in config
        and (path := config[module]["segmentation"][key]) is not None
        and not Path(path).exists()
    ]


def _missing_engine(config: dict) -> list[str]:
    engine = config["phenotype"]["features"]["engine"] if "phenotype" in config else "own"
    if engine == "own" or find_spec(engine) is not None:
        return []
    return [
        f"config key phenotype.features.engine is {engine}, which is not installed: "
        f'pip install "poolscope[{engine}]", or set it to own.'
    ]


def _missing_omero(config: dict, sheets: Sequence[Samples], check_login: bool) -> list[str]:
    """Name what an import, or images that live on the server, lack: omero-py, or a login."""
    needs = ["config key omero.import is true"] if config["omero"]["import"] else []
    for found in sheets:
        fetched = [path for path in found.sheet.columns["sample_fp"] if is_omero_image(path)]
        missing = next((path for path in fetched if not Path(path).exists()), None)
        if missing:
            sheet = found.sheet.path
            needs.append(f"The sample sheet {sheet} names {missing}, which is fetched from OMERO")
    if needs and find_spec("omero") is None:
        instead = "but omero-py is not installed: run `make omero` (see docs/omero.md)."
        return [f"{need}, {instead}" for need in needs]
    if needs and check_login:
        try:
            read_account()
        except InputError as error:
            return [f"{needs[0]}. {error}"]
    return []


def _unfit_for_omero(config: dict, sheets: Sequence[Samples]) -> list[str]:
    """Refuse wells that OMERO has not, and plates that the sheets have not."""
    problems = []
    for found in sheets:
        wells = {well for _, well in found.every_well() if not OMERO_WELL.fullmatch(well)}
        if wells:
            problems.append(
                f"config key omero.import is true, but the sample sheet {found.sheet.path} has "
                f"the well {name_some(sorted(wells, key=natural_key))}: wells in OMERO are named "
                "A1, B12, AF48. Rename, or set it to false."
            )
    plates = {plate for found in sheets for plate in found.plates}
    unknown = sorted(config["omero"]["source_plates"].keys() - plates)
    if unknown and sheets and not config["all"]["plate_filter"]:
        known = name_some(sorted(plates, key=natural_key))
        problems.append(
            f"config key omero.source_plates names the plate {name_some(unknown)}, but the sample "
            f"sheets have the plates {known}."
        )
    return problems


def _check_reference(inputs: Inputs, config: dict) -> None:
    if inputs.reference_cycle is None:
        raise InputError(
            "config key sbs.no_dapi_cycles names every cycle that is used, so there are no nuclei "
            "to segment: leave the cycle out in which they were imaged, or leave the nuclear "
            "channel out of sbs.channel_names."
        )
    if inputs.reference_cycle not in inputs.cycles:
        raise InputError(
            f"config key sbs.reference_cycle is {inputs.reference_cycle}, but the sample sheet "
            f"{config['preprocess']['sbs_samples_fp']} has the cycles "
            f"{', '.join(map(str, inputs.cycles))}."
        )


def _alike_in_plates(wells: Sequence[str]) -> list[list[str]]:
    """Groups of wells that differ in capitals alone: rows of a plate are capital letters."""
    groups: dict[str, list[str]] = {}
    for well in wells:
        groups.setdefault(well.upper(), []).append(well)
    return [alike for alike in groups.values() if len(alike) > 1]


def _unfit_for_plates(samples: Samples) -> list[str]:
    """Refuse names that rows, columns and fields of an OME-Zarr plate cannot have."""
    wells = {well for _, well in samples.every_well() if not PLATE_WELL.fullmatch(well)}
    tiles = {tile for *_, tile in samples.every_tile() if not PLATE_FIELD.fullmatch(tile)}
    doubled = [
        f"config key all.omezarr_layout is plate, but the sample sheet {samples.sheet.path} has "
        f"the wells {' and '.join(alike)} on plate {plate}, which are one well of an OME-Zarr "
        "plate. Rename one, or set it to tile."
        for plate in samples.plates
        for alike in _alike_in_plates(samples.wells(plate))
    ]
    return doubled + [
        f"config key all.omezarr_layout is plate, but the sample sheet {samples.sheet.path} has "
        f"the {what} {name_some(sorted(names, key=natural_key))}: in a plate {rule}. Rename, or "
        "set it to tile."
        for what, names, rule in (
            ("well", wells, "a well is a row of letters and a column number, such as A1"),
            ("tile", tiles, "a tile is named by letters and digits"),
        )
        if names
    ]


def _check_root(root: str) -> None:
    if root.startswith("~"):
        raise InputError(
            f"config key all.root_fp is {root}: write the folder out, ~ is not understood here."
        )
    check_folder(root, "config key all.root_fp")


def _read_samples(config: dict, module: str, check_files: bool) -> Samples:
    shared = {
        "channel_names": config[module]["channel_names"],
        "plate_filter": config["all"]["plate_filter"],
        "well_filter": config["all"]["well_filter"],
        "incomplete_tiles": config["all"]["incomplete_tiles"],
        "check_files": check_files,
    }
    path = config["preprocess"][f"{module}_samples_fp"]
    if module == "phenotype":
        return read_phenotype_samples(path, **shared)
    sbs = config["sbs"]
    shared["base_channels"] = base_channels(sbs["bases"], sbs["base_encoding"])
    keys = ("no_dapi_cycles", "skip_cycles", "failed_cycles")
    return read_sbs_samples(path, **{key: sbs[key] for key in keys}, **shared)


def _check_library(inputs: Inputs, sbs: dict) -> None:
    barcodes = read_barcodes(
        sbs["barcode_library_fp"],
        inputs.n_positions,
        inputs.failed_positions,
        sbs["mapping_cycles"],
        sbs["recombination_cycles"],
    )
    warning = describe_ambiguous(barcodes)
    if warning and all(barcodes.ambiguous):
        raise InputError(f"{warning} No guide is left: sequence more cycles or check the library.")
    if warning:
        logger.warning(warning)


def _collect(problems: list[str], read: Callable[[], _T]) -> _T | None:
    try:
        return read()
    except InputError as error:
        problems.append(str(error))
        return None
