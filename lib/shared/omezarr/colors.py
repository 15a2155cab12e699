"""A colour for every channel: that of its dye where known, and no colour twice."""

import itertools
import re
from collections.abc import Sequence

BLUE, GREEN, RED = "0000FF", "00FF00", "FF0000"
MAGENTA, CYAN, YELLOW, ORANGE, GREY = "FF00FF", "00FFFF", "FFFF00", "FF8000", "FFFFFF"
# Far apart on black; more channels than these repeat.
PALETTE = (
    *(GREEN, MAGENTA, CYAN, YELLOW, RED, ORANGE, GREY, BLUE),
    *("8000FF", "00FF80", "FF0080", "80FF00", "0080FF", "C08040"),
)

# Bases as in pictures of optical pooled screens (Feldman et al., 2019).
BASES = {"G": GREEN, "T": RED, "A": MAGENTA, "C": CYAN}

# The colour in which a dye or protein is seen, or in which its channel is shown by custom.
DYES = {
    BLUE: "DAPI HOECHST DNA NUCLEI NUCLEUS BFP EBFP TAGBFP ALEXA405 AF405 ATTO425 AF350 DRAQ5",
    CYAN: "CFP ECFP CERULEAN MTURQUOISE2 AF430",
    GREEN: "GREEN GFP EGFP FITC CELLS AF488 ALEXA488 CY2 ATTO488 TUBULIN MNEONGREEN YO1 SYTO",
    YELLOW: "YFP EYFP VENUS CITRINE AF514 AF532 ALEXA532 CY3 ATTO532",
    ORANGE: "TRITC RHODAMINE AF546 AF555 AF568 ALEXA555 ALEXA568 PHALLOIDIN ACTIN MKO ATTO550",
    RED: "RED RFP TXRED TEXASRED MCHERRY TDTOMATO DSRED AF594 ALEXA594 CY35 MITOTRACKER ATTO594",
    MAGENTA: "CY5 AF633 AF647 ALEXA647 ALEXA633 IRFP WGA CYTOPLASM ATTO647N FARRED GH2AX",
    GREY: "BF BRIGHTFIELD TL PHASE DIC CY7 AF750 ALEXA750 CY55 AF700",
}
_COLOR_OF_DYE = {dye: color for color, dyes in DYES.items() for dye in dyes.split()}
_HEX = re.compile(r"[0-9A-F]{6}")


def channel_colors(labels: Sequence[str]) -> list[str]:
    """RRGGBB for each channel label.

    Bases, and dyes that a label names ("AF568", "Alexa 568", "DAPI_1x"), have their
    own colours; where two channels would share one, the later takes the first of
    the palette that is free.
    """
    wanted = [known_color(label) for label in labels]
    return distinct_colors(wanted)


def valid_color(color: object) -> str | None:
    """`color` as RRGGBB in capitals; None where it is no such colour."""
    text = str(color).removeprefix("#").upper()
    return text if _HEX.fullmatch(text) else None


def distinct_colors(wanted: Sequence[str | None]) -> list[str]:
    """Fill in colours for None and for what came before, first from the palette's free ones."""
    firsts = {color: at for at, color in reversed(list(enumerate(wanted))) if color}
    free = [color for color in PALETTE if color not in firsts]
    colors = []
    for at, color in enumerate(wanted):
        if color is None or firsts[color] != at:
            color = free.pop(0) if free else PALETTE[at % len(PALETTE)]
        colors.append(color)
    return colors


def known_color(label: str) -> str | None:
    """Colour of the base or dye that a label names; None where it names none."""
    if label.upper() in BASES:
        return BASES[label.upper()]
    words = [word for word in re.split(r"[^A-Z0-9]+", label.upper()) if word]
    # "Alexa 568" and "Cy 5" are one name in two words.
    pairs = [first + second for first, second in itertools.pairwise(words)]
    for word in (*pairs, *words):  # far red is not red
        if word in _COLOR_OF_DYE:
            return _COLOR_OF_DYE[word]
    return None
