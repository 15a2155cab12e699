"""Records to the objects that go over the wire: loaded where a query loaded them, else bare ids."""

import omero
import omero.rtypes

from omero_server.store import Caller, Rec, Store

WRAP = {
    "RString": omero.rtypes.rstring,
    "RInt": omero.rtypes.rint,
    "RLong": omero.rtypes.rlong,
    "RDouble": omero.rtypes.rdouble,
    "RFloat": omero.rtypes.rfloat,
    "RBool": omero.rtypes.rbool,
    "RTime": omero.rtypes.rtime,
}


class Marshal:
    """Makes one answer: every record in it becomes one object.

    Parameters
    ----------
    loaded : records that go out with their values; all others as unloaded proxies.
    collections : (record, property) to the elements that go out; all others unloaded.
    """

    def __init__(self, store: Store, caller: Caller, loaded: set, collections: dict) -> None:
        self.store, self.caller = store, caller
        self.loaded, self.collections = loaded, collections
        self.done: dict[Rec, object] = {}

    def __call__(self, rec: Rec | None) -> object:
        if rec is None:
            return None
        if rec in self.done:
            return self.done[rec]
        make = getattr(omero.model, f"{rec.type.name}I")
        if rec not in self.loaded:
            obj = make(rec.id, False)
            self.done[rec] = obj
            return obj
        obj = make(rec.id, True)
        self.done[rec] = obj
        obj.unloadCollections()
        for member in rec.type.properties.values():
            if member.kind == "collection":
                parts = self.collections.get((rec, member.name))
                if parts is not None:
                    setattr(obj, f"_{member.name}Seq", [self(part) for part in parts])
                    setattr(obj, f"_{member.name}Loaded", True)
                continue
            value = rec.fields.get(member.name)
            if member.kind == "reference":
                value = self(value)
            elif member.kind == "scalar" and value is not None:
                value = WRAP[member.target](value)
            setattr(obj, f"_{member.name}", value)
        obj._details = self.details(rec)
        return obj

    def details(self, rec: Rec) -> object:
        details = omero.model.DetailsI()
        details._owner, details._group = self(rec.owner), self(rec.group)
        details._creationEvent, details._updateEvent = self(rec.creation), self(rec.update)
        details._externalInfo = self(rec.external)
        details._permissions = self.permissions(rec)
        return details

    def permissions(self, rec: Rec) -> object:
        group = rec if rec.is_a("ExperimenterGroup") else rec.group
        level = "rwr---" if group is None else group.fields["permissions"]
        permissions = omero.model.PermissionsI(level)
        may = [
            self.store.may(self.caller, rec, what)
            for what in ("link", "edit", "delete", "annotate")
        ]
        is_owner = self.caller.is_admin or rec.owner is self.caller.user
        permissions._restrictions = [not allowed for allowed in [*may, is_owner, is_owner]]
        permissions._extendedRestrictions = []
        return permissions

    def value(self, value: object) -> object:
        """One value of a projection as an RType."""
        if value is None or isinstance(value, omero.RType):
            return value
        if isinstance(value, Rec):
            self.loaded.add(value)
            return omero.rtypes.robject(self(value))
        if isinstance(value, dict):
            return omero.rtypes.rmap({key: self.value(part) for key, part in value.items()})
        if isinstance(value, bool):
            return omero.rtypes.rbool(value)
        if isinstance(value, int):
            return omero.rtypes.rlong(value)
        if isinstance(value, float):
            return omero.rtypes.rdouble(value)
        if isinstance(value, str):
            return omero.rtypes.rstring(value)
        return omero.rtypes.robject(value)
