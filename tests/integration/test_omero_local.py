"""Images of a server read from its disk: what is read, what is refused, and what is moved."""

import gc
import os
import time
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

pytest.importorskip("omero.gateway", reason="omero-py is not installed: run `make omero`")

import zarr
from omero_server.logins import account, variables

from lib.omero.connection import Account, LostSession, NoPermission, connect, read_account
from lib.omero.import_image import ImageDescription, channel_styles, upload_planes
from lib.omero.inventory import fetch_image, inventory, write_sheets
from lib.omero.local_backend import OMEROLocalBackend, data_folders
from lib.omero.paths import ServerDisk
from lib.omero.queries import describe_image
from lib.shared.errors import InputError
from lib.shared.image_io import read_image, write_image
from lib.shared.layout import is_omero_image
from lib.shared.samples import read_sbs_samples

pytest_plugins = ["omero_server.fixtures"]

RNG = np.random.default_rng(5)


def pixels(*shape):
    return RNG.integers(0, 60000, shape).astype(np.uint16)


@pytest.fixture
def backend(gateway, server):
    """Alice, who may read all of the server's disk."""
    return OMEROLocalBackend(gateway, ServerDisk.of([server.folder]))


@pytest.fixture
def dataset(backend):
    return backend.get_or_create_dataset("local")


@pytest.fixture
def remote(place):
    """Somebody who sees no disk, at the test server and at a real one."""
    with connect(place) as connection:
        yield OMEROLocalBackend(connection, ServerDisk.of([]), allow_remote=True)


@pytest.fixture
def project(remote):
    """A project, which goes with all that was put into it."""
    import omero.model
    from omero.rtypes import rstring

    made = omero.model.ProjectI()
    made.setName(rstring("poolscope test"))
    number = remote.gateway.getUpdateService().saveAndReturnObject(made).id.val
    yield number
    remote.gateway.deleteObjects(
        "Project", [number], deleteAnns=True, deleteChildren=True, wait=True
    )


def save(backend, dataset, image, name="image"):
    return backend.save(image, name, dataset, {"run": "1"})


def bare_image(backend, dataset, shape):
    """An image on the server that has metadata and no pixels, to be given files."""
    image = np.zeros(shape, np.uint16)
    return save(backend, dataset, image)


def give_file(server, number, name, image, axes="CYX", series=0, folder="alice_2/"):
    path = server.folder / "ManagedRepository" / folder / name
    write_image(path, image, axes)
    server.do("fileset", image=number, files=[[folder, name]], series=series)
    return path


def test_what_is_saved_is_loaded(place):
    image = pixels(3, 2, 7, 9)
    with connect(place) as connection:
        remote = OMEROLocalBackend(connection, ServerDisk.of([]), allow_remote=True)
        dataset = remote.get_or_create_dataset("saved")
        number = remote.save(image, "saved", dataset, {"version": "1", "commit": "abc"}, (0.5, 0.4))
        assert (remote.load(number) == image).all()
        wrapped = connection.getObject("Image", number)
        assert wrapped.getPixelSizeX() == pytest.approx(0.4)
        assert wrapped.getPixelSizeY() == pytest.approx(0.5)
        (annotation,) = wrapped.listAnnotations()
        assert annotation.getValue() == [("version", "1"), ("commit", "abc")]
        assert [parent.getName() for parent in wrapped.listParents()] == ["saved"]
        connection.deleteObjects("Image", [number], wait=True)


@pytest.mark.parametrize("shape", [(4, 3, 6, 5), (4, 6, 5), (1, 2, 3, 70)])
def test_raw_pixels_are_read_without_a_byte_over_the_wire(backend, dataset, server, shape):
    image = pixels(*shape)
    number = save(backend, dataset, image)
    server.do("clear")
    assert (backend.load(number) == image).all()
    assert backend.locate(number).kind == "pixels"
    assert server.do("report")["pixel_bytes_out"] == 0


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32", "float64"])
def test_every_type_comes_back(backend, dataset, remote, project, dtype):
    image = (RNG.random((2, 4, 5)) * 100).astype(dtype)
    for place, parent in (backend, dataset), (remote, remote.get_or_create_dataset("t", project)):
        found = place.load(save(place, parent, image))
        assert found.dtype == dtype
        assert (found == image).all()


def test_a_plane_that_is_too_large_goes_in_tiles(gateway, backend, dataset, server):
    image = np.zeros((1, 3000, 3500), np.uint16)
    image[0, ::7] = np.arange(3500)
    number = save(backend, dataset, image)
    assert server.do("report")["calls"]["setTile"] >= 4
    # The server keeps it in a form of its own, which is told, and fetched where that is allowed.
    with pytest.raises(InputError, match=r"_pyramid holds it in tiles, .* not read here\. Set"):
        backend.load(number)
    server.do("clear")
    assert (OMEROLocalBackend(gateway, backend.disk, allow_remote=True).load(number) == image).all()
    assert server.do("report")["pixel_bytes_out"] == image.nbytes
    gateway.deleteObjects("Image", [number], wait=True)


def test_the_data_folder_is_found_among_all_repositories():
    # As a real server names them: the scripts, the public repository, the managed one.
    roots = ["/opt/server/lib/scripts", "/OMERO", "/OMERO/ManagedRepository"]
    assert data_folders(roots)[0] == "/OMERO"
    # The managed repository may have been put elsewhere.
    assert "/OMERO" in data_folders(["/OMERO", "/big/ManagedRepository"])


def test_files_of_a_fileset_are_read_in_place(backend, dataset, server):
    image = pixels(2, 6, 5)
    number = bare_image(backend, dataset, (1, 2, 6, 5))
    path = give_file(server, number, "a.tiff", image)
    assert backend.locate(number).path == path
    assert (backend.load(number) == image[None]).all()


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_a_store_goes_before_files(gateway, backend, dataset, server, prefix):
    image = pixels(2, 6, 5)
    store = server.folder / "results" / "image.ome.zarr"
    group = zarr.open_group(store, mode="w", zarr_format=2)
    group.create_array("0", data=image, chunks=image.shape)
    axes = [{"name": name} for name in "cyx"]
    group.attrs["multiscales"] = [{"axes": axes, "datasets": [{"path": "0"}], "version": "0.4"}]
    number = register(gateway, dataset, image, f"{prefix}{store}")
    give_file(server, number, f"old{number}.tiff", image[::-1])
    assert backend.locate(number).kind == "ngff"
    assert (backend.load(number) == image[None]).all()


def test_a_store_in_the_cloud_is_not_on_the_disk(gateway, backend, dataset):
    number = register(gateway, dataset, pixels(2, 6, 5), "s3://host/bucket/image.ome.zarr")
    with pytest.raises(InputError, match="in an object store, not on a disk"):
        backend.load(number)


def test_a_store_outside_of_the_roots_is_refused(gateway, backend, dataset, tmp_path):
    image = pixels(2, 6, 5)
    store = tmp_path / "private.ome.zarr"
    group = zarr.open_group(store, mode="w", zarr_format=2)
    group.create_array("0", data=image)
    axes = [{"name": name} for name in "cyx"]
    group.attrs["multiscales"] = [{"axes": axes, "datasets": [{"path": "0"}], "version": "0.4"}]
    for lsid in (store, f"{backend.disk.roots[0]}/../{tmp_path.name}/private.ome.zarr"):
        number = register(gateway, dataset, image, str(lsid))
        with pytest.raises(InputError, match=r"outside of the folders|climbs out"):
            backend.load(number)


def test_a_chunk_that_leads_out_of_the_roots_is_refused(gateway, backend, dataset, server):
    image = pixels(2, 6, 5)
    store = server.folder / "results" / "linked.ome.zarr"
    group = zarr.open_group(store, mode="w", zarr_format=2)
    group.create_array("0", data=image, chunks=(1, 6, 5), compressors=None)
    axes = [{"name": name} for name in "cyx"]
    group.attrs["multiscales"] = [{"axes": axes, "datasets": [{"path": "0"}], "version": "0.4"}]
    number = register(gateway, dataset, image, str(store))
    assert (backend.load(number) == image[None]).all()
    secret = server.folder.parent / "secret.bin"
    secret.write_bytes((store / "0" / "1.0.0").read_bytes())
    (store / "0" / "1.0.0").unlink()
    (store / "0" / "1.0.0").symlink_to(secret)
    with pytest.raises(InputError, match=r"1\.0\.0 \(it leads to .*secret\.bin\) lies outside"):
        backend.load(number)


def register(gateway, dataset, image, store):
    """Register a store as an image of a dataset."""
    import omero.model

    from lib.omero.import_image import Enumerations, image_object

    shape = (1, len(image), 1, *image.shape[1:])
    described = ImageDescription(
        "stored", shape, image.dtype, channel_styles(list("ab")), store=store
    )
    made = image_object(described, Enumerations(gateway))
    link = omero.model.DatasetImageLinkI()
    link.setParent(omero.model.DatasetI(dataset, False))
    made.addDatasetImageLink(link)
    return gateway.getUpdateService().saveAndReturnObject(made).id.val


def test_a_series_is_the_image_of_that_number_in_the_file(backend, dataset, server):
    import tifffile

    images = [pixels(6, 5), pixels(6, 5)]
    folder = server.folder / "ManagedRepository/series"
    folder.mkdir()
    with tifffile.TiffWriter(folder / "two.ome.tiff", ome=True) as tiff:
        for image in images:
            tiff.write(image)
    number = bare_image(backend, dataset, (1, 6, 5))
    server.do("fileset", image=number, files=[["series/", "two.ome.tiff"]], series=1)
    assert (backend.load(number) == images[1][None]).all()


def test_a_series_of_a_plate_of_stores_is_the_field_of_that_number(backend, dataset, server):
    store = server.folder / "ManagedRepository/plates/p.ome.zarr"
    group = zarr.open_group(store, mode="w", zarr_format=2)
    wells = {"A/1": ["0", "1"], "B/3": ["0"]}
    group.attrs["plate"] = {"wells": [{"path": path} for path in wells]}
    images = []
    for well, fields in wells.items():
        part = group.create_group(well)
        part.attrs["well"] = {"images": [{"path": path} for path in fields]}
        for path in fields:
            images.append(pixels(2, 6, 5))
            field = part.create_group(path)
            field.create_array("0", data=images[-1], chunks=(1, 6, 5))
            axes = [{"name": name} for name in "cyx"]
            level = {"axes": axes, "datasets": [{"path": "0"}], "version": "0.4"}
            field.attrs["multiscales"] = [level]
    files = [["plates/p.ome.zarr/", ".zattrs"], ["plates/p.ome.zarr/A/1/0/0/", "0.0.0"]]
    for series, image in enumerate(images):
        number = bare_image(backend, dataset, (1, 2, 6, 5))
        server.do("fileset", image=number, files=files, series=series)
        assert (backend.load(number) == image[None]).all()
    server.do("fileset", image=number, files=files, series=3)
    with pytest.raises(InputError, match=r"p\.ome\.zarr"):
        backend.load(number)


@pytest.mark.parametrize("image", [pixels(2, 6, 4), pixels(3, 6, 5), np.zeros((2, 6, 5), np.uint8)])
def test_a_file_that_is_not_what_the_server_says_is_refused(backend, dataset, server, image):
    number = bare_image(backend, dataset, (1, 2, 6, 5))
    give_file(server, number, f"wrong{number}.tiff", image)
    with pytest.raises(InputError, match="but OMERO says uint16"):
        backend.load(number)


def test_raw_pixels_of_another_length_are_refused(backend, dataset, server):
    number = save(backend, dataset, pixels(2, 6, 5))
    path = backend.locate(number).path
    with open(path, "r+b") as file:
        file.truncate(100)
    with pytest.raises(InputError, match=r"has 100 bytes .* needs 120"):
        backend.load(number)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([["../", "secret.tiff"]], "climbs out"),
        ([["alice_2/", "../../secret.tiff"]], "no plain path"),
        ([["/etc/", "passwd"]], "no plain path"),
        ([["alice_2/", "link.tiff"]], "outside of the folders"),
        ([["alice_2/", "none.tiff"]], "not there on this machine"),
    ],
)
def test_paths_that_lead_out_are_refused(backend, dataset, server, files, words):
    secret = server.folder.parent / "secret.tiff"
    if not secret.exists():
        write_image(secret, pixels(2, 6, 5), "CYX")
    link = server.folder / "ManagedRepository/alice_2/link.tiff"
    link.parent.mkdir(exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(secret)
    number = bare_image(backend, dataset, (1, 2, 6, 5))
    server.do("fileset", image=number, files=files)
    with pytest.raises(InputError, match=words):
        backend.load(number)


def test_what_cannot_be_reached_is_fetched_only_when_allowed(gateway, dataset, server, backend):
    image = pixels(3, 2, 6, 5)
    number = save(backend, dataset, image)
    nowhere = ServerDisk.of([])
    with pytest.raises(InputError, match=r"outside of the folders.*omero\.allow_remote"):
        OMEROLocalBackend(gateway, nowhere).load(number)
    server.do("clear")
    found = OMEROLocalBackend(gateway, nowhere, allow_remote=True).load(number)
    assert (found == image).all()
    assert server.do("report")["pixel_bytes_out"] == image.nbytes


@pytest.mark.parametrize("shape", [(1, 1500, 1100), (2, 3200, 3300)])
def test_a_fetched_plane_may_be_many_tiles(remote, project, shape):
    image = np.zeros(shape, np.uint16)
    image[:] = np.arange(shape[2])
    image[-1] += np.arange(shape[1], dtype=np.uint16)[:, None]
    number = save(remote, remote.get_or_create_dataset("tiles", project), image)
    assert (remote.load(number) == image).all()


def test_of_fetched_images_one_is_held_at_a_time(gateway, backend, dataset):
    number = save(backend, dataset, pixels(1, 1000, 1000))
    remote = OMEROLocalBackend(gateway, ServerDisk.of([]), allow_remote=True)
    one = remote.load(number).nbytes
    gc.disable()  # a cycle of references would hold them all
    tracemalloc.start()
    try:
        for _ in range(4):
            remote.load(number)
        assert tracemalloc.get_traced_memory()[0] < one
    finally:
        tracemalloc.stop()
        gc.enable()


def test_who_may_not_see_an_image_cannot_read_it_from_disk(backend, dataset, server):
    number = save(backend, dataset, pixels(2, 6, 5))
    disk = ServerDisk.of([server.folder])
    with (
        connect(account(server, "carol")) as stranger,
        pytest.raises(InputError, match=f"no image {number}, or user carol may not read it"),
    ):
        OMEROLocalBackend(stranger, disk, allow_remote=True).load(number)


def test_a_private_group_is_private(server):
    with connect(account(server, "alice", "private")) as alice:
        own = OMEROLocalBackend(alice, ServerDisk.of([server.folder]))
        number = own.save(pixels(2, 6, 5), "private", own.get_or_create_dataset("p"), {})
    with (
        connect(account(server, "bob", "private")) as bob,
        pytest.raises(InputError, match="bob may not read it"),
    ):
        OMEROLocalBackend(bob, ServerDisk.of([server.folder])).load(number)


def test_who_may_only_read_cannot_write_there(backend, dataset, server):
    with connect(account(server, "bob")) as bob:
        reader = OMEROLocalBackend(bob, ServerDisk.of([server.folder]))
        number = save(backend, dataset, pixels(2, 6, 5))
        assert reader.load(number).shape == (2, 6, 5)
    before = server.do("count")
    with pytest.raises(NoPermission, match="does not permit"), connect(account(server, "bob")) as b:
        OMEROLocalBackend(b, ServerDisk.of([])).save(pixels(2, 6, 5), "mine", dataset, {})
    after = server.do("count")
    assert {k: v for k, v in before.items() if k not in ("Event", "Session")} == {
        k: v for k, v in after.items() if k not in ("Event", "Session")
    }


def test_an_upload_that_fails_leaves_nothing(backend, dataset, server, monkeypatch):
    def fail(*arguments):
        raise InputError("the disk is full")

    before = server.do("count")
    monkeypatch.setattr("lib.omero.import_image.upload_planes", fail)
    with pytest.raises(InputError, match="disk is full"):
        save(backend, dataset, pixels(2, 6, 5))
    after = server.do("count")
    kinds = ("Image", "Pixels", "Channel", "MapAnnotation", "DatasetImageLink", "RenderingDef")
    assert [before.get(kind) for kind in kinds] == [after.get(kind) for kind in kinds]


def test_a_plane_of_another_type_is_not_sent(gateway, backend, dataset):
    number = save(backend, dataset, pixels(2, 6, 5))
    image = describe_image(gateway, number)
    with pytest.raises(InputError, match="uint8 of"):
        upload_planes(
            gateway, image.pixels_id, image.shape, image.dtype,
            lambda t, c, z: np.zeros((6, 5), np.uint8),
        )  # fmt: skip


def test_images_are_listed_by_name_and_tag(remote, project):
    gateway, backend = remote.gateway, remote
    dataset = backend.get_or_create_dataset("listed", project)
    numbers = [save(backend, dataset, pixels(1, 3, 3), name) for name in ("One", "two", "Tone")]
    from omero.gateway import TagAnnotationWrapper

    tag = TagAnnotationWrapper(gateway)
    tag.setValue("good")
    tag.save()
    gateway.getObject("Image", numbers[1]).linkAnnotation(tag)
    assert [e.name for e in backend.list_files(dataset=dataset)] == ["One", "two", "Tone"]
    assert [e.id for e in backend.list_files(dataset=dataset, name="%ONE")] == numbers[::2]
    (tagged,) = backend.list_files(dataset=dataset, tags=["good"])
    assert (tagged.id, tagged.tags) == (numbers[1], ("good",))
    assert backend.list_files(dataset=dataset, tags=["bad"]) == []


def test_images_are_listed_by_date(remote, project):
    from omero.rtypes import rtime

    gateway, backend = remote.gateway, remote
    dataset = backend.get_or_create_dataset("dated", project)
    moments = [datetime(2026, 3, day, 12, tzinfo=UTC) for day in (1, 2, 3)]
    numbers = [save(backend, dataset, pixels(1, 3, 3), f"day {m.day}") for m in moments]
    update, query = gateway.getUpdateService(), gateway.getQueryService()
    for number, moment in zip(numbers, moments, strict=True):
        image = query.get("Image", number)
        image.setAcquisitionDate(rtime(int(moment.timestamp() * 1000)))
        update.saveObject(image)
    save(backend, dataset, pixels(1, 3, 3), "at no time")

    def found(first, last):
        return [e.id for e in backend.list_files(dataset=dataset, date=(first, last))]

    assert found(None, None) == numbers
    assert found(moments[1], None) == numbers[1:]
    assert found(None, moments[1]) == numbers[:2]
    assert found(moments[1], moments[1]) == [numbers[1]]
    local = moments[1].astimezone().replace(tzinfo=None)
    assert found(local, local) == [numbers[1]]
    (second,) = backend.list_files(dataset=dataset, name="day 2")
    assert second.acquired == moments[1]


def test_images_are_listed_by_project(remote, project):
    datasets = [remote.get_or_create_dataset(name, project) for name in ("one", "two")]
    numbers = [save(remote, dataset, pixels(1, 3, 3)) for dataset in datasets]
    assert [e.id for e in remote.list_files(project=project)] == numbers
    assert remote.get_or_create_dataset("one", project) == datasets[0]
    for wrong in ({}, {"project": project, "dataset": datasets[0]}):
        with pytest.raises(ValueError, match="name one of project, dataset and plate"):
            remote.list_files(**wrong)


def test_images_are_listed_by_plate(backend, plate):
    number, images = plate
    assert {e.id for e in backend.list_files(plate=number)} == {n for n, _ in images.values()}
    assert len(backend.list_files(plate=number, name="b3%")) == 4


def test_a_dataset_is_made_once(gateway, backend):
    first = backend.get_or_create_dataset("only one")
    assert backend.get_or_create_dataset("only one") == first
    assert backend.get_or_create_dataset("another") != first


def test_a_wrong_password_is_told_and_not_shown(place, caplog):
    wrong = replace(place, password="guessed-wrong")
    with pytest.raises(InputError, match=f"refuses user {place.user}") as caught, connect(wrong):
        pass
    assert "guessed-wrong" not in f"{caught.value} {caplog.text}"


def test_a_server_that_is_not_there_is_told():
    nobody = Account("127.0.0.1", 1, None, "alice", "x")
    with (
        pytest.raises(InputError, match=r"No OMERO server answers at 127\.0\.0\.1:1"),
        connect(nobody),
    ):
        pass


def test_a_group_of_others_is_told(server):
    carol = account(server, "carol", "lab")
    with pytest.raises(InputError, match="not a member of the group lab"), connect(carol):
        pass


def test_a_session_is_joined_and_left_open(place, remote):
    session = remote.gateway.c.getSessionId()
    for _ in range(2):
        with connect(Account(place.host, place.port, session=session)) as joined:
            assert joined.getUser().getName() == place.user
    assert remote.gateway.getUser().getName() == place.user


def test_the_session_of_the_omero_command_is_found(server, gateway, tmp_path, monkeypatch):
    from omero.util.sessions import SessionsStore

    monkeypatch.setenv("OMERO_USERDIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    session = gateway.c.getSessionId()
    store = SessionsStore()
    store.add(server.host, "alice", session, {"omero.port": str(server.port)})
    store.set_current(server.host, "alice", session, {"omero.port": str(server.port)})
    found = read_account({})
    assert (found.host, found.port, found.session) == (server.host, server.port, session)
    with connect(found) as joined:
        assert joined.getUser().getName() == "alice"
    with pytest.raises(InputError, match="no login for OMERO at elsewhere"):
        read_account({"OMERO_HOST": "elsewhere"})


def test_a_session_is_kept_alive(server, monkeypatch):
    shortest = 5  # seconds that omero-py allows
    monkeypatch.setattr("lib.omero.connection.KEEP_ALIVE_SECONDS", shortest)
    server.do("clear")
    with connect(account(server)):
        until = time.monotonic() + 60
        while not (called := server.do("report")["calls"].get("keepAlive", 0)):
            assert time.monotonic() < until
            time.sleep(0.1)
    assert called > 0


def test_a_session_that_ended_is_told(place):
    ended = Account(place.host, place.port, session="0b8f1a5e-0000-0000-0000-000000000000")
    with pytest.raises(InputError, match="does not accept the session"), connect(ended):
        pass


@pytest.mark.parametrize("kind", ["expire", "drop_before", "drop_after"])
def test_a_lost_session_is_told(server, kind):
    with pytest.raises(LostSession, match="was lost"), connect(account(server)) as connection:
        server.do("fault", kind=kind, operation="projection")
        describe_image(connection, 1)
    server.do("clear")


# A plate as a sample sheet


@pytest.fixture(scope="module")
def plate(server):
    """A plate of 2 wells x 2 fields x 2 cycles; field 1 of B3 has no file of its own."""
    import omero.model
    from omero.rtypes import rint, rstring

    images = {}
    with connect(account(server)) as connection:
        backend = OMEROLocalBackend(connection, ServerDisk.of([server.folder]))
        dataset = backend.get_or_create_dataset("plate")
        made = omero.model.PlateI()
        made.setName(rstring("My plate"))
        for cycle in (1, 2):
            run = omero.model.PlateAcquisitionI()
            run.setName(rstring(f"Cycle {cycle}"))
            made.addPlateAcquisition(run)
        update = connection.getUpdateService()
        made = update.saveAndReturnObject(made)
        for row, column in ((0, 0), (1, 2)):
            well = omero.model.WellI()
            well.setPlate(omero.model.PlateI(made.id.val, False))
            well.setRow(rint(row))
            well.setColumn(rint(column))
            for cycle, run in enumerate(made.copyPlateAcquisitions(), 1):
                for tile in range(2):
                    image = pixels(2, 6, 5)
                    key = ("AB"[row] + str(column + 1), str(tile), cycle)
                    lives_on_server = key[:2] == ("B3", "1")
                    number = save(backend, dataset, image[None], "_".join(map(str, key)))
                    if not lives_on_server:
                        give_file(server, number, f"{number}.tiff", image, folder="plate/")
                    images[key] = (number, image)
                    sample = omero.model.WellSampleI()
                    sample.setImage(omero.model.ImageI(number, False))
                    sample.setPlateAcquisition(omero.model.PlateAcquisitionI(run.id.val, False))
                    well.addWellSample(sample)
            update.saveObject(well)
    return made.id.val, images


def test_a_plate_becomes_a_sample_sheet_of_its_files(gateway, server, plate, tmp_path):
    number, images = plate
    disk = ServerDisk.of([server.folder])
    server.do("clear")
    listed = inventory(gateway, number, disk, tmp_path / "fetched")
    report = server.do("report")
    assert report["pixel_bytes_out"] == 0
    assert report["calls"]["projection"] <= 5
    for row in listed:
        if row.is_fetched:
            assert (row.well, row.tile) == ("B3", "1")
            fetch_image(gateway, row.image_id, disk, False, tmp_path / "fetched" / row.sample_fp)
    (sheet,) = write_sheets(listed, tmp_path)
    samples = read_sbs_samples(sheet)
    assert samples.plates == (str(number),)  # "My plate" is no name for files
    for (well, tile, cycle), (image_id, image) in images.items():
        (source,) = samples.sources(str(number), well, tile, cycle)
        assert (read_image(source.path) == image).all()
        if (well, tile) == ("B3", "1"):
            assert source.path.endswith(f"/I-{image_id}__image.tiff")


def test_a_plate_of_others_has_no_inventory(server, plate):
    with (
        connect(account(server, "carol")) as stranger,
        pytest.raises(InputError, match="carol may not read it"),
    ):
        inventory(stranger, plate[0], ServerDisk.of([server.folder]), server.folder)


def test_the_command_line_lists_a_plate(server, plate, tmp_path, monkeypatch, capsys):
    from lib.omero.__main__ import main

    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in variables(server).items():
        monkeypatch.setenv(name, value)
    arguments = ["inventory", "--plate", str(plate[0]), "--root", str(server.folder)]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    assert "8 images, 2 of them to be fetched" in capsys.readouterr().out
    # The workflow fetches what is not there yet.
    sheet = read_sbs_samples(tmp_path / "sbs_samples.tsv").sheet
    missing = [path for path in sheet.columns["sample_fp"] if not os.path.exists(path)]
    assert len(missing) == 2
    assert all(is_omero_image(path) for path in missing)
    assert main([*arguments, "--out", str(tmp_path), "--fetch"]) == 0
    assert all(os.path.exists(path) for path in missing)
    assert "8 images, 2 of them fetched" in capsys.readouterr().out
    assert read_sbs_samples(tmp_path / "sbs_samples.tsv").wells(str(plate[0])) == ("A1", "B3")
    monkeypatch.setenv("OMERO_PASSWORD", "wrong-secret")
    assert main(arguments) == 1
    said = capsys.readouterr()
    assert "refuses user alice" in said.err
    assert "wrong-secret" not in said.err + said.out
    for wrong, words in (
        (["--password", "x"], "unrecognized arguments: --password"),
        (["--mount", "/OMERO"], "/OMERO is not of the form /OMERO=/mnt/omero"),
    ):
        with pytest.raises(SystemExit):
            main([*arguments, *wrong])
        assert words in capsys.readouterr().err


def test_the_command_line_tries_a_login(server, plate, tmp_path, monkeypatch, capsys):
    from lib.omero.__main__ import main

    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in variables(server, "bob").items():
        monkeypatch.setenv(name, value)
    server.do("clear")
    assert main(["check"]) == 0
    place = f"OMERO at {server.host}:{server.port}"
    assert capsys.readouterr().out == f"{place}: user bob, group lab\n"
    assert main(["check", "--plate", str(plate[0])]) == 1
    assert f"User bob may not annotate the source plate {plate[0]}" in capsys.readouterr().err
    assert main(["check", "--screen", "4711"]) == 1
    assert "User bob may not put plates into the screen 4711" in capsys.readouterr().err
    assert not {"saveObject", "saveAndReturnObject"} & set(server.do("report")["calls"])
    monkeypatch.setenv("OMERO_PASSWORD", "wrong-secret")
    assert main(["check"]) == 1
    assert "refuses user bob" in capsys.readouterr().err
