"""The services that hold no pixels: accounts, configuration, queries, saving, deletion."""

import contextlib
from functools import lru_cache

import Ice
import omero
import omero.rtypes
import omero.sys
from omero.rtypes import unwrap

from omero_server.hql import Evaluator, HqlError, Parser
from omero_server.marshal import Marshal
from omero_server.store import Rec, entity_of
from omero_server.wire import Call, in_background

parse = lru_cache(maxsize=512)(lambda text: Parser(text).parse())


def marshal(call: Call, loaded: set, collections: dict | None = None) -> Marshal:
    return Marshal(call.server.store, call.caller(), loaded, collections or {})


def load(call: Call, rec: Rec | None, *others: Rec, collections: dict | None = None) -> object:
    """One record loaded, with `others` loaded where it refers to them."""
    return marshal(call, {rec, *others}, collections)(rec)


def find(call: Call, name: str, number: int) -> Rec:
    """A record that the caller sees; else what the server says of a missing one."""
    rec = call.server.store.find(name, number)
    if rec is None or not call.server.store.sees(call.caller(), rec):
        raise omero.ValidationException(
            None, None, f"No row with the given identifier exists: [{name}#{number}]"
        )
    return rec


class Query:
    """IQuery."""

    def get(self, call, klass, id):
        return load(call, find(call, klass, id))

    def find(self, call, klass, id):
        rec = call.server.store.find(klass, id)
        if rec is None or not call.server.store.sees(call.caller(), rec):
            return None
        return load(call, rec)

    def findAll(self, call, klass, filter):
        found = [r for r in call.server.store.all(klass) if self._sees(call)(r)]
        found = _page(found, filter)
        return [load(call, rec) for rec in found]

    def findByQuery(self, call, query, params):
        found = self.findAllByQuery(call, query, params)
        unique = {(type(obj), obj.id.val if obj else None): obj for obj in found}
        if len(unique) > 1:
            raise omero.ApiUsageException(
                None, None, f"query did not return a unique result: {len(unique)}"
            )
        return next(iter(unique.values()), None)

    def findAllByQuery(self, call, query, params):
        result = self._run(call, query, params)
        answer = marshal(call, result.loaded, result.collections)
        objects = []
        for row in result.rows:
            if not isinstance(row[0], Rec | None):
                raise omero.ApiUsageException(None, None, f"No entity is selected by: {query}")
            objects.append(answer(row[0]))
        return objects

    def projection(self, call, query, params):
        result = self._run(call, query, params)
        answer = marshal(call, result.loaded, result.collections)
        rows = result.rows
        if result.as_map:
            rows = [(self._map(call, result.names, row),) for row in rows]
        return [[answer.value(value) for value in row] for row in rows]

    def findByString(self, call, klass, field, value):
        found = self.findAllByString(call, klass, field, value, True, None)
        return found[0] if found else None

    def findAllByString(self, call, klass, field, value, caseSensitive, filter):
        sees = self._sees(call)
        found = [
            rec
            for rec in call.server.store.all(klass)
            if rec.fields.get(field) == value and sees(rec)
        ]
        return [load(call, rec) for rec in _page(found, filter)]

    def refresh(self, call, iObject):
        return load(call, find(call, iObject.ice_id(), iObject.id.val))

    def _sees(self, call):
        caller = call.caller()
        return lambda rec: call.server.store.sees(caller, rec)

    def _map(self, call, names, row):
        made = {}
        for name, value in zip(names, row, strict=True):
            if name.endswith("_details_permissions"):
                permissions = marshal(call, set()).permissions(value)
                value = {
                    f"can{what}": getattr(permissions, f"can{what}")()
                    for what in ("Annotate", "Edit", "Delete", "Link", "Chgrp", "Chown")
                }
            made[name] = value
        return made

    def _run(self, call, query, params):
        parameters = {}
        for name, value in ((params and params.map) or {}).items():
            if value is None:
                raise omero.ApiUsageException(None, None, f"The parameter {name} is null.")
            parameters[name] = unwrap(value)
            if isinstance(value, omero.RObject):
                parameters[name] = value.val.id.val
        try:
            result = Evaluator(call.server.store, self._sees(call), parameters).run(parse(query))
        except HqlError as error:
            call.server.wire.problems.append(f"HQL: {error} | {query}")
            raise omero.QueryException(None, None, f"{error} | {query}") from None
        result.rows = _page(result.rows, params and params.theFilter)
        return result


def _page(rows: list, filter: object) -> list:
    if filter is None:
        return rows
    start = filter.offset.val if filter.offset is not None else 0
    stop = None if filter.limit is None else start + filter.limit.val
    return rows[start:stop]


class Update:
    """IUpdate."""

    def saveObject(self, call, obj):
        call.server.store.save(obj, call.caller(writes=True))

    def saveAndReturnObject(self, call, obj):
        rec, loaded, collections = call.server.store.save(obj, call.caller(writes=True))
        return marshal(call, loaded | {rec}, collections)(rec)

    def saveCollection(self, call, objs):
        self.saveAndReturnArray(call, objs)

    def saveArray(self, call, graph):
        self.saveAndReturnArray(call, graph)

    def saveAndReturnArray(self, call, graph):
        caller = call.caller(writes=True)
        saved = call.server.store.save_all(graph, caller)
        return [marshal(call, loaded | {rec}, parts)(rec) for rec, loaded, parts in saved]

    def saveAndReturnIds(self, call, graph):
        caller = call.caller(writes=True)
        return [rec.id for rec, _, _ in call.server.store.save_all(graph, caller)]

    def deleteObject(self, call, row):
        rec = find(call, row.ice_id(), row.id.val)
        call.server.store.delete(rec, call.caller(writes=True), set())


class Admin:
    """IAdmin, as far as clients ask who they are."""

    def getEventContext(self, call):
        return call.session.event_context(call.caller())

    def getSecurityRoles(self, call):
        return omero.sys.Roles(0, "root", 0, "system", 1, "user", 1, "guest", 2, "guest")

    def getGroup(self, call, id):
        return self._group(call, find(call, "ExperimenterGroup", id))

    def lookupGroup(self, call, name):
        return self._group(call, self._named(call, "ExperimenterGroup", "name", name))

    def lookupGroups(self, call):
        return [self._group(call, rec) for rec in call.server.store.all("ExperimenterGroup")]

    def getExperimenter(self, call, id):
        return self._experimenter(call, find(call, "Experimenter", id))

    def lookupExperimenter(self, call, name):
        return self._experimenter(call, self._named(call, "Experimenter", "omeName", name))

    def lookupExperimenters(self, call):
        return [self._experimenter(call, rec) for rec in call.server.store.all("Experimenter")]

    def containedGroups(self, call, experimenterId):
        member = find(call, "Experimenter", experimenterId)
        maps = member.collection("groupExperimenterMap")
        return [self._group(call, rec.fields["parent"]) for rec in maps]

    def containedExperimenters(self, call, groupId):
        group = find(call, "ExperimenterGroup", groupId)
        maps = group.collection("groupExperimenterMap")
        return [self._experimenter(call, rec.fields["child"]) for rec in maps]

    def getDefaultGroup(self, call, experimenterId):
        member = find(call, "Experimenter", experimenterId)
        return self._group(call, member.collection("groupExperimenterMap")[0].fields["parent"])

    def getMemberOfGroupIds(self, call, exp):
        member = find(call, "Experimenter", exp.id.val)
        return [r.fields["parent"].id for r in member.collection("groupExperimenterMap")]

    def getLeaderOfGroupIds(self, call, exp):
        return []

    def getCurrentAdminPrivileges(self, call):
        return []

    def canUpdate(self, call, obj):
        rec = find(call, obj.ice_id(), obj.id.val)
        return call.server.store.may(call.caller(), rec, "edit")

    def _named(self, call, kind, field, name):
        for rec in call.server.store.all(kind):
            if rec.fields.get(field) == name:
                return rec
        raise omero.ApiUsageException(None, None, f"No such {kind}: {name}")

    def _group(self, call, rec):
        maps = rec.collection("groupExperimenterMap")
        members = [link.fields["child"] for link in maps]
        parts = {(rec, "groupExperimenterMap"): maps}
        return load(call, rec, *maps, *members, collections=parts)

    def _experimenter(self, call, rec):
        maps = rec.collection("groupExperimenterMap")
        groups = [link.fields["parent"] for link in maps]
        parts = {(rec, "groupExperimenterMap"): maps}
        return load(call, rec, *maps, *groups, collections=parts)


class Config:
    """IConfig."""

    def getVersion(self, call):
        return "5.6.16"

    def getDatabaseUuid(self, call):
        return call.server.uuid

    def getServerTime(self, call):
        return omero.rtypes.rtime(omero_time())

    def getDatabaseTime(self, call):
        return omero.rtypes.rtime(omero_time())

    def getConfigValue(self, call, key):
        return self._values(call).get(key, "")

    def getConfigValues(self, call, keyRegex):
        import re

        return {k: v for k, v in self._values(call).items() if re.search(keyRegex, k)}

    def getClientConfigValues(self, call):
        return {k: v for k, v in self._values(call).items() if k.startswith("omero.client")}

    def getClientConfigDefaults(self, call):
        return self.getClientConfigValues(call)

    def getConfigDefaults(self, call):
        return self._values(call)

    def _values(self, call):
        router = f"OMERO.Glacier2/router:tcp -p {call.server.tcp_port} -h @omero.host@"
        return {
            "omero.router.insecure": router,
            "omero.version": "5.6.16",
            "omero.pixeldata.max_plane_width": "3192",
            "omero.pixeldata.max_plane_height": "3192",
            "omero.client.ui.menu.dropdown.colleagues.label": "Members",
        }


def omero_time() -> int:
    from omero_server.store import now

    return now()


class Sessions:
    """ISession."""

    def getSession(self, call, sessionUuid):
        server = call.server
        session = server.sessions.get(sessionUuid)
        if session is None:
            raise omero.RemovedSessionException(None, None, f"No session {sessionUuid}")
        return load(call, session.rec)

    def closeSession(self, call, sess):
        uuid = sess.uuid.val
        session = call.server.sessions.get(uuid)
        if session is not None:
            call.server.end_session(session)
        return -2

    def getReferenceCount(self, call, sessionUuid):
        session = call.server.sessions.get(sessionUuid)
        return session.references if session else -2

    def getMyOpenSessions(self, call):
        return []


class Containers:
    """IContainer."""

    def getImages(self, call, rootType, rootIds, options):
        found = []
        for number in rootIds:
            rec = find(call, rootType, number)
            if rec.is_a("Image"):
                found.append(rec)
            else:
                found += [link.fields["child"] for link in rec.collection("imageLinks")]
        pixels = [part for rec in found for part in rec.collection("pixels")]
        loaded = {*found, *pixels, *(part.fields["pixelsType"] for part in pixels)}
        parts = {(rec, "pixels"): rec.collection("pixels") for rec in found}
        answer = marshal(call, loaded, parts)
        return [answer(rec) for rec in found]

    def getCollectionCount(self, call, type, property, ids, options):
        found = {number: find(call, type, number) for number in ids}
        return {number: len(rec.collection(property)) for number, rec in found.items()}


class Rois:
    """IRoi."""

    def findByImage(self, call, imageId, opts):
        image = find(call, "Image", imageId)
        rois = image.collection("rois")
        shapes = [shape for roi in rois for shape in roi.collection("shapes")]
        parts = {(roi, "shapes"): roi.collection("shapes") for roi in rois}
        answer = marshal(call, {*rois, *shapes}, parts)
        return omero.api.RoiResult(omero.api.RoiOptions(), [answer(roi) for roi in rois])


class Types:
    """ITypes."""

    def allEnumerations(self, call, type):
        return [load(call, rec) for rec in call.server.store.all(type)]

    def getEnumeration(self, call, type, value):
        for rec in call.server.store.all(type):
            if rec.fields["value"] == value:
                return load(call, rec)
        raise omero.ApiUsageException(None, None, f"No {type} is called {value}")


class Scripts:
    """IScript: there are none."""

    def getScripts(self, call):
        return []


class Metadata:
    """IMetadata."""

    def loadAnnotations(self, call, rootType, rootIds, annotationTypes, annotatorIds, options):
        found = {}
        for number in rootIds:
            rec = find(call, rootType, number)
            children = [link.fields["child"] for link in rec.collection("annotationLinks")]
            wanted = {entity_of(name).name for name in annotationTypes}
            children = [c for c in children if not wanted or wanted & set(c.type.bases)]
            files = [c.fields["file"] for c in children if c.fields.get("file")]
            answer = marshal(call, {*children, *files})
            found[number] = [answer(child) for child in children]
        return found


class HandleService:
    """What `submit` returns: a command that has already run."""

    def __init__(self, request, response, failed: bool) -> None:
        self._request, self._response = request, response
        self._flags = [omero.cmd.State.FAILURE] if failed else []

    def getRequest(self, call):
        return self._request

    def getResponse(self, call):
        return self._response

    def getStatus(self, call):
        return omero.cmd.Status(None, "", "", self._flags, {}, 1, 1, 0, [], [], 1)

    def addCallback(self, call, cb):
        back = call.current.con.createProxy(cb.ice_getIdentity())
        back = omero.cmd.CmdCallbackPrx.uncheckedCast(back)
        in_background(_finish, back, self._response, self.getStatus(call))

    def removeCallback(self, call, cb):
        pass

    def cancel(self, call):
        return False

    def close(self, call):
        pass


def _finish(callback, response, status) -> None:
    with contextlib.suppress(Ice.Exception):  # the client has gone, or polls
        callback.finished(response, status)


def run_command(call: Call, request: object) -> tuple[object, bool]:
    """Run a command; returns its response, and whether it failed."""
    if isinstance(request, omero.cmd.DoAll):
        answers = [run_command(call, part) for part in request.requests]
        for answer, failed in answers:
            if failed:
                return answer, True
        return omero.cmd.DoAllRsp([answer for answer, _ in answers], []), False
    if isinstance(request, omero.cmd.Delete2):
        try:
            return _delete(call, request), False
        except omero.ServerError as error:
            name = type(error).__name__
            parameters = {"message": error.message or ""}
            return omero.cmd.GraphException("", name, parameters, error.message or name), True
    text = f"The command {type(request).__name__} is not implemented by the test server"
    call.server.wire.problems.append(text)
    return omero.cmd.ERR("", text, {}), True


def _delete(call: Call, request: object) -> object:
    store, caller = call.server.store, call.caller(writes=False)
    keep = set()
    for option in request.childOptions or []:
        keep.update(option.excludeType or [])
    deleted: dict[str, list[int]] = {}
    for name, numbers in (request.targetObjects or {}).items():
        for number in numbers:
            rec = store.find(name, number)
            if rec is None or not store.sees(caller, rec):
                continue
            if request.dryRun:
                continue
            for gone in store.delete(rec, caller, keep):
                deleted.setdefault(f"ome.model.{gone.type.name}", []).append(gone.id)
    return omero.cmd.Delete2Response(deleted)


class Resources:
    """SharedResources."""

    def areTablesEnabled(self, call):
        return True

    def repositories(self, call):
        known = [load(call, repository) for repository in call.server.repositories]
        return omero.grid.RepositoryMap(known, [None] * len(known))

    def newTable(self, call, repoId, path):
        from omero_server.pixels import TableService

        store, caller = call.server.store, call.caller(writes=True)
        rec = store.add_for(
            caller, "OriginalFile", name=path, path="/", mimetype="OMERO.tables", size=0
        )
        return call.server.open_stateful(call, omero.grid.Table, TableService(rec))

    def openTable(self, call, file):
        from omero_server.pixels import TableService

        rec = find(call, "OriginalFile", file.id.val)
        return call.server.open_stateful(call, omero.grid.Table, TableService(rec))


class Factory:
    """ServiceFactory: hands out the other services of a session."""

    def __init__(self, server) -> None:
        self._server = server

    def keepAlive(self, call, proxy):
        call.server.check_session(call.session)
        return True

    def keepAllAlive(self, call, proxies):
        call.server.check_session(call.session)
        return 0

    def setCallback(self, call, callback):
        pass

    def closeOnDestroy(self, call):
        call.session.detached = False

    def detachOnDestroy(self, call):
        call.session.detached = True

    def destroy(self, call):
        call.server.end_session(call.session)

    def activeServices(self, call):
        return []

    def setSecurityContext(self, call, obj):
        old = load(call, call.session.group)
        call.session.group = find(call, "ExperimenterGroup", obj.id.val)
        return old

    def submit(self, call, req):
        response, failed = run_command(call, req)
        handle = HandleService(req, response, failed)
        return call.server.open_stateful(call, omero.cmd.Handle, handle)


def _stateless(name: str, kind: str):
    def get(self, call):
        return call.server.stateless(call, kind)

    get.__name__ = name
    return get


def _stateful(name: str, kind: str):
    def create(self, call):
        from omero_server import pixels

        service = getattr(pixels, kind)()
        return call.server.open_stateful(call, getattr(omero.api, kind), service)

    create.__name__ = name
    return create


SERVICES = {
    "IQuery": Query, "IUpdate": Update, "IAdmin": Admin, "IConfig": Config, "ISession": Sessions,
    "IContainer": Containers, "IRoi": Rois, "ITypes": Types, "IScript": Scripts,
    "IMetadata": Metadata,
}  # fmt: skip
GETTERS = {
    "getQueryService": "IQuery", "getUpdateService": "IUpdate", "getAdminService": "IAdmin",
    "getConfigService": "IConfig", "getSessionService": "ISession", "getRoiService": "IRoi",
    "getContainerService": "IContainer", "getTypesService": "ITypes", "getPixelsService": "IPixels",
    "getScriptService": "IScript", "getMetadataService": "IMetadata",
}  # fmt: skip
for _name, _kind in GETTERS.items():
    setattr(Factory, _name, _stateless(_name, _kind))
for _kind in ("RawPixelsStore", "RawFileStore", "RenderingEngine"):
    setattr(Factory, f"create{_kind}", _stateful(f"create{_kind}", _kind))


def _shared_resources(self, call):
    return call.server.stateless(call, "SharedResources")


Factory.sharedResources = _shared_resources
