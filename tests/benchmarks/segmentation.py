"""Nuclei found by each method in real images with manual outlines, all images pooled.

    python tests/benchmarks/segmentation.py [FOLDER] [--methods NAME ...] [--model-path PATH]

FOLDER holds pairs NAME_img.png and NAME_lab.png (0 = background, one number per nucleus); no
setting is given but the weights. A found and a true nucleus match above an intersection over
union (IoU) of 0.5; F1 = 2 matched / (true + found).
"""

import argparse
import time
from pathlib import Path

import cv2
import numpy as np

from lib.shared.errors import InputError
from lib.shared.segmentation import relabel, segment
from lib.simulate.score import match_labels

NUCLEI = Path(__file__).parents[3] / "shared/data/nuclei_with_masks"
METHODS = ("watershed", "cellpose", "stardist")
IOUS = (0.5, 0.7)


def pairs_of(folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images (Y, X) and their true labels (Y, X) int32."""
    return [
        tuple(
            cv2.imread(str(path).replace("_img", kind), cv2.IMREAD_UNCHANGED)
            for kind in ("_img", "_lab")
        )
        for path in sorted(folder.glob("*_img.png"))
    ]


def scored(pairs: list[tuple[np.ndarray, np.ndarray]], parameters: dict) -> str:
    """One line of counts and pooled scores."""
    true = found = 0
    matched = dict.fromkeys(IOUS, 0)
    begin = time.process_time()
    results = [segment(image, None, parameters).nuclei for image, _ in pairs]
    seconds = time.process_time() - begin
    for (_, outlines), nuclei in zip(pairs, results, strict=True):
        truth = relabel(outlines.astype(np.int32))
        true, found = true + int(truth.max()), found + int(nuclei.max())
        for iou in IOUS:
            matched[iou] += len(match_labels(truth, nuclei, iou))
    f1 = "".join(f"{2 * matched[iou] / max(true + found, 1):10.3f}" for iou in IOUS)
    hit = matched[IOUS[0]]
    return (
        f"{true:8d}{found:8d}{hit / max(true, 1):8.3f}{hit / max(found, 1):11.3f}{f1}{seconds:8.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", default=NUCLEI)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--model-path", help="weights of cellpose or of stardist, for nuclei")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    pairs = pairs_of(options.folder)
    if not pairs:
        parser.error(f"{options.folder} holds no pairs *_img.png and *_lab.png: name their folder.")
    print(f"{len(pairs)} images")
    print(f"{'method':12s}{'true':>8}{'found':>8}{'recall':>8}{'precision':>11}", end="")
    print("".join(f"{f'F1 at {iou}':>10}" for iou in IOUS) + f"{'CPU s':>8}")
    for method in options.methods:
        parameters = {"method": method}
        if options.model_path and method != "watershed":
            parameters["model_path"] = options.model_path
        try:
            line = scored(pairs, parameters)
        except InputError as error:
            line = f"  {error}"
        print(f"{method:12s}{line}", flush=True)


if __name__ == "__main__":
    main()
