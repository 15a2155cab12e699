"""An OMERO server made for tests: real Ice on the wire, a model in memory, pixels on disk."""
