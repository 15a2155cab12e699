"""Raw microscope files behind one function: ND2, TIFF and OME-TIFF, OME-Zarr 0.4 and 0.5.

`read` decides which planes of which files make a tile; `image` is what a
format offers for that; `nd2_file`, `tiff_file` and `zarr_store` are the
formats, each imported only when a file of it is met.
"""

from lib.preprocess.readers.read import check_channels, raw_metadata, read_raw
from lib.preprocess.readers.source import RawSource

__all__ = ["RawSource", "check_channels", "raw_metadata", "read_raw"]
