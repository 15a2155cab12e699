"""What a simulated screen is made of: one frozen set of numbers, and named presets.

Lengths ending in `_um` are micrometres; positions and shifts ending in `_px` are
pixels of the image they concern; intensities are camera counts above the offset.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import yaml

from lib.shared.chemistry import base_channels
from lib.shared.errors import InputError

BASES = ("G", "T", "A", "C")
SBS_CHANNELS = ("DAPI", *BASES)
# Channels in which each base shines, by the number of colours of the chemistry.
ENCODINGS = {
    2: {"G": (), "T": ("GREEN",), "A": ("GREEN", "RED"), "C": ("RED",)},
    3: {"G": (), "T": ("GREEN",), "A": ("RED",), "C": ("FAR_RED",)},
    4: {base: (base,) for base in BASES},
}
PHENOTYPE_CHANNELS = ("DAPI", "TUBULIN", "P65", "WGA")
CONTROL_GENE = "nontargeting"
SIGNED = ("overlap", "phenotype_rotation_deg")  # numbers that may be negative


@dataclass(frozen=True)
class ScreenParameters:
    """Everything that decides a screen; equal parameters give equal bytes."""

    seed: int = 0
    plates: tuple[str, ...] = ("1",)
    wells: tuple[str, ...] = ("A1",)

    # Fields of view.
    tiles: int = 4  # SBS tiles of each well
    tile_size: int = 1024  # pixels, SBS and phenotype
    cycles: int = 10
    phenotype: bool = True
    sbs_pixel_um: float = 0.65
    magnification_ratio: float = 2.0  # SBS pixel size / phenotype pixel size
    overlap: float = 0.02  # of neighbouring tiles, share of a tile; negative: a gap
    stage_error_um: float = 0.8  # where a tile lies minus where the stage says it lies
    phenotype_rotation_deg: float = 0.15  # the plate is placed anew on another stage
    phenotype_offset_um: tuple[float, float] = (35.0, -22.0)  # y, x
    z_planes: int = 1
    z_step_um: float = 1.5

    # Library.
    guides: int = 200
    guides_per_gene: int = 4
    control_fraction: float = 0.05  # of the guides: non-targeting
    guide_length: int = 20
    min_distance: int = 3  # Hamming, between the first `cycles` bases of two guides
    abundance_sigma: float = 0.4  # lognormal spread of the guides' shares
    inactive_fraction: float = 0.1  # guides that do not act on their gene

    # Cells.
    cells_per_mm2: float = 1300.0
    density_variation: float = 0.35  # relative, over some hundred micrometres
    nucleus_diameter_um: float = 12.5
    nucleus_diameter_sigma: float = 0.1  # lognormal
    cell_radius_um: float = 17.0  # where no neighbour is in the way
    mitotic_fraction: float = 0.02
    debris_per_mm2: float = 25.0

    # Reads.
    unperturbed_fraction: float = 0.1  # cells without guide
    doublet_fraction: float = 0.05  # cells with two guides
    reads_per_cell: float = 6.0  # mean of a Poisson law, for each guide
    expression_sigma: float = 0.4  # lognormal spread of that mean between cells
    noise_reads_per_mm2: float = 1000.0  # anywhere, with random sequences
    noise_read_brightness: float = 0.7  # median, relative to that of true reads
    spot_sigma_px: float = 1.2
    spot_sigma_variation: float = 0.08  # relative
    spot_amplitude: float = 600.0  # median peak height in its own channel, first cycle, gain 1
    spot_amplitude_sigma: float = 0.6  # lognormal
    spot_flicker: float = 0.2  # lognormal, from cycle to cycle
    spot_jitter_px: float = 0.15  # residual local motion, from cycle to cycle

    # Sequencing chemistry.
    colours: int = 4  # 2 or 3: a base without light, with 2 also one in both channels
    crosstalk_g_in_t: float = 0.3  # dye G seen in channel T, relative to channel G
    crosstalk_t_in_g: float = 0.12
    crosstalk_a_in_c: float = 0.22
    crosstalk_c_in_a: float = 0.1
    crosstalk_other: float = 0.02
    phasing: float = 0.01  # strands that stay behind, each cycle
    prephasing: float = 0.005  # strands that run ahead, each cycle
    decay: float = 0.97  # signal that a cycle keeps of the one before

    # Light.
    channel_gain: tuple[float, ...] = (1.0, 0.75, 0.9, 0.6)  # G, T, A, C; of fewer, the first
    background: float = 260.0
    background_variation: float = 0.2  # relative, slow
    autofluorescence: float = 200.0
    autofluorescence_channel: tuple[float, ...] = (1.0, 0.7, 0.8, 0.6)
    bleaching: float = 0.97  # autofluorescence that a cycle keeps of the one before
    dapi_amplitude: float = 4000.0
    dapi_bleed: float = 0.015  # of DAPI into each base channel
    vignetting: float = 0.25  # light lost in the corners, varies a little by channel

    # Stage and optics.
    drift_px: float = 3.5  # standard deviation, cycle against first cycle
    max_drift_px: float = 12.0
    turn_deg: float = 0.0  # standard deviation, cycle against first: the plate put back turned
    zoom: float = 0.0  # the same of the magnification, relative
    chromatic_px: float = 0.8  # largest offset along an axis, SBS channels
    phenotype_chromatic_px: float = 1.8

    # Camera.
    camera_offset: float = 100.0
    electrons_per_count: float = 0.6
    read_noise: float = 2.5  # counts

    # Phenotype.
    hit_fraction: float = 0.1  # of the genes, for each effect
    p65_ratio: float = 0.6  # nuclear / cytoplasmic, cells without effect
    p65_effect: float = 2.5  # factor on that ratio
    granules_per_cell: float = 10.0
    granule_effect: float = 2.5  # factor on their number
    cell_size_effect: float = 1.25  # factor on the radius of cell and nucleus

    def __post_init__(self) -> None:
        for name in ("tiles", "tile_size", "cycles", "guides", "guides_per_gene", "z_planes"):
            if getattr(self, name) < 1:
                raise InputError(f"The simulation needs {name} of at least 1.")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in SIGNED and isinstance(value, float) and value < 0:
                raise InputError(f"The simulation's {field.name} must not be negative.")
        for name in ("sbs_pixel_um", "magnification_ratio", "electrons_per_count", "spot_sigma_px"):
            if getattr(self, name) == 0:
                raise InputError(f"The simulation's {name} must be greater than 0.")
        for name in (*self.plates, *self.wells):
            if not name.isalnum():
                raise InputError(f"A plate or well is named by letters and digits, not {name!r}.")
        if self.cycles > self.guide_length:
            raise InputError(
                f"{self.cycles} cycles cannot be read from guides of {self.guide_length} bases: "
                "lower cycles or raise guide_length."
            )
        if self.tile_size < 64:
            raise InputError("The simulation needs a tile_size of at least 64 pixels.")
        if self.unperturbed_fraction + self.doublet_fraction > 1:
            raise InputError("unperturbed_fraction and doublet_fraction add up to more than 1.")
        if self.phasing + self.prephasing >= 1:
            raise InputError("phasing and prephasing must add up to less than 1.")
        for name in ("channel_gain", "autofluorescence_channel"):
            if len(getattr(self, name)) != len(BASES):
                raise InputError(f"{name} needs one number for each of {', '.join(BASES)}.")
        if self.colours not in ENCODINGS:
            raise InputError(f"The simulation has {', '.join(map(str, ENCODINGS))} colours.")

    @property
    def base_channels(self) -> tuple[str, ...]:
        """The channels that show bases."""
        return tuple(base_channels(BASES, ENCODINGS[self.colours]))

    @property
    def sbs_channels(self) -> tuple[str, ...]:
        """All channels of a sequencing image."""
        return (SBS_CHANNELS[0], *self.base_channels)

    @property
    def phenotype_pixel_um(self) -> float:
        """Pixel size of the phenotype images in micrometres."""
        return self.sbs_pixel_um / self.magnification_ratio


_DEFAULT = ScreenParameters()

PRESETS: dict[str, ScreenParameters] = {
    "default": _DEFAULT,
    "easy": replace(
        _DEFAULT,
        crosstalk_g_in_t=0.08,
        crosstalk_t_in_g=0.05,
        crosstalk_a_in_c=0.08,
        crosstalk_c_in_a=0.05,
        crosstalk_other=0.0,
        phasing=0.0,
        prephasing=0.0,
        decay=1.0,
        channel_gain=(1.0, 1.0, 1.0, 1.0),
        spot_amplitude=1500.0,
        spot_amplitude_sigma=0.25,
        spot_flicker=0.05,
        spot_jitter_px=0.05,
        expression_sigma=0.0,
        reads_per_cell=8.0,
        doublet_fraction=0.0,
        noise_reads_per_mm2=100.0,
        cells_per_mm2=800.0,
        drift_px=1.5,
    ),
    "hard": replace(
        _DEFAULT,
        crosstalk_g_in_t=0.55,
        crosstalk_t_in_g=0.2,
        crosstalk_a_in_c=0.45,
        crosstalk_c_in_a=0.2,
        crosstalk_other=0.04,
        channel_gain=(1.0, 0.45, 0.8, 0.35),
        phasing=0.04,
        prephasing=0.015,
        decay=0.95,
        spot_amplitude=450.0,
        spot_flicker=0.25,
        noise_reads_per_mm2=2000.0,
        autofluorescence=250.0,
        drift_px=5.0,
        spot_jitter_px=0.3,
    ),
    "phased": replace(_DEFAULT, cycles=12, phasing=0.07, prephasing=0.02),
    "dim": replace(_DEFAULT, spot_amplitude=200.0, autofluorescence=250.0),
    "dense": replace(_DEFAULT, cells_per_mm2=2400.0, cell_radius_um=15.0, reads_per_cell=15.0),
    "tiny": replace(
        _DEFAULT, tiles=2, tile_size=256, cycles=6, guides=24, guides_per_gene=3, hit_fraction=0.2
    ),
}


def with_overrides(
    parameters: ScreenParameters, overrides: Mapping[str, object]
) -> ScreenParameters:
    """Return `parameters` with some fields replaced, each cast to the type of its default.

    Raises `InputError` for an unknown name (with the nearest known one) or a value
    of the wrong type.
    """
    known = {field.name: getattr(_DEFAULT, field.name) for field in fields(ScreenParameters)}
    values = {}
    for name, value in overrides.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise InputError(f"The simulation has no parameter {name}{hint}")
        values[name] = _cast(name, value, known[name])
    return replace(parameters, **values)


def parse_override(text: str) -> tuple[str, object]:
    """Split `key=value`, the value in YAML (`0.3`, `[1, 2]`, `true`)."""
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--set {text}: write it as key=value.")
    try:
        return name.strip(), yaml.safe_load(value)
    except yaml.YAMLError:
        raise InputError(f"--set {text}: the value is not valid YAML.") from None


def _cast(name: str, value: object, default: object) -> object:
    entries = list(value) if isinstance(value, (list, tuple)) else [value]
    kind = type(default[0]) if isinstance(default, tuple) else type(default)
    accepted = (int, float) if kind is float else (str, int) if kind is str else (kind,)
    valid = isinstance(value, (list, tuple)) == isinstance(default, tuple)
    # True is an int to Python, not to a user.
    valid &= all(isinstance(e, accepted) and (kind is bool) == isinstance(e, bool) for e in entries)
    if not valid:
        what = f"list of {kind.__name__}" if isinstance(default, tuple) else kind.__name__
        raise InputError(f"The simulation's {name} must be of type {what}, not {value!r}.")
    return tuple(map(kind, entries)) if isinstance(default, tuple) else kind(value)
