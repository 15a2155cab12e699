"""The OMERO model as the installed slice classes state it: entity types and their properties."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CLASS = re.compile(
    r"defineClass\('::omero::model::(\w+)', \w+, -1, \(\), True, False, ([\w.]+), \(\), "
    r"\((.*?)\)\)?$",
    re.DOTALL | re.MULTILINE,
)
MEMBER = re.compile(r"\('_(\w+)', \(\), ([\w.]+),")
SEQUENCE = re.compile(r"defineSequence\('::omero::model::(\w+)', \(\), _M_omero\.model\._t_(\w+)\)")
SCALARS = {"RString", "RInt", "RLong", "RDouble", "RFloat", "RBool", "RTime"}
# The table in which a type shares its numbers with its relatives.
TABLES = ("Annotation", "Shape", "LightSource", "Job", "Session", "CodomainMapContext")


@dataclass(frozen=True)
class Property:
    """A property of an entity: a scalar, a reference, a collection, or a value such as a length."""

    name: str
    kind: str
    target: str  # slice type of a scalar or value, entity type of a reference or of the elements
    inverse: str | None = None  # of a collection: the reference of the element that makes it
    is_ordered: bool = False  # a collection that is a list: its elements are saved with it only


@dataclass(frozen=True)
class EntityType:
    """An entity type with all the properties that it has and inherits."""

    name: str
    bases: tuple[str, ...]  # itself first
    properties: dict[str, Property]

    @property
    def table(self) -> str:
        return next((table for table in TABLES if table in self.bases), self.name)


@cache
def schema() -> dict[str, EntityType]:
    """Read the model from the modules beside `omero`, once."""
    import omero

    folder = Path(omero.__file__).parents[1]
    bases, members, sequences = {}, {}, {}
    for path in sorted(folder.glob("omero_model_*_ice.py")):
        text = path.read_text()
        sequences.update(SEQUENCE.findall(text))
        for name, base, body in CLASS.findall(text):
            bases[name] = None if base == "None" else base.rpartition("_t_")[2]
            members[name] = MEMBER.findall(body)
    lineage = {name: _lineage(name, bases) for name in bases}
    entities = [name for name in bases if "IObject" in lineage[name] and name != "IObject"]
    return {
        name: EntityType(
            name, lineage[name], _properties(name, lineage, members, sequences, set(entities))
        )
        for name in entities
    }


def _lineage(name: str, bases: dict) -> tuple[str, ...]:
    found = [name]
    while bases.get(found[-1]):
        found.append(bases[found[-1]])
    return tuple(found)


def _properties(name, lineage, members, sequences, entities) -> dict[str, Property]:
    found = {}
    for base in reversed(lineage[name]):
        if base == "IObject":
            continue
        for member, kind in members[base]:
            target = kind.rpartition("_t_")[2]
            if member.endswith(("Loaded", "CountPerOwner")) or member == "version":
                continue
            if target in sequences and member.endswith("Seq"):
                element = sequences[target]
                inverse = _inverse(base, element, lineage, members)
                found[member[:-3]] = Property(
                    member[:-3], "collection", element, inverse, _is_ordered(name, element)
                )
            elif target in entities:
                found[member] = Property(member, "reference", target)
            else:
                found[member] = Property(member, "scalar" if target in SCALARS else "value", target)
    return found


def _is_ordered(owner: str, element: str) -> bool:
    """Whether a collection is a list: only these have a first element by name."""
    import omero.model

    return hasattr(getattr(omero.model, f"{owner}I", None), f"getPrimary{element}")


def _inverse(owner: str, element: str, lineage: dict, members: dict) -> str | None:
    """The reference of `element` that points to `owner`; "parent" where two do."""
    fitting = [
        member
        for base in lineage[element]
        for member, kind in members.get(base, ())
        if kind.rpartition("_t_")[2] in lineage[owner] and "Seq" not in kind
    ]
    return "parent" if "parent" in fitting and len(fitting) > 1 else next(iter(fitting), None)
