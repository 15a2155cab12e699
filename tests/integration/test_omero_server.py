"""The test server before clients that nobody here wrote."""

import numpy as np
import pytest

pytest.importorskip("omero.gateway", reason="omero-py is not installed: run `make omero`")


pytest_plugins = ["omero_server.fixtures"]


@pytest.fixture
def conn(server):
    """A stock gateway."""
    from omero.gateway import BlitzGateway

    conn = BlitzGateway("alice", "alice-secret", host=server.host, port=server.port, secure=True)
    assert conn.connect()
    yield conn
    conn.close()


def coded(shape):
    """Pixels that tell where they are, all of them different."""
    return np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)


def upload(conn, name, shape=(2, 3, 4, 5, 6)):
    """(Z, C, T, Y, X) by the stock client, in its own order of planes."""
    planes = coded(shape)
    z, c, t, *_ = shape
    image = conn.createImageFromNumpySeq(
        iter(planes.reshape(-1, *shape[3:])), name, sizeZ=z, sizeC=c, sizeT=t
    )
    return image.getId(), planes


def test_services_are_operations_of_the_slice():
    import Glacier2
    import omero.all
    import omero.api
    import omero.grid
    from omero_server import pixels, services
    from omero_server import server as module
    from omero_server.wire import check_services

    pairs = [(getattr(omero.api, name), service) for name, service in services.SERVICES.items()]
    pairs += [
        (omero.api.IPixels, pixels.Pixels),
        (omero.api.RawPixelsStore, pixels.RawPixelsStore),
        (omero.api.RawFileStore, pixels.RawFileStore),
        (omero.api.RenderingEngine, pixels.RenderingEngine),
        (omero.grid.Table, pixels.TableService),
        (omero.grid.SharedResources, services.Resources),
        (omero.api.ServiceFactory, services.Factory),
        (omero.cmd.Handle, services.HandleService),
        (Glacier2.Router, module.Router),
    ]
    assert check_services(pairs) == []


def test_the_gateway_reads_every_plane_that_it_wrote(conn):
    number, planes = upload(conn, "coded")
    pixels = conn.getObject("Image", number).getPrimaryPixels()
    for z, c, t in np.ndindex(planes.shape[:3]):
        assert (pixels.getPlane(z, c, t) == planes[z, c, t]).all()
    tile = pixels.getTile(1, 2, 3, (2, 1, 3, 4))
    assert (tile == planes[1, 2, 3, 1:5, 2:5]).all()


def test_the_gateway_works_without_encryption(server):
    from omero.gateway import BlitzGateway

    conn = BlitzGateway("bob", "bob-secret", host=server.host, port=server.port, secure=False)
    assert conn.connect()
    assert conn.getUser().getName() == "bob"
    conn.close()


def test_ezomero_reads_and_annotates(conn, tmp_path):
    import logging

    ezomero = pytest.importorskip("ezomero", reason="ezomero is not installed")
    logging.disable(logging.WARNING)
    project = ezomero.post_project(conn, "project")
    dataset = ezomero.post_dataset(conn, "dataset", project_id=project)
    image = coded((6, 5, 4, 3, 2))  # x, y, z, c, t
    number = ezomero.post_image(conn, image, "image", dataset_id=dataset, dim_order="xyzct")
    _, back = ezomero.get_image(conn, number, xyzct=True)
    assert (back == image).all()
    assert ezomero.get_image_ids(conn, dataset=dataset) == [number]
    pairs = {"a": "1", "b": "2"}
    annotation = ezomero.post_map_annotation(conn, "Image", number, pairs, ns="n")
    assert ezomero.get_map_annotation(conn, annotation) == pairs
    text = tmp_path / "text.txt"
    text.write_text("hello")
    attached = ezomero.post_file_annotation(conn, str(text), "n", "Image", number)
    file = conn.getObject("FileAnnotation", attached)
    assert b"".join(file.getFileInChunks()) == b"hello"


def test_tables_keep_their_columns(conn):
    from omero.grid import LongColumn, StringColumn

    resources = conn.c.sf.sharedResources()
    repository = resources.repositories().descriptions[0].id.val
    table = resources.newTable(repository, "t.h5")
    table.initialize([LongColumn("n", "", []), StringColumn("s", "", 4, [])])
    for start in (0, 2):
        numbers = [start, start + 1]
        table.addData([LongColumn("n", "", numbers), StringColumn("s", "", 4, ["a", "b"])])
    file = table.getOriginalFile()
    table.close()
    table = resources.openTable(file)
    assert table.getNumberOfRows() == 4
    assert table.read([0], 1, 3).columns[0].values == [1, 2]
    table.close()


def test_the_command_line_uploads_and_deletes(cli, conn, tmp_path):
    number, _ = upload(conn, "to delete", (1, 1, 1, 4, 4))
    assert f"| {number} " in cli("hql", "-q", "select i.id from Image i where i.name='to delete'")
    text = tmp_path / "note.txt"
    text.write_text("from the command line")
    file = cli("upload", str(text)).strip()
    kind, _, file = file.partition(":")
    assert kind == "OriginalFile"
    assert conn.getObject(kind, int(file)).getSize() == len("from the command line")
    cli("delete", f"Image:{number}")
    assert conn.getObject("Image", number) is None


def test_omero_cli_zarr_exports_every_plane(cli, conn):
    zarr = pytest.importorskip("zarr")
    pytest.importorskip("omero_zarr", reason="omero-cli-zarr is not installed")
    number, planes = upload(conn, "to export", (2, 3, 4, 8, 8))
    cli("zarr", "export", f"Image:{number}")
    (path,) = cli.home.glob(f"{number}*.zarr")
    group = zarr.open_group(path, mode="r")
    attributes = group.attrs.get("ome", group.attrs)
    back = group[attributes["multiscales"][0]["datasets"][0]["path"]][:]  # t, c, z, y, x
    assert (back == planes.transpose(2, 1, 0, 3, 4)).all()


def test_others_see_and_change_what_the_group_lets_them(conn, server):
    import omero
    from omero.gateway import BlitzGateway
    from omero.rtypes import rstring

    def log_in(user):
        other = BlitzGateway(user, f"{user}-secret", host=server.host, port=server.port)
        assert other.connect()
        return other

    number, _ = upload(conn, "mine", (1, 1, 1, 4, 4))  # in the group lab: others may read
    bob, carol = log_in("bob"), log_in("carol")
    image = bob.getObject("Image", number)
    assert not image.canEdit()
    assert not image.canAnnotate()
    image._obj.name = rstring("taken")
    with pytest.raises(omero.SecurityViolation):
        bob.c.sf.getUpdateService().saveObject(image._obj)
    assert conn.getObject("Image", number).getName() == "mine"
    assert carol.getObject("Image", number) is None
    bob.close()
    carol.close()


def test_pixels_are_written_once(conn):
    import omero

    number, planes = upload(conn, "written", (1, 1, 1, 4, 4))
    pixels = conn.getObject("Image", number).getPixelsId()
    store = conn.c.sf.createRawPixelsStore()
    store.setPixelsId(pixels, True)
    with pytest.raises(omero.ApiUsageException, match="Write-method not permitted"):
        store.setPlane(planes.astype(">u2").tobytes(), 0, 0, 0)
    store.close()


def test_fields_are_saved_and_deleted_by_their_well(conn):
    import omero
    from omero.rtypes import rint, rstring

    number, _ = upload(conn, "of a well", (1, 1, 1, 4, 4))
    well, plate = omero.model.WellI(), omero.model.PlateI()
    plate.setName(rstring("plate"))
    well.setRow(rint(0))
    well.setColumn(rint(0))
    plate.addWell(well)
    plate = conn.getUpdateService().saveAndReturnObject(plate)
    sample = omero.model.WellSampleI()
    sample.setImage(omero.model.ImageI(number, False))
    sample.setWell(omero.model.WellI(plate.copyWells()[0].id.val, False))
    with pytest.raises(omero.ValidationException, match=r"WellSample\._wellSamplesBackref"):
        conn.getUpdateService().saveObject(sample)
    well = conn.getQueryService().findByQuery(
        "select w from Well w left outer join fetch w.wellSamples where w.plate.id = "
        f"{plate.id.val}", None,
    )  # fmt: skip
    well.addWellSample(sample)
    conn.getUpdateService().saveObject(well)
    with pytest.raises(omero.CmdError, match="may delete Image"):
        conn.deleteObjects("Image", [number], wait=True)
    (sample,) = next(conn.getObject("Plate", plate.id.val).listChildren()).listChildren()
    conn.deleteObjects("WellSample", [sample.getId()], deleteChildren=True, wait=True)
    assert conn.getObject("Image", number) is None
    conn.deleteObjects("Plate", [plate.id.val], wait=True)


def test_collections_that_were_not_fetched_are_not_loaded(conn):
    number, _ = upload(conn, "bare", (1, 1, 1, 4, 4))
    image = conn.getQueryService().get("Image", number)
    assert not image.isPixelsLoaded()
    assert not image.details.owner.loaded
    query = f"select i from Image i join fetch i.pixels where i.id = {number}"
    image = conn.getQueryService().findByQuery(query, None)
    assert image.isPixelsLoaded()
    assert not image.getPixels(0).getPixelsType().loaded
