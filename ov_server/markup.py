"""Text state machines between the detokenizer and the answer: stop strings, reasoning, and where
tool calls begin. Pure: no tokens, no transport.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from .arguments import Call, Kinds, overlap
from .calls import CallParser
from .core import Arguments, Reasoning, Said, Text, ToolCall
from .toolformats import ToolFormat


class StopStrings:
    """Ends a text before the string that is complete first, and never shows part of one.

    Text that may be the beginning of a stop string is held back until it is known.
    """

    def __init__(self, stops: tuple[str, ...]):
        self._stops = stops
        self._held = ""

    def feed(self, text: str) -> tuple[str, bool]:
        """The text that is certain now, and whether a stop string has been reached."""
        if not self._stops:
            return text, False
        text = self._held + text
        found = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self._held = ""
            return text[: min(found)[1]], True
        keep = max(overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep], False

    def flush(self) -> str:
        """What was held back, when the text has ended of itself."""
        held, self._held = self._held, ""
        return held


@dataclass(frozen=True, slots=True)
class Markers:
    """What a model writes before and after its reasoning."""

    opening: str
    closing: str


START, ANSWER, CALLS = "start", "answer", "calls"
"""Rules of a request's grammar: for the whole text, for what follows the reasoning, for what
follows the opening of the calls."""

MOST_CALLS = 64
"""Calls in one answer."""


def headed_of(number: int) -> str:
    """The rule for what follows the head of a call of that function of `Reading.names`, where the
    text begins with it."""
    return f"headed_{number}"


def rest_of(number: int) -> str:
    """The rule for what follows the name of that function, in an answer with many."""
    return f"rest_{number}"


def last_of(number: int) -> str:
    """The same for the last call that may be."""
    return f"last_{number}"


@dataclass(frozen=True, slots=True)
class Reading:
    """How the text of one request's answers is read."""

    stops: tuple[str, ...] = ()
    reasoning: Markers | None = None
    thinking: bool = False
    """The prompt ends inside of the reasoning."""
    form: ToolFormat | None = None
    """How calls are written; None is no calls."""
    names: tuple[str, ...] = ()
    """The functions that may be called."""
    kinds: Kinds = field(default_factory=dict)
    held: bool = False
    """Whether the text but for the reasoning is held to a grammar from its first character."""
    ends_anywhere: bool = False
    """Whether that grammar lets it end at any place."""
    by_name: bool = False
    """Whether a call is held to a rule of its function's own as soon as that is known."""

    @property
    def start(self) -> str | None:
        """The rule that the first character is held to."""
        return START if self.held and not self.thinking else None


@dataclass(frozen=True, slots=True)
class Turn:
    """From here on the text is held to another rule of the grammar; None leaves it free."""

    rule: str | None
    surplus: str
    """What was fed behind this place: it has to be generated anew."""


class Reader:
    """Takes one answer's text in pieces, and tells what of it is reasoning, text and calls.

    Its states are methods: each gets what has not been understood yet, and returns what it leaves.
    """

    def __init__(self, reading: Reading, index: int = 0, new_id: Callable[[], str] | None = None):
        self._reading = reading
        self._index = index
        self._new_id = new_id or _new_id
        self._stops = StopStrings(reading.stops)
        self._quotes = Quotes()
        self._calls: CallParser | None = None
        self._said: list[Said] = []
        self._left = ""
        """Text that no state has understood yet."""
        self._space = ""
        """White space that goes with what follows it, or away."""
        self._shown = ""
        """The text that was said under a grammar."""
        self._again = 0
        self._known = ""
        """The text that was fed once more."""
        self._thought = False
        self._began = False
        """Whether the text has its first character."""
        self._state = self._thinking if reading.thinking else self._beginning
        self.rule = reading.start
        """What the text is held to."""
        self.held_text = ""
        """The text since it is held to that."""
        self.called = 0
        """Calls whose names are known."""
        self.stopped = False
        """A stop string was reached."""
        self.turn: Turn | None = None
        """Where the last piece led to another rule."""

    @property
    def reasons(self) -> bool:
        """Whether the text is reasoning now."""
        return self._state == self._thinking

    @property
    def unfinished(self) -> bool:
        """Whether what was said has to be completed: a value or arguments that were begun."""
        if self._calls is not None:
            return self._calls.open
        if self._reading.ends_anywhere:
            return False
        untouched = self._reading.form is None and self._reading.reasoning is None
        return self.rule is not None and (self._began or untouched)

    def feed(self, text: str) -> list[Said]:
        """What the new text makes certain. `stopped` and `turn` then tell how to go on."""
        self.turn = None
        self.held_text += text if self.rule is not None else ""
        if self._again:
            known = min(self._again, len(text))
            self._known += text[:known]
            self._again, text = self._again - known, text[known:]
        self._left += text
        while self._left and not self.stopped and self.turn is None:
            state, left = self._state, self._left
            self._left = state(left)
            if self._left == left and self._state == state:
                break
        return self._taken()

    def repeats(self, length: int) -> None:
        """So many characters in front of the turn will be fed once more."""
        self._again = length

    def complete(self, rest: str) -> list[Said]:
        """Takes the shortest end of what is `unfinished`, when the model will not write it."""
        if self._calls is None:
            self._say(rest)
        else:
            self._calling(rest)
        return self._taken()

    def finish(self) -> list[Said]:
        """What was held back, when no more text will come. Half a marker is text, but where the
        text is held to a grammar; a call without its function's name was none."""
        left, self._left = self._left, ""
        if self._state == self._thinking:
            self._think(left)
        elif self._calls is None and not self.stopped and (self.rule is None or self._began):
            self._show(left, last=True)
        return self._taken()

    def _taken(self) -> list[Said]:
        said, self._said = self._said, []
        return said

    def _turned(self, rule: str | None, surplus: str) -> str:
        self.turn = Turn(rule, surplus)
        self.rule, self.held_text, self._known = rule, "", ""
        return ""

    # Reasoning.

    def _beginning(self, text: str) -> str:
        """Before the first word: it may open the reasoning."""
        if self._reading.reasoning is not None:
            opening, start = self._reading.reasoning.opening, text.lstrip()
            if start.startswith(opening):
                self._state = self._thinking
                rest = start.removeprefix(opening)
                return rest if self.rule is None else self._turned(None, rest)
            if opening.startswith(start):
                return text
        self._state = self._speaking
        return text

    def _thinking(self, text: str) -> str:
        assert self._reading.reasoning is not None
        thought, closing, rest = text.partition(self._reading.reasoning.closing)
        if closing:
            self._think(thought.rstrip())
            self._state = self._answering
            return self._turned(ANSWER, rest) if self._reading.held else rest
        certain = text[: len(text) - overlap(text, self._reading.reasoning.closing)].rstrip()
        self._think(certain)
        return text[len(certain) :]

    def _think(self, text: str) -> None:
        text = text if self._thought else text.lstrip()
        if text:
            self._thought = True
            self._said.append(Reasoning(text, self._index))

    def _answering(self, text: str) -> str:
        """Behind the reasoning: white space is nobody's."""
        if text := text.lstrip():
            self._state = self._speaking
        return text

    # Text.

    def _speaking(self, text: str) -> str:
        form, free = self._reading.form, self.rule is None
        if form is not None and not self._began and (form.heads or not free):
            begun = self._headed(form, text)
            if begun is not None:
                return begun
        if form is not None and form.opening and free:
            return self._searched(form, text)
        self._show(text)
        return ""

    def _headed(self, form: ToolFormat, text: str) -> str | None:
        """What is left when the text begins with a call, or may; None when it doesn't."""
        start = text.lstrip()
        before = text[: len(text) - len(start)]
        if form.opening and start.startswith(form.opening):
            return self._open_calls(CALLS, "", before, start.removeprefix(form.opening))
        if form.opening.startswith(start):
            return text
        bare = "".join(text.split())
        for number, name in enumerate(self._reading.names if form.heads else ()):
            for head in (head % name for head in form.heads):
                if bare.startswith(head) and name in text:
                    rest = text[_place(text, len(head)) :]
                    lead = form.begin + form.lead(name)
                    return self._open_calls(headed_of(number), lead, before, rest)
                if head.startswith(bare):
                    return text
        return None

    def _searched(self, form: ToolFormat, text: str) -> str:
        at = text.find(form.opening)
        if at < 0:
            return self._show_but(overlap(text, form.opening), text)
        if self._quotes.open_behind(self._space + text[:at]):
            end = at + len(form.opening)
            self._show(text[:end])
            return text[end:]
        return self._open_calls(CALLS, "", text[:at], text[at + len(form.opening) :])

    def _show_but(self, keep: int, text: str) -> str:
        self._show(text[: len(text) - keep])
        return text[len(text) - keep :]

    def _show(self, text: str, *, last: bool = False) -> None:
        """Text for the client. White space waits where a call may follow: it would be dropped."""
        text, self._space = self._space + text, ""
        if self._reading.form is not None and self.rule is None and not last:
            shown = text.rstrip()
            text, self._space = shown, text[len(shown) :]
        if self._reading.form is not None:
            self._quotes.feed(text)
        self._began = self._began or bool(text)
        certain, self.stopped = self._stops.feed(text)
        if last and not self.stopped:
            certain += self._stops.flush()
        self._say(certain)
        if self.stopped:  # what is behind is no longer part of the text
            self.held_text = self._known + self._shown

    def _say(self, text: str) -> None:
        if text:
            self._shown += text if self.rule is not None else ""
            self._said.append(Text(text, self._index))

    # Calls.

    def _open_calls(self, rule: str, head: str, before: str, rest: str) -> str:
        """The calls begin, behind that text; `head` is the beginning of the first one."""
        assert self._reading.form is not None
        self._show(before)
        if not self.stopped:
            self._end_text()
        if self.stopped:
            return ""
        self._calls = CallParser(self._reading.form, self._reading.kinds)
        self._state = self._calling
        self._tell(self._calls.feed(head))
        if self.rule is None or (head and self._reading.by_name):
            return self._turned(rule, rest)
        return rest

    def _end_text(self) -> None:
        """White space goes before a call, unless a stop string ends in it."""
        space, self._space = self._space, ""
        text, self.stopped = self._stops.feed(space)
        self._say(text if self.stopped else (text + self._stops.flush()).rstrip())

    def _calling(self, text: str) -> str:
        assert self._calls is not None
        if not self._reading.by_name:
            self._tell(self._calls.feed(text))
            return ""
        for number, character in enumerate(text, 1):
            name = self._tell(self._calls.feed(character))
            if name is not None:
                rule = rest_of if self.called < MOST_CALLS else last_of
                return self._turned(rule(self._reading.names.index(name)), text[number:])
        return ""

    def _tell(self, parts: list[Call | str]) -> str | None:
        """The function's name, where a call begins."""
        name = None
        for part in parts:
            if isinstance(part, Call):
                name = part.name
                self._said.append(ToolCall(self.called, self._new_id(), name, self._index))
                self.called += 1
            else:
                self._said.append(Arguments(part, self.called - 1, self._index))
        return name


def _new_id() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"


def _place(text: str, count: int) -> int:
    """Where in `text` that many characters that are no white space have been read."""
    places = [at for at, character in enumerate(text) if not character.isspace()]
    return places[count - 1] + 1


class Quotes:
    """Whether a place in a text is inside of a code block, of code or of a quotation, where what
    looks like a call is only talked about. Quotations and code end with their line."""

    def __init__(self) -> None:
        self._fence = ""
        self._line = ""

    def feed(self, text: str) -> None:
        *lines, rest = (self._line + text).split("\n")
        for line in lines:
            self._fence = _fence_after(self._fence, line)
        self._line = rest

    def open_behind(self, text: str) -> bool:
        """Whether the place behind what was fed and `text` is such a one."""
        *lines, rest = (self._line + text).split("\n")
        fence = self._fence
        for line in lines:
            fence = _fence_after(fence, line)
        if fence or _fence_after("", rest):
            return True
        return rest.count("`") % 2 == 1 or rest.count('"') % 2 == 1


def _fence_after(fence: str, line: str) -> str:
    """The fence that is open behind a line, by CommonMark's rules as far as they matter."""
    mark = line.lstrip()
    if fence:
        return "" if mark.startswith(fence) and not mark.strip(fence[0] + " ") else fence
    return next((f for f in ("```", "~~~") if mark.startswith(f)), "")
