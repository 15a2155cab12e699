"""How chunks are encoded, and how Zarr v2 and v3 spell it.

Blosc with Zstandard level 1 is what every reader knows, OMERO's included. A
chunk is one Blosc block: camera images take two thirds of the time that Blosc's
own choice, blocks of 32 KB, takes, to encode and to decode, and get smaller.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import imagecodecs
import numpy as np

Compression = Literal["blosc", "zstd"]
ZSTD_LEVEL = 1
SHUFFLES = ("noshuffle", "shuffle")


@dataclass(frozen=True)
class Codec:
    """The compressor of one array.

    Attributes
    ----------
    level : of Zstandard.
    shuffle : whether bytes of equal weight stand together, which helps
        intensities and spoils labels.
    typesize, blocksize : bytes of a pixel and of a chunk.
    """

    name: Compression
    level: int
    shuffle: bool
    typesize: int
    blocksize: int

    def encoder(self) -> Callable[[np.ndarray], bytes]:
        """Function that encodes one contiguous chunk, callable from any thread."""
        if self.name == "zstd":
            return lambda chunk: imagecodecs.zstd_encode(chunk, level=self.level)
        return lambda chunk: imagecodecs.blosc_encode(
            chunk,
            level=self.level,
            compressor="zstd",
            shuffle=int(self.shuffle),
            typesize=self.typesize,
            blocksize=self.blocksize,
            numthreads=1,
        )

    def v2(self) -> dict:
        """The `compressor` of `.zarray`."""
        if self.name == "zstd":
            return {"id": "zstd", "level": self.level}  # some readers know no further keys
        return {
            "id": "blosc",
            "cname": "zstd",
            "clevel": self.level,
            "shuffle": int(self.shuffle),
            "blocksize": self.blocksize,
        }

    def v3(self) -> dict:
        """The entry of `codecs` in `zarr.json`."""
        if self.name == "zstd":
            configuration: dict = {"level": self.level, "checksum": False}
        else:
            configuration = {
                "cname": "zstd",
                "clevel": self.level,
                "shuffle": SHUFFLES[self.shuffle],
                "typesize": self.typesize,
                "blocksize": self.blocksize,
            }
        return {"name": self.name, "configuration": configuration}


def choose_codec(
    dtype: np.dtype, chunks: tuple[int, ...], is_label: bool, compression: Compression = "blosc"
) -> Codec:
    """The codec for an array of `dtype` in `chunks`.

    Labels are long runs of equal numbers: a higher level costs them nothing.
    """
    shuffle = not is_label and dtype.kind in "iu" and dtype.itemsize > 1
    blocksize = int(np.prod(chunks)) * dtype.itemsize
    level = 3 if is_label else ZSTD_LEVEL
    return Codec(compression, level, shuffle, dtype.itemsize, blocksize)
