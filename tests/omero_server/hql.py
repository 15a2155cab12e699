"""An interpreter for the HQL that OMERO clients send: lexer, recursive descent, nested loops.

Whatever it does not understand is an `HqlError` that names the text, never an
empty answer.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

from omero_server.schema import schema
from omero_server.store import Rec, Store

TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<text>'(?:[^']|'')*')|(?P<param>:\w+)"
    r"|(?P<name>[A-Za-z_][\w]*(?:\.[A-Za-z_]\w*)*)|(?P<op><>|!=|<=|>=|\|\||[-+*/=<>(),]))"
)
RESERVED = {
    "select", "from", "where", "group", "order", "join", "left", "right", "inner", "outer", "fetch",
    "with", "as", "and", "or", "not", "in", "is", "null", "like", "exists", "distinct", "case",
    "when", "then", "else", "end", "by", "asc", "desc", "new", "between", "having", "cross",
}  # fmt: skip
AGGREGATES = {"count", "sum", "min", "max", "avg"}


class HqlError(ValueError):
    """A query that is no HQL, or none that is understood here."""


@dataclass
class Join:
    """One more alias in the rows: an entity type, or a path from an alias before it."""

    alias: str
    entity: str | None = None
    path: str | None = None
    is_left: bool = False
    is_fetch: bool = False
    condition: tuple | None = None


@dataclass
class Query:
    """A parsed query."""

    items: list = field(default_factory=list)  # (expression, name); empty: the first root
    is_distinct: bool = False
    as_map: bool = False
    joins: list[Join] = field(default_factory=list)
    where: tuple | None = None
    group_by: list = field(default_factory=list)
    order_by: list = field(default_factory=list)  # (expression, descending)


class Parser:
    """Recursive descent over the tokens of one query."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.tokens = text, 0, []
        self.anonymous = 0
        place = 0
        stripped = text.rstrip().rstrip(";")
        while place < len(stripped):
            match = TOKEN.match(stripped, place)
            if match is None:
                if not stripped[place:].strip():
                    break
                raise HqlError(
                    f"unexpected character at {stripped[place : place + 20]!r} in: {text}"
                )
            kind = match.lastgroup
            value = match.group(kind)
            if kind == "name" and value.lower() in RESERVED:
                kind, value = "word", value.lower()
            self.tokens.append((kind, value))
            place = match.end()

    def parse(self) -> Query:
        query = self.query()
        if self.at < len(self.tokens):
            self.fail()
        return query

    def fail(self) -> None:
        rest = " ".join(value for _, value in self.tokens[self.at : self.at + 6])
        raise HqlError(f"unexpected {rest or 'end'!r} in: {self.text}")

    def peek(self, ahead: int = 0) -> tuple[str, str]:
        at = self.at + ahead
        return self.tokens[at] if at < len(self.tokens) else ("end", "")

    def take(self, *values: str) -> bool:
        kind, value = self.peek()
        if kind in ("word", "op") and value in values:
            self.at += 1
            return True
        return False

    def need(self, *values: str) -> None:
        for value in values:
            if not self.take(value):
                self.fail()

    def name(self) -> str:
        kind, value = self.peek()
        if kind != "name":
            self.fail()
        self.at += 1
        return value

    # Clauses

    def query(self) -> Query:
        query = Query()
        if self.take("select"):
            query.is_distinct = self.take("distinct")
            query.as_map = self.peek() == ("word", "new")
            query.items = self.map_items() if query.as_map else self.items()
        self.need("from")
        self.roots(query)
        while self.peek() in [("word", w) for w in ("join", "left", "inner", "right", "cross")]:
            query.joins.append(self.join())
        while self.take(","):
            self.root(query)
            while self.peek() in [("word", w) for w in ("join", "left", "inner")]:
                query.joins.append(self.join())
        if self.take("where"):
            query.where = self.expression()
        if self.take("group"):
            self.need("by")
            query.group_by = [self.expression()]
            while self.take(","):
                query.group_by.append(self.expression())
        if self.take("order"):
            self.need("by")
            query.order_by = [self.order()]
            while self.take(","):
                query.order_by.append(self.order())
        return query

    def items(self) -> list:
        found = []
        while True:
            expression = self.expression()
            label = self.name() if self.take("as") else None
            found.append((expression, label))
            if not self.take(","):
                return found

    def map_items(self) -> list:
        self.need("new")
        if self.name().lower() != "map":
            self.fail()
        self.need("(")
        found = self.items()
        self.need(")")
        return found

    def roots(self, query: Query) -> None:
        self.root(query)

    def root(self, query: Query) -> None:
        entity = self.name().rpartition(".")[2]
        if entity not in schema():
            raise HqlError(f"{entity} is not mapped in: {self.text}")
        query.joins.append(Join(self.alias(), entity=entity))

    def alias(self) -> str:
        self.take("as")
        if self.peek()[0] == "name":
            return self.name()
        self.anonymous += 1
        return f"<{self.anonymous}>"

    def join(self) -> Join:
        is_left = self.take("left")
        if is_left:
            self.take("outer")
        else:
            self.take("inner")
        self.need("join")
        is_fetch = self.take("fetch")
        join = Join("", path=self.name(), is_left=is_left, is_fetch=is_fetch)
        join.alias = self.alias()
        if self.take("with"):
            join.condition = self.expression()
        return join

    def order(self) -> tuple:
        expression = self.expression()
        if self.take("desc"):
            return expression, True
        self.take("asc")
        return expression, False

    # Expressions

    def expression(self) -> tuple:
        left = self.conjunction()
        while self.take("or"):
            left = ("or", left, self.conjunction())
        return left

    def conjunction(self) -> tuple:
        left = self.negation()
        while self.take("and"):
            left = ("and", left, self.negation())
        return left

    def negation(self) -> tuple:
        if self.take("not"):
            return ("not", self.negation())
        if self.take("exists"):
            self.need("(")
            query = self.query()
            self.need(")")
            return ("exists", query)
        return self.comparison()

    def comparison(self) -> tuple:
        left = self.sum()
        for op in ("=", "<>", "!=", "<=", ">=", "<", ">"):
            if self.take(op):
                return ("compare", "<>" if op == "!=" else op, left, self.sum())
        if self.take("is"):
            negated = self.take("not")
            self.need("null")
            return ("not", ("null", left)) if negated else ("null", left)
        negated = self.take("not")
        if self.take("in"):
            node = ("in", left, self.members())
        elif self.take("like"):
            node = ("like", left, self.sum())
        elif self.take("between"):
            low = self.sum()
            self.need("and")
            node = ("and", ("compare", ">=", left, low), ("compare", "<=", left, self.sum()))
        elif negated:
            self.fail()
        else:
            return left
        return ("not", node) if negated else node

    def members(self) -> tuple:
        if self.peek()[0] == "param":
            return ("list", [self.primary()])
        self.need("(")
        if self.peek() in (("word", "select"), ("word", "from")):
            node = ("subquery", self.query())
        else:
            parts = [self.sum()]
            while self.take(","):
                parts.append(self.sum())
            node = ("list", parts)
        self.need(")")
        return node

    def sum(self) -> tuple:
        left = self.product()
        while True:
            for op in ("+", "-", "||"):
                if self.take(op):
                    left = ("arith", op, left, self.product())
                    break
            else:
                return left

    def product(self) -> tuple:
        left = self.primary()
        while True:
            for op in ("*", "/"):
                if self.take(op):
                    left = ("arith", op, left, self.primary())
                    break
            else:
                return left

    def primary(self) -> tuple:
        kind, value = self.peek()
        if kind == "number":
            self.at += 1
            return ("const", float(value) if "." in value else int(value))
        if kind == "text":
            self.at += 1
            return ("const", value[1:-1].replace("''", "'"))
        if kind == "param":
            self.at += 1
            return ("param", value[1:])
        if self.take("null"):
            return ("const", None)
        if self.take("-"):
            return ("arith", "-", ("const", 0), self.primary())
        if self.take("case"):
            return self.case()
        if self.take("("):
            is_query = self.peek() in (("word", "select"), ("word", "from"))
            node = ("scalar", self.query()) if is_query else self.expression()
            self.need(")")
            return node
        name = self.name()
        if name.lower() in ("true", "false"):
            return ("const", name.lower() == "true")
        if self.peek() == ("op", "(") and "." not in name:
            return self.call(name.lower())
        return ("path", name)

    def call(self, name: str) -> tuple:
        self.need("(")
        if name in AGGREGATES:
            if self.take("*"):
                self.need(")")
                return ("aggregate", name, False, ("const", 1))
            is_distinct = self.take("distinct")
            node = ("aggregate", name, is_distinct, self.expression())
        else:
            arguments = [] if self.peek() == ("op", ")") else [self.expression()]
            while self.take(","):
                arguments.append(self.expression())
            node = ("call", name, arguments)
            if name in ("minindex", "maxindex"):  # over all rows of the joined collection
                node = ("aggregate", name[:3], False, ("call", "index", arguments))
        self.need(")")
        return node

    def case(self) -> tuple:
        branches, default = [], ("const", None)
        while self.take("when"):
            condition = self.expression()
            self.need("then")
            branches.append((condition, self.expression()))
        if self.take("else"):
            default = self.expression()
        self.need("end")
        return ("case", branches, default)


@dataclass
class Result:
    """Rows of values, and what the query loaded on its way."""

    rows: list[tuple]
    names: list[str | None]
    as_map: bool
    loaded: set
    collections: dict


class Evaluator:
    """Runs parsed queries against a store, for one caller."""

    def __init__(self, store: Store, sees: Callable[[Rec], bool], parameters: dict) -> None:
        self.store, self.sees, self.parameters = store, sees, parameters
        self.loaded: set[Rec] = set()
        self.collections: dict = {}

    def run(self, query: Query, outer: dict | None = None) -> Result:
        """Evaluate `query`; `outer` holds the aliases of the query around it."""
        envs = list(self.rows(query, dict(outer or {})))
        items = query.items or [(("path", query.joins[0].alias), None)]
        if query.group_by or any(_has_aggregate(item) for item, _ in items):
            rows = self.grouped(query, items, envs)
        else:
            if query.order_by:
                envs = self.ordered(envs, query.order_by)
            rows = [tuple(self.value(item, env) for item, _ in items) for env in envs]
        if outer is None:
            self.mark(query, items, envs, rows)
        if query.is_distinct:
            rows = list({tuple(map(_identity, row)): row for row in rows}.values())
        return Result(rows, [n for _, n in items], query.as_map, self.loaded, self.collections)

    # Rows

    def rows(self, query: Query, env: dict) -> Iterator[dict]:
        conditions = [] if query.where is None else _conjuncts(query.where)
        own = [join.alias for join in query.joins]
        env = {**env, "<root>": query.joins[0].alias}
        ready = [[] for _ in own]
        for condition in conditions:
            used = [own.index(alias) for alias in self.aliases(condition, query)]
            ready[max(used, default=len(own) - 1)].append(condition)
        yield from self.bind(query, 0, env, ready)

    def bind(self, query: Query, at: int, env: dict, ready: list) -> Iterator[dict]:
        if at == len(query.joins):
            yield env
            return
        join = query.joins[at]
        found = False
        for rec in self.candidates(join, env, ready[at]):
            inner = {**env, join.alias: rec}
            if join.condition is not None and not self.value(join.condition, inner):
                continue
            found = True
            if all(self.value(condition, inner) for condition in ready[at]):
                yield from self.bind(query, at + 1, inner, ready)
        if join.is_left and not found:
            inner = {**env, join.alias: None}
            if all(self.value(condition, inner) for condition in ready[at]):
                yield from self.bind(query, at + 1, inner, ready)

    def candidates(self, join: Join, env: dict, conditions: list) -> list[Rec]:
        if join.entity is None:
            owner, _, name = join.path.rpartition(".")
            value = self.path(owner, env)
            if value is None:
                return []
            parts = _member(value, name)
            parts = parts if isinstance(parts, list) else [parts]
            return [rec for rec in parts if rec is not None and self.sees(rec)]
        for condition in conditions:
            narrowed = self.by_number(join, condition, env)
            if narrowed is not None:
                return [rec for rec in narrowed if self.sees(rec)]
        return [rec for rec in self.store.all(join.entity) if self.sees(rec)]

    def by_number(self, join: Join, condition: tuple, env: dict) -> list[Rec] | None:
        """Candidates of a root by `alias.reference...id = number`, found without a scan."""
        if condition[0] == "compare" and condition[1] == "=":
            path, numbers = condition[2], [condition[3]]
        elif condition[0] == "in" and condition[2][0] == "list":
            path, numbers = condition[1], condition[2][1]
        else:
            return None
        if path[0] != "path" or any(part[0] not in ("const", "param") for part in numbers):
            return None
        steps = path[1].split(".")
        if steps[0] == join.alias:
            steps = steps[1:]
        elif steps[0] in env:
            return None
        if not steps or steps[-1] != "id":
            return None
        wanted: list = []
        for part in numbers:
            value = self.value(part, env)
            wanted += value if isinstance(value, list) else [value]
        return self.reaching(join.entity, steps[:-1], wanted)

    def reaching(self, entity: str, steps: list[str], numbers: list) -> list[Rec] | None:
        if not steps:
            found = (self.store.find(entity, number) for number in dict.fromkeys(numbers))
            return [rec for rec in found if rec is not None]
        member = schema()[entity].properties.get(steps[0])
        if member is None or member.kind != "reference":
            return None
        targets = self.reaching(member.target, steps[1:], numbers)
        if targets is None:
            return None
        found = [rec for t in targets for rec in t.back[steps[0]].values() if rec.is_a(entity)]
        return sorted(found, key=lambda rec: rec.id)

    def aliases(self, node: object, query: Query) -> set[str]:
        """The aliases of `query` that an expression needs."""
        own = {join.alias for join in query.joins}
        found: set[str] = set()
        stack = [node]
        while stack:
            part = stack.pop()
            if isinstance(part, Query):
                return own  # it may refer to any
            if isinstance(part, tuple) and part[:1] == ("path",):
                first = part[1].split(".")[0]
                if first in own:
                    found.add(first)
                elif first not in schema():
                    found.add(query.joins[0].alias)
            elif isinstance(part, tuple | list):
                stack.extend(part)
        return found

    def mark(self, query: Query, items: list, envs: list[dict], rows: list[tuple]) -> None:
        """Note what is loaded: what is selected, and what was fetched with it."""
        for row in rows:
            self.loaded.update(value for value in row if isinstance(value, Rec))
        for join in query.joins:
            if not join.is_fetch:
                continue
            owner, _, name = join.path.rpartition(".")
            for env in envs:
                value = self.path(owner, env)
                rec = env[join.alias]
                if rec is not None:
                    self.loaded.add(rec)
                if isinstance(value, Rec):
                    member = value.type.properties.get(name)
                    if member is not None and member.kind == "collection":
                        parts = self.collections.setdefault((value, name), [])
                        if rec is not None and rec not in parts:
                            parts.append(rec)

    def ordered(self, envs: list[dict], order_by: list) -> list[dict]:
        for expression, descending in reversed(order_by):
            envs = sorted(
                envs,
                key=lambda env, e=expression: _sort_key(self.value(e, env)),
                reverse=descending,
            )
        return envs

    def grouped(self, query: Query, items: list, envs: list[dict]) -> list[tuple]:
        groups = [envs]
        if query.group_by:

            def key(env: dict) -> tuple:
                return tuple(_sort_key(self.value(part, env)) for part in query.group_by)

            groups = [list(group) for _, group in groupby(sorted(envs, key=key), key)]
        if query.order_by:
            for expression, descending in reversed(query.order_by):
                groups.sort(
                    key=lambda group, e=expression: _sort_key(self.over(e, group)),
                    reverse=descending,
                )
        return [tuple(self.over(item, group) for item, _ in items) for group in groups]

    def over(self, node: tuple, group: list[dict]) -> object:
        """The value of an expression with aggregates over a group of rows."""
        if node[0] == "aggregate":
            values = [self.value(node[3], env) for env in group]
            values = [value for value in values if value is not None]
            if node[2]:
                values = list({_identity(value): value for value in values}.values())
            if node[1] == "count":
                return len(values)
            if not values:
                return None
            functions = {"sum": sum, "min": min, "max": max, "avg": lambda v: sum(v) / len(v)}
            return functions[node[1]](values)
        if node[0] == "arith":
            sides = [("const", self.over(part, group)) for part in node[2:]]
            return self.value(("arith", node[1], *sides), {})
        if node[0] == "call" and _has_aggregate(node):
            arguments = [("const", self.over(part, group)) for part in node[2]]
            return self.value(("call", node[1], arguments), {})
        return self.value(node, group[0]) if group else None

    # Values

    def value(self, node: tuple, env: dict) -> object:
        return getattr(self, f"_{node[0]}")(env, *node[1:])

    def path(self, name: str, env: dict) -> object:
        first, *rest = name.split(".")
        if first in env:
            value = env[first]
        elif rest == [] and first in schema():
            return first
        else:
            root = env.get(env.get("<root>"))
            value, rest = root, [first, *rest]
        for step in rest:
            if value is None:
                return None
            value = _member(value, step)
        return value

    def _path(self, env: dict, name: str) -> object:
        return self.path(name, env)

    def _const(self, env: dict, value: object) -> object:
        return value

    def _param(self, env: dict, name: str) -> object:
        if name not in self.parameters:
            raise HqlError(f"Named parameter not bound: {name}")
        return self.parameters[name]

    def _and(self, env: dict, left: tuple, right: tuple) -> bool:
        return bool(self.value(left, env)) and bool(self.value(right, env))

    def _or(self, env: dict, left: tuple, right: tuple) -> bool:
        return bool(self.value(left, env)) or bool(self.value(right, env))

    def _not(self, env: dict, node: tuple) -> bool:
        # Of a comparison with null SQL knows no truth: neither it nor its opposite holds.
        if node[0] in ("compare", "in", "like") and self.value(_left(node), env) is None:
            return False
        return not self.value(node, env)

    def _null(self, env: dict, node: tuple) -> bool:
        return self.value(node, env) is None

    def _compare(self, env: dict, op: str, left: tuple, right: tuple) -> bool:
        a, b = _comparable(self.value(left, env)), _comparable(self.value(right, env))
        if a is None or b is None:
            return False
        if isinstance(a, Rec) or isinstance(b, Rec):
            a = a.id if isinstance(a, Rec) else a
            b = b.id if isinstance(b, Rec) else b
        if op == "=":
            return a == b
        if op == "<>":
            return a != b
        return {"<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b}[op]

    def _in(self, env: dict, left: tuple, members: tuple) -> bool:
        value = self.value(left, env)
        if value is None:
            return False
        if members[0] == "subquery":
            found = [row[0] for row in self.run(members[1], env).rows]
        else:
            found = []
            for part in members[1]:
                member = self.value(part, env)
                found += member if isinstance(member, list) else [member]
        return _number(value) in {_number(member) for member in found}

    def _like(self, env: dict, left: tuple, right: tuple) -> bool:
        value, pattern = self.value(left, env), self.value(right, env)
        if value is None:
            return False
        parts = [".*" if c == "%" else "." if c == "_" else re.escape(c) for c in pattern]
        return re.fullmatch("".join(parts), value, re.DOTALL) is not None

    def _exists(self, env: dict, query: Query) -> bool:
        return next(self.rows(query, env), None) is not None

    def _scalar(self, env: dict, query: Query) -> object:
        rows = self.run(query, env).rows
        return rows[0][0] if rows else None

    def _case(self, env: dict, branches: list, default: tuple) -> object:
        for condition, value in branches:
            if self.value(condition, env):
                return self.value(value, env)
        return self.value(default, env)

    def _arith(self, env: dict, op: str, left: tuple, right: tuple) -> object:
        a, b = self.value(left, env), self.value(right, env)
        if a is None or b is None:
            return None
        if op == "||":
            return f"{a}{b}"
        return {"+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "/": lambda: a / b}[
            op
        ]()

    def _aggregate(self, env: dict, *_: object) -> object:
        raise HqlError("an aggregate where none can be")

    def _call(self, env: dict, name: str, arguments: list) -> object:
        values = [self.value(argument, env) for argument in arguments]
        if name == "coalesce":
            return next((value for value in values if value is not None), None)
        if name in ("lower", "upper"):
            return None if values[0] is None else getattr(values[0], name)()
        if name == "length":
            return None if values[0] is None else len(values[0])
        if name in ("str", "type"):
            return values[0]
        if name == "size":
            return len(values[0])
        if name == "index":
            return _index(values[0])
        raise HqlError(f"the function {name} is not known")


INDEXED = {
    "WellSample": ("well", "wellSamples"),
    "Channel": ("pixels", "channels"),
    "ChannelBinding": ("renderingDef", "waveRendering"),
    "Pixels": ("image", "pixels"),
}


def _index(rec: Rec | None) -> int | None:
    if rec is None:
        return None
    reference, collection = INDEXED[rec.type.name]
    return rec.fields[reference].collection(collection).index(rec)


class _Details:
    def __init__(self, rec: Rec) -> None:
        self.members = {
            "owner": rec.owner,
            "group": rec.group,
            "creationEvent": rec.creation,
            "updateEvent": rec.update,
            "externalInfo": rec.external,
            "permissions": None,
        }


def _member(value: object, name: str) -> object:
    if isinstance(value, _Details):
        if name not in value.members:
            raise HqlError(f"details have no {name}")
        return value.members[name]
    if isinstance(value, list):
        raise HqlError(f"cannot take {name} of a collection: join it")
    if isinstance(value, Rec):
        if name == "id":
            return value.id
        if name == "class":
            return value.type.name
        if name == "details":
            return _Details(value)
        member = value.type.properties.get(name)
        if member is None:
            relatives = [t for t in schema().values() if t.table == value.type.table]
            if not any(name in relative.properties for relative in relatives):
                raise HqlError(f"could not resolve property: {name} of: {value.type.name}")
            return None  # of a sibling type
        if member.kind == "collection":
            return value.collection(name)
        return value.fields.get(name)
    if name in ("value", "unit"):
        part = value.getValue() if name == "value" else value.getUnit()
        return part if name == "value" else part.name
    raise HqlError(f"could not resolve property: {name}")


def _conjuncts(node: tuple) -> list[tuple]:
    if node[0] == "and":
        return _conjuncts(node[1]) + _conjuncts(node[2])
    return [node]


def _left(node: tuple) -> tuple:
    return node[2] if node[0] == "compare" else node[1]


def _has_aggregate(node: object) -> bool:
    if isinstance(node, tuple):
        return node[:1] == ("aggregate",) or any(map(_has_aggregate, node[1:]))
    return isinstance(node, list) and any(map(_has_aggregate, node))


def _comparable(value: object) -> object:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _number(value: object) -> object:
    return value.id if isinstance(value, Rec) else value


def _identity(value: object) -> object:
    return id(value) if isinstance(value, Rec | dict) else (type(value), value)


def _sort_key(value: object) -> tuple:
    if isinstance(value, Rec):
        value = value.id
    return (value is None, value if value is not None else 0)
