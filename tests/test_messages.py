"""Every message of a refusal in one place: each says what was expected, what was found, what to do.

The messages are read from the source, so that none is left out because no test provokes it. What
an f-string fills in is shown as `{expression}`; where a choice is filled in, each is a message.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from commands import REPOSITORY

PACKAGE = REPOSITORY / "anomalyr1"

# Messages that are put together from others, each of which is held to the form where it stands.
JOINED = {
    ("data/fault_lists.py", "{'\\n'.join(lines)}"): "a headline and a fault a line",
    ("data/making/sources/annotated.py", "{self.lines[0]}"): "a fault that is alone",
    ("evaluation/prediction_lines.py", "{where}: {_faults(row, error)}; mend the line"): "fields",
    ("evaluation/masks.py", "{faults[0]}"): "a fault that is alone",
    ("demo/upload_limits.py", "{str(error).replace('the bytes given', name)}"): "of an upload",
    ("inspection/product.py", "{faults[0]}"): "a fault that is alone",
    ("rewards/completion_lines.py", "{path}, {faults[0]}; mend it"): "a field",
    ("rewards/completion_lines.py", "{path}: {len(faults)} faults: {shown}; mend them"): "fields",
    ("storage.py", "{_at_once(faults, path)}"): "a fault a line",
    ("training/preflight.py", "{verdict[0]}"): "the verdict of the first process for all",
}

# What a last clause begins with: what to do, or a question whose answer is what to do.
ADVICE = re.compile(
    "(add|allow|ask|bring|calibrate|change|check|choose|convert|copy|correct|crop|cut|define|did"
    "|divide|download|draw|drop|evaluate|export|give|if|inspect|install|join|keep|leave|list|lower|make"
    "|mend|merge|move|name|plan|put|raise|read|remove|rename|replace|return|run|save|say|scale|send"
    "|set|shorten|split|start|take|train|turn|use|wait|write)\\b|…$"
)

# One word for one thing: what is not said -> what is said instead.
TERMS = {
    r"data ?set of questions|question set|\bbench\b": "benchmark",
    r"(output|run|experiment|results?) director(y|ies)|(output|experiment) folder": "run folder",
    r"\bthe model's (answer|completion)|\bthe model answer": "policy",
    r"question kinds?|kinds? of questions?|task types?": "question type",
    r"finetun|fine tun": "fine-tuning",
    r"check-point|check point|snapshot": "checkpoint",
    r"bounding box|\bbbox(es)?\b": "box",
    r"ground.truth box|true box": "gold box",
    r"\b(template|normal) images? shown|\btemplate images?\b": "reference image",
    r"(?<!working )\bdirector(y|ies)\b": "folder",
    r"\bfile-?name\b": "file name",
    r"\bcommand-line\b|\bcmdline\b": "command line",
    r"\binvalid\b|\billegal\b|\bbad\b": "what was expected",
    r"\bmust\b|\bshould\b|\bplease\b|\bsorry\b|\boops\b": "what was expected, and what to do",
    # As the rest of the project is spelt.
    r"\bcolor|\bgray\b|\bcenter|\bbehavior|\b(un)?label(ed|ing)\b|(normal|initial|optim|recogn)iz|"
    r"\blicense\b|\bartifact|\bcatalog\b": "it in British spelling",
}
# Names that are spelt so by others: keys, functions, forms of files.
FOREIGN = re.compile(r"hex-color|internal-color-map|`[^`]*`|bbox \[|bbox_type|<[^>]*>|--set \w+=")


@dataclass(frozen=True)
class Message:
    """A text of the package and where it stands."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"anomalyr1/{self.file}:{self.line}: {self.text}"

    @property
    def own_words(self) -> str:
        """The text with a … for whatever is filled in."""
        text, before = self.text, ""
        while before != text:
            text, before = re.sub(r"\{[^{}]*\}", "…", text), text
        return text

    @property
    def fault(self) -> tuple[str, ...]:
        """The words that tell the fault; none where nearly all is filled in."""
        words = re.findall(r"[\w-]+", self.own_words.partition(";")[0].lower())
        telling = [w for w in words if w not in ("expected", "found", "a", "an", "the", "in", "at")]
        return tuple(telling) if len(telling) > 2 else ()


Names = dict[str, list[ast.expr]]


def variants(node: ast.expr, names: Names) -> list[str]:
    """What an expression can say; names that stand for a text in their function are looked up."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.IfExp):
        return variants(node.body, names) + variants(node.orelse, names)
    if isinstance(node, ast.JoinedStr):
        parts = [variants(part, names) for part in node.values]
        return ["".join(choice) for choice in itertools.product(*parts)]
    if isinstance(node, ast.FormattedValue):
        return variants(node.value, names)
    if isinstance(node, ast.Name) and node.id in names:
        said = [v for value in names[node.id] for v in variants(value, {})]
        return list(dict.fromkeys(said))
    return [f"{{{ast.unparse(node)}}}"]


def names_of(function: ast.FunctionDef) -> Names:
    found: Names = defaultdict(list)
    for statement in ast.walk(function):
        if isinstance(statement, ast.Assign):
            [target, *_] = statement.targets
            if isinstance(target, ast.Name) and texts_only(statement.value):
                found[target.id].append(statement.value)
    return found


def texts_only(node: ast.expr) -> bool:
    if isinstance(node, ast.IfExp):
        return texts_only(node.body) and texts_only(node.orelse)
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def nodes(kind: type) -> Iterator[tuple[str, ast.AST, Names]]:
    """Every node of a kind in the package: its file, itself, and the texts it may name."""
    for file, tree, within in TREES:
        for node in ast.walk(tree):
            if isinstance(node, kind):
                yield file, node, within.get(node, {})


def read(path: Path) -> tuple[str, ast.Module, dict[ast.AST, Names]]:
    """A file's name, its syntax, and the texts that names stand for around each node of it."""
    tree = ast.parse(path.read_text())
    within: dict[ast.AST, Names] = {}
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):  # an inner function comes after its outer one
            within |= dict.fromkeys(ast.walk(function), names_of(function))
    return path.relative_to(PACKAGE).as_posix(), tree, within


TREES = [read(path) for path in sorted(PACKAGE.rglob("*.py"))]


def called(*names: str) -> list[Message]:
    """What is handed to functions, classes and methods of these names."""
    return [
        Message(file, call.lineno, text)
        for file, call, known in nodes(ast.Call)
        if getattr(call.func, "id", getattr(call.func, "attr", "")) in names and call.args
        for text in variants(call.args[0], known)
    ]


def returned() -> list[Message]:
    """Whole refusals that a function gives back as a text."""
    return [
        Message(file, node.lineno, text)
        for file, node, known in nodes(ast.Return)
        if node.value is not None and texts_only(node.value)
        for text in variants(node.value, known)
        if text.startswith("expected") and "; " in text
    ]


ALL = called("InputError")
REFUSALS = [m for m in (*ALL, *returned()) if (m.file, m.text) not in JOINED]


def test_none_is_left_out():
    written = sum(
        len(re.findall(r"\bInputError\((?!ValueError)", path.read_text()))
        for path in PACKAGE.rglob("*.py")
    )
    subclasses = sum(path.read_text().count("(InputError):") for path in PACKAGE.rglob("*.py"))
    assert len({(m.file, m.line) for m in ALL}) == written > 250
    assert subclasses == 1  # ConfigFaults, whose message is handed to __init__ of this
    assert [m for m in REFUSALS if m.text.endswith("--verbose, found both; leave one out")]


@pytest.mark.parametrize("message", REFUSALS, ids=lambda m: f"{m.file}:{m.line}")
def test_a_refusal_says_expected_found_and_what_to_do(message):
    fault, _, advice = message.own_words.rpartition("; ")
    assert "expected" in fault, f"{message}\ndoes not say what was expected"
    assert re.search("expected.*found", fault), f"{message}\ndoes not say then what was found"
    assert ADVICE.match(advice), f"{message}\ndoes not end in what to do ({ADVICE.pattern})"
    assert "\n" not in message.own_words and not advice.endswith((".", "!")), f"{message}: one line"


def test_no_exemption_is_left_over():
    assert {(m.file, m.text) for m in ALL} >= JOINED.keys()


def test_no_fault_is_told_in_two_places():
    """What two places would say alike is said by one function that both call."""
    places = defaultdict(dict)
    for message in REFUSALS:
        if message.fault:
            places[message.fault][message.file, message.line] = message
    twice = [same.values() for same in places.values() if len(same) > 1]
    assert not twice, "\n\n".join("\n".join(map(str, same)) for same in twice)


def test_a_list_of_faults_begins_with_what_to_do():
    headlines = [m for m in called("refusal") if m.text.startswith("{}")]
    assert len(headlines) >= 4
    for message in headlines:
        assert ADVICE.match(message.text.rpartition("; ")[2]) and message.text[-1] == ":", message


def shown() -> list[Message]:
    """Whatever a user may read of the package: refusals, notes, lines, and what --help says."""
    found = [*REFUSALS, *called("refusal", "print", "append", "unknown", "Line")]
    for file, call, known in nodes(ast.Call):
        for keyword in call.keywords:
            if keyword.arg == "help":
                said = variants(keyword.value, known)
                found += [Message(file, call.lineno, text) for text in said]
    return found


@pytest.mark.parametrize("wrong", TERMS, ids=TERMS.values())
def test_one_thing_has_one_name(wrong):
    found = {str(m) for m in SHOWN if re.search(wrong, FOREIGN.sub("", m.own_words), re.I)}
    assert not found, f"say {TERMS[wrong]}:\n" + "\n".join(sorted(found))


SHOWN = shown()
