"""OME-Zarr (NGFF) 0.4 and 0.5: what `lib.shared.omezarr_utils` is made of.

`pyramid` computes levels, `codecs` says how chunks are encoded, `chunks` writes
them, `metadata` and `colors` spell the JSON, `store` makes a whole image of
these, `labels` its label images, `plate` a plate of images; `read` reads stores
and `check` finds what is wrong with them.

Stores are written without zarr-python: its import takes longer than encoding
half a tile, and its chunk loop costs as much again as the compression.
"""
