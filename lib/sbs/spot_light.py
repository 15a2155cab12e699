"""What the light of a spot is read from, besides the filter that it is found by."""

from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np

from lib.shared.illumination import correct

MEASURES = ("log", "tophat", "matched")
TOPHAT_RADIUS = 3.0  # all lengths in standard deviations of a spot
MATCHED_SIGMA, MATCHED_RADIUS = 1.25, 5.0


def light_of(
    stack: np.ndarray, field: np.ndarray | None, measure: str, sigma: float
) -> Callable[[int, int], np.ndarray] | None:
    """What `lib.sbs.spots.find_spots` reads light from; None for the planes that it finds spots in.

    Parameters
    ----------
    stack : (T, C, Y, X). field : (C, Y, X) illumination, divided out.
    measure : of MEASURES; `auto` is taken for the first, where nothing is chosen.
    """
    if measure in (MEASURES[0], "auto"):
        return None

    def light(t: int, c: int) -> np.ndarray:
        plane = stack[t, c] if field is None else correct(stack[t, c], field[c])
        return spot_light(plane, measure, sigma)

    return light


def spot_light(plane: np.ndarray, kind: str, sigma: float) -> np.ndarray:
    """Light of spots of standard deviation `sigma` px in a (Y, X) plane, float32.

    `tophat`: what stands out of the opening by a disk of three sigma. `matched`: least-squares
    amplitude of a Gaussian on a constant background, in a square of five sigma to each side.

    Raises ValueError for any other kind.
    """
    plane = np.asarray(plane, np.float32)
    if kind == "tophat":
        side = 2 * round(TOPHAT_RADIUS * sigma) + 1
        disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        return cv2.morphologyEx(plane, cv2.MORPH_TOPHAT, disk)
    if kind == "matched":
        radius = round(MATCHED_RADIUS * sigma)
        x = np.arange(-radius, radius + 1)
        wave = np.exp(-(x**2) / (2 * (MATCHED_SIGMA * sigma) ** 2))
        kernel = np.outer(wave, wave)
        norm = (kernel**2).sum() - kernel.sum() ** 2 / kernel.size
        # Blur less mean: both separable, and so much faster than their difference.
        edge = {"borderType": cv2.BORDER_REFLECT}
        blurred = cv2.sepFilter2D(plane, cv2.CV_32F, wave, wave, **edge)
        mean = cv2.blur(plane, (len(x), len(x)), **edge)
        return np.maximum((blurred - np.float32(kernel.sum()) * mean) / np.float32(norm), 0)
    raise ValueError(f"{kind} is no kind of light: choose one of {', '.join(MEASURES[1:])}")


def chosen_measure(rows: Sequence[Mapping[str, str]]) -> str:
    """The kind that a table of `lib.sbs.spot_choice.choose_light` names."""
    return next(row["measure"] for row in rows if int(row["chosen"]))
