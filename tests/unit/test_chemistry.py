"""Encodings of bases by channels, by hand."""

import numpy as np
import pytest

from lib.sbs.reads import Sequencing
from lib.shared.chemistry import base_channels, full_encoding, one_channel_each

TWO = {"A": ["RED", "GREEN"], "C": ["RED"], "T": ["GREEN"], "G": []}
DYES = {"A": ["Cy5"], "C": ["Cy7"], "T": ["AF594"], "G": ["Cy3"]}


def test_channels_come_in_the_order_of_the_bases():
    assert base_channels("GTAC") == ["G", "T", "A", "C"]
    assert base_channels("GTAC", TWO) == ["GREEN", "RED"]
    assert base_channels("ACGT", TWO) == ["RED", "GREEN"]
    assert base_channels("GTAC", DYES) == ["Cy3", "AF594", "Cy5", "Cy7"]
    assert list(full_encoding("CG", TWO)) == ["C", "G"]


@pytest.mark.parametrize(
    ("encoding", "single"),
    [
        (None, True),
        (DYES, True),
        (TWO, False),
        (DYES | {"G": []}, False),
        (DYES | {"G": ["Cy5"]}, False),
        (DYES | {"G": ["Cy3", "Cy5"]}, False),
    ],
)
def test_one_channel_each(encoding, single):
    assert one_channel_each("GTAC", encoding) == single


def test_matrix_and_columns_of_two_colours():
    plan = Sequencing.plan([2, 1], list("GTAC"), base_encoding=TWO)
    # Rows G, T, A, C; columns GREEN, RED.
    assert plan.encoding.tolist() == [[0, 0], [1, 0], [1, 1], [0, 1]]
    assert plan.intensity_columns() == ["GREEN_1", "RED_1", "GREEN_2", "RED_2"]
    assert plan.bases == "GTAC"


def test_without_encoding_and_with_four_dyes_it_is_the_identity():
    for encoding in (None, DYES):
        plan = Sequencing.plan([1], list("TGCA"), base_encoding=encoding)
        np.testing.assert_array_equal(plan.encoding, np.eye(4))
    assert plan.intensity_columns() == ["AF594_1", "Cy3_1", "Cy7_1", "Cy5_1"]
