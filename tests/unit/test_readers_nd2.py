"""ND2: a real file, and a double of one with positions whose likeness to it is tested."""

import itertools
import math
from pathlib import Path
from types import SimpleNamespace

import nd2
import numpy as np
import pytest
from nd2 import structures as s

from lib.preprocess.readers import RawSource, raw_metadata, read_raw
from lib.shared.errors import InputError

REAL = Path(__file__).parents[3] / "shared" / "data" / "nd2" / "cluster.nd2"
needs_real = pytest.mark.skipif(not REAL.is_file(), reason="shared/data is not there")
DYES = ["5-FAM/pH 9.0", "FM 4-64/2% CHAPS"]
JULIAN_DAY = 2460000.5
STAGE = [(1000.0 * p, -250.0 * p, 30.0 + p) for p in range(4)]


def loop(kind, count, level):
    """One loop of an experiment, in the structures of the package."""
    if kind == "P":
        points = [s.Position(s.StagePosition(*STAGE[p]), 7.5 + p, None) for p in range(count)]
        return s.XYPosLoop(count, level, s.XYPosLoopParams(True, points))
    if kind == "Z":
        return s.ZStackLoop(count, level, s.ZStackLoopParams(0, 0.5, True, "Piezo"))
    return s.TimeLoop(count, level, s.TimeLoopParams(0.0, 0.0, 0.0, s.PeriodDiff(0.0, 0.0, 0.0)))


class Double:
    """What the reader uses of `nd2.ND2File`, on frames (in the order of the file) in memory.

    Loops nest in the order of `loops`; `reads` tells which frames were read.
    """

    is_legacy = False

    def __init__(self, path, loops, frames, names=None, components=1, stored=None):
        self.path, self.reads, self._frames = str(path), [], frames
        count, n_channels, height, width = frames.shape
        self.experiment = [loop(kind, n, level) for level, (kind, n) in enumerate(loops)]
        lengths = [*loops, ("C", n_channels), ("Y", height), ("X", width)]
        self.sizes = {axis: n for axis, n in lengths if n != 1}
        self.dtype, self.components_per_channel = frames.dtype, components
        self.attributes = SimpleNamespace(sequenceCount=count)
        volume = SimpleNamespace(axesCalibrated=(True, True, False))
        self.metadata = SimpleNamespace(
            channels=[
                SimpleNamespace(channel=SimpleNamespace(name=name), volume=volume)
                for name in names or [f"dye {c}" for c in range(n_channels)]
            ]
        )
        stored = range(count) if stored is None else stored
        self._rdr = SimpleNamespace(
            chunkmap={f"ImageDataSeq|{i}!".encode(): (0, 4) for i in stored}
        )
        self._stored = set(stored)

    def close(self):
        pass

    def voxel_size(self):
        return SimpleNamespace(x=0.5, y=0.25, z=1.0)

    def read_frame(self, index):
        self.reads.append(index)
        return self._frames[index].squeeze() * np.uint16(index in self._stored)

    def frame_metadata(self, index):
        at = np.unravel_index(index, [each.count for each in self.experiment])
        places = [
            p for p, each in zip(at, self.experiment, strict=True) if each.type == "XYPosLoop"
        ]
        position = s.Position(s.StagePosition(*STAGE[places[0] if places else 0]), None, None)
        time = s.TimeStamp(JULIAN_DAY + index / 86400, 1000.0 * index)
        channels = self.metadata.channels
        return SimpleNamespace(
            channels=[SimpleNamespace(position=position, time=time)] * len(channels)
        )


@pytest.fixture
def double(tmp_path, monkeypatch):
    """Put a double in the place of an ND2 file; return it with the path that opens it."""

    def make(loops, n_channels=2, **keys):
        count = math.prod(n for _, n in loops)
        frames = np.random.default_rng(1).integers(1, 4096, (count, n_channels, 6, 5))
        path = tmp_path / "tiles.nd2"
        path.write_bytes(b"\xda\xce\xbe\n")
        file = Double(path, loops, frames.astype(np.uint16), **keys)
        monkeypatch.setattr(nd2, "ND2File", lambda _: file)
        return file, path, frames

    return make


def kinds(value):
    """Types and names of a structure, without its values."""
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return [kinds(each) for each in value]
    return type(value)


@needs_real
def test_double_is_like_the_real_file(tmp_path):
    with nd2.ND2File(REAL) as real:
        frames = np.stack([real.read_frame(i) for i in range(30)])
        loops = [("T", 3), ("Z", 10)]
        fake = Double(REAL, loops, frames, names=DYES)
        assert dict(real.sizes) == fake.sizes and list(real.sizes) == list(fake.sizes)
        assert real.dtype == fake.dtype
        assert real.is_legacy is fake.is_legacy
        assert real.components_per_channel == fake.components_per_channel
        assert real.attributes.sequenceCount == fake.attributes.sequenceCount
        assert [(type(x), x.type, x.count) for x in real.experiment] == [
            (type(x), x.type, x.count) for x in fake.experiment
        ]
        assert [c.channel.name for c in real.metadata.channels] == DYES
        assert len(real.metadata.channels[0].volume.axesCalibrated) == 3
        assert {b"ImageDataSeq|%d!" % i for i in range(30)} <= set(real._rdr.chunkmap)
        assert kinds(real._rdr.chunkmap[b"ImageDataSeq|0!"]) == [int, int]
        np.testing.assert_array_equal(real.read_frame(13), fake.read_frame(13))
        one, other = real.frame_metadata(13).channels[1], fake.frame_metadata(13).channels[1]
        assert type(one.position) is type(other.position) and type(one.time) is type(other.time)
        assert type(one.position.stagePositionUm) is type(other.position.stagePositionUm)
        assert real.voxel_size()._fields == ("x", "y", "z")


@needs_real
@pytest.mark.parametrize("time", [0, 1, 2])
def test_real_file(time):
    expected = nd2.imread(REAL)  # T Z C Y X
    source = RawSource(REAL, time=time)
    np.testing.assert_array_equal(read_raw([source], ["A", "B"]), expected[time].max(axis=0))
    for z in (0, 8, 9):  # planes 8 and 9 of the first channel are dark all over, and are kept
        np.testing.assert_array_equal(read_raw([source], ["A", "B"], z), expected[time, z])
    one = RawSource(REAL, DYES[1], z=4, time=time)
    np.testing.assert_array_equal(read_raw([one], [DYES[1]]), expected[time, 4, 1:])


@needs_real
def test_real_metadata():
    first, last = raw_metadata([RawSource(REAL, time=0), RawSource(REAL, time=2)])
    assert first["channels"] == ", ".join(DYES)
    assert (first["pixel_size_y"], first["pixel_size_x"]) == pytest.approx(
        (0.167809, 0.167809), 1e-5
    )
    assert (first["x_pos"], first["y_pos"]) == pytest.approx((-26056.951, -4155.463))
    assert first["z_pos"] == pytest.approx(3912.3375)
    assert first["acquired"] == pytest.approx(1403099723.84, abs=0.01)  # 2014-06-18, 13:55 UTC
    assert last["acquired"] > first["acquired"]
    assert (first["size_c"], first["size_z"], first["size_y"], first["size_x"]) == (2, 10, 31, 38)


@needs_real
def test_real_file_of_several_times_and_truncated(tmp_path):
    with pytest.raises(InputError, match=r"cluster\.nd2 \(row 2\) holds 3 time points"):
        read_raw([RawSource(REAL, row="row 2")], ["A", "B"])
    content = REAL.read_bytes()
    for length in (4, 1000, len(content) // 2, len(content) - 100):
        path = tmp_path / "cut.nd2"
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"cut\.nd2 cannot be read"):
            read_raw([RawSource(path, time=0)], ["A", "B"])


@pytest.mark.parametrize("order", list(itertools.permutations("PZT")))
def test_any_order_of_loops(double, order):
    n = {"P": 3, "Z": 4, "T": 2}
    file, path, frames = double([(axis, n[axis]) for axis in order])
    grid = frames.reshape(*(n[axis] for axis in order), 2, 6, 5)
    grid = grid.transpose(*(order.index(axis) for axis in "PTZ"), 3, 4, 5)  # P T Z C Y X
    source = RawSource(path, position=2, time=1)
    np.testing.assert_array_equal(read_raw([source], ["A", "B"]), grid[2, 1].max(axis=0))
    assert len(file.reads) == 4  # of 24 frames, those of the position alone
    np.testing.assert_array_equal(read_raw([source], ["A", "B"], 3), grid[2, 1, 3])
    np.testing.assert_array_equal(
        read_raw([RawSource(path, "dye 1", position=0, time=0)], ["dye 1"]),
        grid[0, 0].max(axis=0)[1:],
    )


@pytest.mark.parametrize("loops", [[("P", 3)], [("P", 1), ("Z", 3)], [("T", 1), ("P", 3)], []])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_axes_of_length_one(double, loops, n_channels):
    _, path, frames = double(loops, n_channels)
    position = 2 if ("P", 3) in loops else None
    read = read_raw([RawSource(path, position=position)], ["A", "B", "C"][:n_channels])
    expected = frames.max(axis=0) if position is None else frames[position]
    np.testing.assert_array_equal(read, expected)


def test_metadata_of_positions(double):
    _, path, _ = double([("P", 3), ("Z", 2)])
    rows = raw_metadata([RawSource(path, position=p) for p in (2, 0)])
    assert [(r["x_pos"], r["y_pos"], r["z_pos"]) for r in rows] == [STAGE[2], STAGE[0]]
    assert [r["pfs_offset"] for r in rows] == [9.5, 7.5]
    assert (rows[0]["pixel_size_y"], rows[0]["pixel_size_x"]) == (0.25, 0.5)
    epoch = (JULIAN_DAY - 2440587.5) * 86400
    assert [r["acquired"] - epoch for r in rows] == pytest.approx([4, 0], abs=1e-3)
    assert rows[0]["channels"] == "dye 0, dye 1"


def test_metadata_without_frame_times(double):
    file, path, _ = double([("P", 3)])

    def no_times(index):
        return [][index]

    file.frame_metadata = no_times
    (row,) = raw_metadata([RawSource(path, position=1)])
    assert (row["x_pos"], row["pfs_offset"], row["acquired"]) == (1000.0, 8.5, None)


def test_positions_out_of_range(double):
    _, path, _ = double([("P", 3)])
    with pytest.raises(InputError, match=r"holds 3 positions: .*\(0 to 2\)"):
        read_raw([RawSource(path)], ["A", "B"])
    for position in (3, -1):
        with pytest.raises(InputError, match=f"has no position {position}: it holds 3"):
            read_raw([RawSource(path, position=position)], ["A", "B"])


def test_stopped_acquisition(double):
    _, path, frames = double([("P", 3), ("Z", 2)], stored=range(3))
    first = read_raw([RawSource(path, position=0)], ["A", "B"])
    np.testing.assert_array_equal(first, frames[:2].max(axis=0))
    with pytest.raises(InputError, match=r"tiles\.nd2 lacks frame 3 .*was stopped"):
        read_raw([RawSource(path, position=1)], ["A", "B"])


def test_what_is_refused(double):
    _, path, _ = double([("P", 2)], components=3)
    with pytest.raises(InputError, match="is an RGB image"):
        read_raw([RawSource(path, position=0)], ["A", "B"])
    file, path, _ = double([("P", 2)])
    file.sizes = {"U": 2} | file.sizes
    with pytest.raises(InputError, match=r"loops \(XYPosLoop\) are not positions"):
        read_raw([RawSource(path, position=0)], ["A", "B"])
    file, path, _ = double([("P", 2)])
    file.is_legacy = True
    with pytest.raises(InputError, match="ND2 of before 2009"):
        read_raw([RawSource(path, position=0)], ["A", "B"])
    file, path, _ = double([])
    file.attributes.sequenceCount = 4
    with pytest.raises(InputError, match=r"has 4 frames whose loops \(none\)"):
        read_raw([RawSource(path)], ["A", "B"])
