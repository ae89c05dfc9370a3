"""Arrays: what each item of a case's arrays has to be, and how many there are."""

from .claims import NEVER, Claim, Claims
from .demands import Case, Each, Item, Keyword, Some, Unenforced
from .grammar import EMPTY, NOTHING, Node, choice, optional, repeat, sequence
from .members import Writer, settled

COUNTED = 1000
"""Items that are counted at most."""
DISTINCT = 6
"""Values of which arrays without a repetition are written out."""


def array_text(case: Case, writer: Writer) -> tuple[Node, list[Unenforced]]:
    """The arrays of a case, and what could not be held to."""
    return _Array(case, writer).text()


class _Array:
    def __init__(self, case: Case, writer: Writer):
        self._case = case
        self._writer = writer
        self._notes = case.constants_of(list)
        self._first: list[dict[Claim, None]] = []
        """What is said of the items at the beginning, one by one, ..."""
        self._rest: dict[Claim, None] = {}
        """... and of those behind them."""
        self._somewhere: list[tuple[Claims, int, int | None]] = []
        """Claims that some items have to fit, at least and at most so many."""
        self._least = 0
        self._most: int | None = None

    def text(self) -> tuple[Node, list[Unenforced]]:
        for keyword in self._case.keywords("prefixItems", "items", "additionalItems"):
            self._items(keyword)
        for keyword in self._case.keywords("unevaluatedItems"):
            self._unevaluated(keyword)
        self._others()
        for keyword in self._case.keywords("minItems", "maxItems"):
            self._length(keyword)
        for keyword in self._case.keywords("contains"):
            self._contains(keyword)
        self._place()
        unique = [k for k in self._case.keywords("uniqueItems") if k.value]
        body = self._distinct() if unique and (self._most is None or self._most > 1) else None
        if body is None:
            if unique and (self._most is None or self._most > 1):
                self._notes.append(unique[0].note)
            body = self._body()
        return self._writer.style.wrapped("[", body, "]"), self._notes

    # What the case says.

    def _at(self, index: int) -> dict[Claim, None]:
        while len(self._first) <= index:
            self._first.append({**self._rest})
        return self._first[index]

    def _items(self, keyword: Keyword) -> None:
        claim, word, value = keyword.claim, keyword.name, keyword.value
        if isinstance(value, list):
            for index in range(len(value)):
                self._at(index)[claim.child(word, index)] = None
        elif word == "items":
            self._behind(len(claim.keywords.get("prefixItems", ())), claim.child(word))
        elif isinstance(claim.schema.get("items"), list):
            self._behind(len(claim.schema["items"]), claim.child(word))

    def _behind(self, start: int, claim: Claim) -> None:
        """A claim for all items from an index on."""
        if start:
            self._at(start - 1)
        for said in self._first[start:]:
            said[claim] = None
        self._rest[claim] = None

    def _unevaluated(self, keyword: Keyword) -> None:
        """Those that nothing within the schema has a say on."""
        inner = [
            k
            for k in self._case.keywords(
                "prefixItems", "items", "additionalItems", "unevaluatedItems", "contains"
            )
            if k != keyword and k.part_of(keyword.claim)
        ]
        if any(k.name == "contains" for k in inner):
            self._notes.append(keyword.note)
        elif not any(_covers_all(k) for k in inner):
            covered = max((len(k.value) for k in inner if isinstance(k.value, list)), default=0)
            self._behind(covered, keyword.claim.child(keyword.name))

    def _others(self) -> None:
        for demand in self._case.demands:
            match demand:
                case Item(index, claim):
                    self._at(index)[claim] = None
                    self._least = max(self._least, index + 1)
                case Each(claim):
                    self._behind(0, claim)
                case Some(start, claim):
                    if start:
                        self._at(start - 1)
                    self._somewhere.append(((claim,), 1, None))

    def _length(self, keyword: Keyword) -> None:
        bound = int(keyword.value)
        if (keyword.name == "minItems") == keyword.claim.holds:
            self._least = max(self._least, bound + (not keyword.claim.holds))
        else:
            bound -= not keyword.claim.holds
            self._most = bound if self._most is None else min(bound, self._most)
        if bound > COUNTED:
            self._notes.append(keyword.note)
            self._least = min(self._least, COUNTED)
            self._most = None if self._most == bound else self._most

    def _contains(self, keyword: Keyword) -> None:
        words = keyword.claim.keywords
        least = int(words.get("minContains", 1))
        most = words.get("maxContains")
        claim = keyword.claim.child("contains")
        if max(least, most or 0) > COUNTED:
            self._notes.append(keyword.note)
        else:
            self._somewhere.append(((claim,), least, None if most is None else int(most)))

    # What follows from it.

    def _place(self) -> None:
        """Puts the items that have to be somewhere right behind the first ones."""
        free = not self._first and self._least <= 1 and self._most is None
        if len(self._somewhere) == 1 and free:
            return
        for claims, _, most in self._somewhere:
            if most is not None:
                for claim in claims:
                    self._behind(0, claim.opposite)
        start = len(self._first)
        taken = 0
        for claims, least, _ in self._somewhere:
            for index in range(start + taken, start + taken + least):
                said = self._at(index)
                for claim in claims:
                    said.pop(claim.opposite, None)
                    said[claim] = None
            taken += least
        if taken:
            self._least = max(self._least, start + taken)
        self._somewhere = []

    def _body(self) -> Node:
        if self._somewhere:
            return self._scattered(*self._somewhere[0])
        comma = self._writer.style.comma
        claims = [settled(said) for said in self._first]
        rest = settled(self._rest)
        if (NEVER,) in (*claims, rest):
            count = [*claims, rest].index((NEVER,))
            self._most = count if self._most is None else min(self._most, count)
        return self._row(comma, claims, rest)

    def _row(self, comma: Node, claims: list[Claims], rest: Claims) -> Node:
        least, most = self._least, self._most
        if most is not None and least > most:
            return NOTHING
        claims = claims if most is None else claims[:most]
        first = len(claims)
        after = EMPTY
        if most is None or most > first:
            item = self._writer.value(rest)
            high = None if most is None else most - first
            low = max(0, least - first)
            more = sequence(comma, item)
            if first:
                after = repeat(more, low, high)
            else:
                high = None if high is None else high - 1
                row = sequence(item, repeat(more, max(0, low - 1), high))
                after = row if low else optional(row)
        for index in range(first - 1, -1, -1):
            item = self._writer.value(claims[index])
            one = sequence(*([comma] if index else []), item, after)
            after = one if index < least else optional(self._writer.book.name(one, "items"))
        return after

    def _scattered(self, claims: Claims, least: int, most: int | None) -> Node:
        """So many items that are as claimed, among others."""
        comma = self._writer.style.comma
        others = self._rest if most is None else {**self._rest, claims[0].opposite: None}
        other = self._writer.value(settled(others))
        wanted = self._writer.value(settled({**self._rest, claims[0]: None}))
        one = sequence(repeat(sequence(other, comma)), wanted)
        further = sequence(repeat(sequence(comma, other)), comma, wanted)
        tail = repeat(sequence(comma, other))
        high = most if most is None else most - 1
        if most == 0:
            row = sequence(other, repeat(sequence(comma, other)))
            return row if self._least else optional(row)
        body = sequence(one, repeat(further, max(0, least - 1), high), tail)
        if least:
            return body
        plain = sequence(other, repeat(sequence(comma, other)))
        return choice(*([] if self._least else [EMPTY]), plain, body)

    def _distinct(self) -> Node | None:
        """Items that all differ, where there are few of them to choose from."""
        if self._first or self._somewhere:
            return None
        listed = self._writer.listed(settled(self._rest))
        if listed is None or len(listed) > DISTINCT:
            return None
        style, book = self._writer.style, self._writer.book
        most = len(listed) if self._most is None else min(self._most, len(listed))
        texts = [style.value(value) for value in listed]
        rules: dict[frozenset[int], Node] = {}

        def following(left: frozenset[int]) -> Node:
            """What may be written when these are left."""
            if left not in rules:
                used = len(texts) - len(left)
                options: list[Node] = [] if used < self._least else [EMPTY]
                for index in sorted(left) if used < most else ():
                    comma = [style.comma] if used else []
                    options.append(sequence(*comma, texts[index], following(left - {index})))
                rules[left] = book.name(choice(*options), "distinct")
            return rules[left]

        return following(frozenset(range(len(texts))))


def _covers_all(keyword: Keyword) -> bool:
    if keyword.name == "unevaluatedItems":
        return True
    if keyword.name == "additionalItems":
        return isinstance(keyword.claim.schema.get("items"), list)
    return keyword.name == "items" and not isinstance(keyword.value, list)
