"""The objects of the server: records, saving of what clients send, permissions, deletion."""

import itertools
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import omero
import omero.rtypes

from omero_server.schema import EntityType, schema

# What everybody sees and only an administrator writes: accounts, enumerations, events.
GLOBAL = {"Experimenter", "ExperimenterGroup", "GroupExperimenterMap", "Event", "Session", "Node"}
SHORT_TEXT = {"name", "ns", "lsid", "entityType", "uuid", "externalIdentifier", "status"}
COLLABORATION = {"rw----": 0, "rwr---": 1, "rwra--": 2, "rwrw--": 3}


@dataclass(eq=False)
class Rec:
    """One row of the server's database; references point to other records."""

    type: EntityType
    id: int
    fields: dict = field(default_factory=dict)
    owner: "Rec | None" = None
    group: "Rec | None" = None
    creation: "Rec | None" = None
    update: "Rec | None" = None
    external: "Rec | None" = None
    # Records that refer to this one, by the name of their reference; in order of creation.
    back: dict = field(default_factory=lambda: defaultdict(dict))

    def is_a(self, name: str) -> bool:
        return name in self.type.bases

    def collection(self, name: str) -> list["Rec"]:
        member = self.type.properties[name]
        referring = self.back[member.inverse].values()
        return [rec for rec in referring if rec.is_a(member.target)]

    @property
    def is_global(self) -> bool:
        return self.type.name in GLOBAL or is_enumeration(self.type)


def is_enumeration(entity: EntityType) -> bool:
    return "value" in entity.properties and set(entity.properties) == {"value"}


@dataclass
class Caller:
    """Who calls, and in which group: -1 for all of the user's groups."""

    user: Rec
    group_id: int
    is_admin: bool
    group_ids: frozenset[int]
    event: Rec | None = None
    leads: frozenset[int] = frozenset()


class Store:
    """All records, with the rules of who sees and who changes them."""

    def __init__(self) -> None:
        self.records: dict[str, dict[int, Rec]] = defaultdict(dict)
        self.numbers = defaultdict(lambda: itertools.count(1))
        self.on_delete = []

    # Reading

    def all(self, name: str) -> Iterator[Rec]:
        entity = _entity(name)
        return (rec for rec in list(self.records[entity.table].values()) if rec.is_a(entity.name))

    def find(self, name: str, number: int) -> Rec | None:
        entity = _entity(name)
        rec = self.records[entity.table].get(number)
        return rec if rec is not None and rec.is_a(entity.name) else None

    def sees(self, caller: Caller, rec: Rec) -> bool:
        if rec.is_global or rec.group is None:
            return True
        if caller.group_id not in (-1, rec.group.id) and not (
            rec.is_a("OriginalFile") and rec.group.id == 1
        ):
            return False
        if caller.is_admin or rec.owner is caller.user:
            return True
        if rec.group.id not in caller.group_ids:
            return rec.group.id == 1  # what belongs to the server's "user" group
        return self.level(rec.group) > 0 or rec.group.id in caller.leads

    def may(self, caller: Caller, rec: Rec, what: str) -> bool:
        """Whether `what` ("edit", "delete", "link" or "annotate") is allowed."""
        if caller.is_admin or rec.owner is caller.user:
            return True
        if rec.group is None or rec.group.id not in caller.group_ids:
            return False
        if rec.group.id in caller.leads:
            return True
        return self.level(rec.group) >= (2 if what == "annotate" else 3)

    def level(self, group: Rec) -> int:
        return COLLABORATION[group.fields["permissions"]]

    # Writing

    def add(
        self, kind: str, owner: Rec | None = None, group: Rec | None = None, /, **fields: object
    ) -> Rec:
        """Make a record directly, as the server does for itself."""
        entity = _entity(kind)
        rec = Rec(entity, next(self.numbers[entity.table]), owner=owner, group=group)
        self.records[entity.table][rec.id] = rec
        for key, value in fields.items():
            self.assign(rec, key, value)
        return rec

    def add_for(self, caller: Caller, kind: str, /, **fields: object) -> Rec:
        """Make a record on behalf of a caller, without asking for permission."""
        group = self.find("ExperimenterGroup", caller.group_id)
        rec = self.add(kind, caller.user, group, **fields)
        rec.creation = rec.update = caller.event or self.add("Event", time=now())
        return rec

    def assign(self, rec: Rec, name: str, value: object) -> None:
        old = rec.fields.get(name)
        member = rec.type.properties.get(name)
        if member is not None and member.kind == "reference":
            if isinstance(old, Rec):
                old.back[name].pop((rec.type.table, rec.id), None)
            if isinstance(value, Rec):
                value.back[name][rec.type.table, rec.id] = rec
        rec.fields[name] = value

    def save(self, root: object, caller: Caller) -> tuple[Rec, set, dict]:
        """Merge an object graph; returns its record, and what of it the client sent loaded.

        All of it or nothing is kept, as in a transaction.
        """
        return self.save_all([root], caller)[0]

    def save_all(self, roots: list, caller: Caller) -> list[tuple[Rec, set, dict]]:
        """Merge several object graphs in one transaction."""
        if caller.group_id < 0:
            raise omero.SecurityViolation(None, None, "Cannot write in all groups at once (-1).")
        merge = _Merge(self, caller)
        try:
            recs = [merge.visit(root) for root in roots]
            merge.check()
        except BaseException:
            merge.undo()
            raise
        return [(rec, merge.loaded, merge.collections) for rec in recs]

    def delete(self, rec: Rec, caller: Caller, keep: set[str]) -> list[Rec]:
        """Delete a record with what lives only by it; types in `keep` stay."""
        doomed: dict[int, Rec] = {}
        self._doom(rec, doomed, keep)
        for other in doomed.values():
            if other.is_a("Image") and any(
                id(sample) not in doomed for sample in other.collection("wellSamples")
            ):
                raise omero.ApiUsageException(
                    None, None, f"may delete Image:{other.id} only via its WellSample"
                )
            if not other.is_global and not self.may(caller, other, "delete"):
                raise omero.SecurityViolation(
                    None, None, f"Cannot delete {other.type.name}:{other.id}."
                )
        for other in doomed.values():
            del self.records[other.type.table][other.id]
            for name, value in list(other.fields.items()):
                if isinstance(value, Rec):
                    self.assign(other, name, None)
            for hook in self.on_delete:
                hook(other)
        return list(doomed.values())

    def _doom(self, rec: Rec, doomed: dict[int, Rec], keep: set[str]) -> None:
        if id(rec) in doomed:
            return
        doomed[id(rec)] = rec
        if rec.external is not None:
            self._doom(rec.external, doomed, keep)
        for name in OWNED.get(rec.type.name, ()):
            member = rec.type.properties[name]
            parts = rec.collection(name) if member.kind == "collection" else [rec.fields.get(name)]
            for part in filter(None, parts):
                self._doom(part, doomed, keep)
        for name, referring in list(rec.back.items()):
            for other in list(referring.values()):
                if other.type.name.endswith("Link") and name in ("parent", "child"):
                    self._doom(other, doomed, keep)
                    if name == "parent":
                        self._doom_orphan(other.fields["child"], doomed, keep)
        if rec.is_a("WellSample"):
            self._doom_orphan(rec.fields.get("image"), doomed, keep)
        if rec.is_a("FileAnnotation"):
            self._doom_orphan(rec.fields.get("file"), doomed, keep)

    def _doom_orphan(self, rec: Rec | None, doomed: dict[int, Rec], keep: set[str]) -> None:
        """Delete what was reached by a link, unless something that stays holds it too."""
        if rec is None or keep & set(rec.type.bases):
            return
        holders = [
            other
            for name, referring in rec.back.items()
            for other in referring.values()
            if (name == "child" or other.type.name in ("WellSample", "FileAnnotation"))
            and id(other) not in doomed
        ]
        if not holders:
            self._doom(rec, doomed, keep)


# Properties whose records live and die with their owner.
OWNED = {
    "Plate": ("wells", "plateAcquisitions"),
    "Well": ("wellSamples",),
    "Image": ("pixels", "rois"),
    "Pixels": ("channels", "settings", "thumbnails", "planeInfo", "pixelsFileMaps"),
    "Channel": ("logicalChannel", "statsInfo"),
    "RenderingDef": ("waveRendering", "quantization"),
    "Roi": ("shapes",),
    "Fileset": ("usedFiles",),
}


class _Merge:
    """One saving of a graph: what it makes and changes, so that it can be undone."""

    def __init__(self, store: Store, caller: Caller) -> None:
        self.store, self.caller = store, caller
        self.seen: dict[int, Rec] = {}
        self.made: list[Rec] = []
        self.changes: list[tuple[Rec, str, object]] = []
        self.loaded: set[Rec] = set()
        self.collections: dict = {}
        self.listed: set[Rec] = set()  # what was sent in a collection of its owner
        self.kept_alive: list = []

    def visit(self, obj: object) -> Rec | None:
        if obj is None:
            return None
        if id(obj) in self.seen:
            return self.seen[id(obj)]
        self.kept_alive.append(obj)
        entity = _entity(obj.ice_id())
        rec = self._existing(obj, entity)
        is_new = rec is None
        if is_new:
            rec = self._new(entity)
        self.seen[id(obj)] = rec
        if not obj._loaded:
            return rec
        self.loaded.add(rec)
        if rec.is_global and not is_new:
            return rec
        for member in entity.properties.values():
            if member.kind == "collection":
                continue
            value = getattr(obj, f"_{member.name}")
            if member.kind == "reference":
                self._assign(rec, member.name, self.visit(value), is_new)
            else:
                self._assign(rec, member.name, _plain(member, value), is_new)
        self._external(obj, rec, is_new)
        for member in entity.properties.values():
            if member.kind == "collection" and getattr(obj, f"_{member.name}Loaded", False):
                self._collection(obj, rec, member)
        return rec

    def _existing(self, obj: object, entity: EntityType) -> Rec | None:
        if obj._id is not None:
            rec = self.store.find(entity.name, obj._id.val)
            if rec is None or not self.store.sees(
                Caller(**{**vars(self.caller), "group_id": -1}), rec
            ):
                raise omero.ValidationException(
                    None,
                    None,
                    f"No row with the given identifier exists: {entity.name}#{obj._id.val}",
                )
            return rec
        if not obj._loaded:
            raise omero.ValidationException(None, None, f"An unloaded {entity.name} without id.")
        if is_enumeration(entity):
            value = obj._value.val
            for rec in self.store.all(entity.name):
                if rec.fields["value"] == value:
                    return rec
            raise omero.ValidationException(None, None, f"No {entity.name} is called {value}.")
        return None

    def _new(self, entity: EntityType) -> Rec:
        if entity.name in GLOBAL or is_enumeration(entity):
            raise omero.SecurityViolation(None, None, f"Cannot create a {entity.name}.")
        group = self.store.find("ExperimenterGroup", self.caller.group_id)
        if group is None or (group.id not in self.caller.group_ids and not self.caller.is_admin):
            raise omero.SecurityViolation(None, None, "Cannot write in this group.")
        rec = self.store.add(entity.name, self.caller.user, group)
        rec.creation = rec.update = self.caller.event
        self.made.append(rec)
        return rec

    def _assign(self, rec: Rec, name: str, value: object, is_new: bool) -> None:
        old = rec.fields.get(name)
        if old is value or (not isinstance(value, Rec) and _same(old, value)):
            return
        if not is_new:
            if rec.is_a("ExternalInfo"):
                raise omero.ValidationException(None, None, "ExternalInfo cannot be changed.")
            if not self.store.may(self.caller, rec, "edit"):
                raise omero.SecurityViolation(
                    None, None, f"Cannot change {rec.type.name}:{rec.id}."
                )
        if isinstance(value, str) and name in SHORT_TEXT and len(value) > 255:
            raise omero.ValidationException(
                None, None, f"value too long for type character varying(255): {name}"
            )
        self.changes.append((rec, name, old))
        self.store.assign(rec, name, value)
        rec.update = self.caller.event

    def _external(self, obj: object, rec: Rec, is_new: bool) -> None:
        details = obj._details
        sent = None if details is None else details._externalInfo
        if sent is None:
            return
        external = self.visit(sent)
        if external is rec.external:
            return
        if not is_new and not self.store.may(self.caller, rec, "edit"):
            raise omero.SecurityViolation(None, None, f"Cannot change {rec.type.name}:{rec.id}.")
        self.changes.append((rec, "<external>", rec.external))
        rec.external = external

    def _collection(self, obj: object, rec: Rec, member) -> None:
        sent = [part for part in getattr(obj, f"_{member.name}Seq") if part is not None]
        parts = []
        for part in sent:
            if part._loaded and getattr(part, f"_{member.inverse}", None) is None:
                setattr(part, f"_{member.inverse}", type(obj)(rec.id, False))
            parts.append(self.visit(part))
        for part in parts:
            self._assign(part, member.inverse, rec, part in self.made)
        self.listed.update(parts)
        self.collections[rec, member.name] = rec.collection(member.name)

    def check(self) -> None:
        """Refuse what the database would: missing values, double links, foreign groups."""
        for rec in self.made:
            wrappers = getattr(omero.model, f"{rec.type.name}I")._field_info
            for member in rec.type.properties.values():
                info = getattr(wrappers, member.name, None)
                required = info is not None and not info.nullable and member.kind != "collection"
                if required and rec.fields.get(member.name) is None:
                    raise omero.ValidationException(
                        None,
                        None,
                        f"not-null property references a null: {rec.type.name}.{member.name}",
                    )
            if rec.type.name.endswith("Link"):
                self._check_link(rec)
            for name, value in rec.fields.items():
                if isinstance(value, Rec):
                    self._check_listed(rec, name, value)
                if isinstance(value, Rec) and value.group is not None and not value.is_global:
                    self._check_reference(rec, value)

    def _check_listed(self, rec: Rec, name: str, owner: Rec) -> None:
        """An element of a list is saved by its owner, which holds the order, not by itself."""
        for member in owner.type.properties.values():
            is_list = member.is_ordered and member.inverse == name and rec.is_a(member.target)
            if is_list and rec not in self.listed:
                raise omero.ValidationException(
                    None, None, "not-null property references a null or transient value: "
                    f"{rec.type.name}._{member.name}Backref",
                )  # fmt: skip

    def _check_link(self, rec: Rec) -> None:
        parent, child = rec.fields["parent"], rec.fields["child"]
        what = "annotate" if "Annotation" in rec.type.name else "link"
        if not self.store.may(self.caller, parent, what):
            raise omero.SecurityViolation(
                None, None, f"Cannot link to {parent.type.name}:{parent.id}."
            )
        twins = [
            other
            for other in parent.back["parent"].values()
            if other.type is rec.type
            and other.fields.get("child") is child
            and other.owner is rec.owner
        ]
        if len(twins) > 1:
            raise omero.ValidationException(
                None, None, "could not insert: duplicate key value violates unique constraint"
            )

    def _check_reference(self, rec: Rec, value: Rec) -> None:
        if value.group is not rec.group and not value.is_a("OriginalFile"):
            raise omero.GroupSecurityViolation(
                None, None, f"{rec.type.name} and {value.type.name}:{value.id} differ in group."
            )
        belongs = rec.type.name in ("Well", "WellSample", "PlateAcquisition", "Pixels", "Channel")
        if belongs and value not in self.made and not self.store.may(self.caller, value, "link"):
            raise omero.SecurityViolation(
                None, None, f"Cannot link to {value.type.name}:{value.id}."
            )

    def undo(self) -> None:
        for rec, name, old in reversed(self.changes):
            if name == "<external>":
                rec.external = old
            else:
                self.store.assign(rec, name, old)
        for rec in self.made:
            self.store.records[rec.type.table].pop(rec.id, None)


def _entity(name: str) -> EntityType:
    """An entity type by any of the names that clients use for it."""
    short = name.rpartition(":")[2].rpartition(".")[2]
    entities = schema()
    if short not in entities and short.endswith("I"):
        short = short[:-1]
    if short not in entities:
        raise omero.ApiUsageException(None, None, f"No entity type is called {name}.")
    return entities[short]


def entity_of(name: str) -> EntityType:
    return _entity(name)


def _plain(member, value: object) -> object:
    if value is None:
        return None
    if member.kind == "scalar":
        return value.val
    return value


def _same(old: object, new: object) -> bool:
    if hasattr(old, "getUnit") and hasattr(new, "getUnit"):
        return old.getValue() == new.getValue() and old.getUnit() == new.getUnit()
    return bool(old == new)


def now() -> int:
    return int(time.time() * 1000)
