"""An image that lives only on the OMERO server as a TIFF."""

from pathlib import Path

from lib.omero.connection import work_connected
from lib.omero.inventory import fetch_image
from lib.omero.paths import ServerDisk
from lib.shared.logging import job_log

with job_log(snakemake.log[0]) as log:
    # Not of the params: an image is the same, whichever way it came.
    settings = snakemake.config["omero"]
    disk = ServerDisk.of(settings["local_roots"], settings["mounts"])
    image, path = int(snakemake.wildcards.image), Path(snakemake.output[0])
    remote = settings["allow_remote"]
    work_connected(lambda gateway: fetch_image(gateway, image, disk, remote, path))
    log.info("%s: image %d", path, image)
