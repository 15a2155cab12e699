"""OMERO: images out of a server, results back into it.

`connection` logs in; `paths` decides which of the server's files may be read
here; `local_backend` reads and saves single images; `inventory` lists a plate
as sample sheets; `import_*` bring results back. Nothing here imports OMERO's
own packages before it is called, so that all else works without them.
"""
