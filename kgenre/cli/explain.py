"""Turns the parser's error messages into a line that helps a user who mistyped something."""

from __future__ import annotations

import difflib
import inspect
import os
import re
import sys
from collections.abc import Collection, Iterable
from typing import Any

from kgenre.allowed_imports import not_allowed_message
from kgenre.cli.other_names import option_for_alias
from kgenre.lightning_arguments import REPLACEMENTS, meaning_of

# Lines that the parser adds for each alternative of a union type.
_NOISE = (
    "Does not validate",
    "Subtypes:",
    "Errors:",
    "Expected a <class 'NoneType'>",
    "Expected a path but",
    "Given value type:",
    "Given value:",
)
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list such as [64, 64]",
    "dict": "a dict such as {name: value}",
    "timedelta": "a duration",
}
_HOW_A_CLASS_IS_GIVEN = "a class is given as {class_path: NAME, init_args: {argument: value}}."
_DENIED = re.compile(r"Importing '([\w.]+)' is not allowed")
_KEY = re.compile(r'Parser key "([\w.]+)"')
_NO_CLASS = re.compile(r"Expected a dot import path string: ([\w.]+)")
_NO_ARGUMENTS = re.compile(r"Problem with given class_path '([\w.]+)':\s+'(\w+)' object has no attribute 'keys'")
_NO_ARGUMENT = re.compile(r"Problem with given class_path '([\w.]+)':\s+Option '([\w.]+)' is not accepted")
_NO_MODULE = re.compile(r"Problem with given class_path '([\w.]+)':\s+No module named '([\w.]+)'")
_NO_TYPE = re.compile(r"Parameter '(\w+)' from '([\w.]+)\.__init__' does not specify a type")
_REQUIRED = re.compile(r"given class_path '([\w.]+)':\s+the following arguments are required: ([\w., ]+)")
_NO_NAME = re.compile(r"Problem with given class_path '([\w.]+)':\s+module '([\w.]+)' has no attribute '\w+'")
_WRONG_TYPE = re.compile(
    r"Problem with given class_path '(?P<cls>[\w.]+)':\s+Parser key \"(?P<name>[\w.]+)\":\s+(?P<rest>.*)", re.DOTALL
)
_EXPECTED = re.compile(
    r"Expected a (?:(?:<class '(?:\w+\.)*)?(\w+)(?:'>| with \d+ elements)|typing\.Literal\[(.*?)\])"
    r"(?:\. Got value: (.*))?"
)
_GIVEN = re.compile(r"Given value: (?:NestedArg\(.*val=(.*)\)$|(.*))", re.MULTILINE)
_BELOW = re.compile(r"NestedArg\(key='([\w.]*)', val=(.*)\)$")  # of --trainer.max_steps.x
_NO_NAME_OF_A_CLASS = re.compile(
    r"Not a valid subclass of|argument of type '\w+' is not iterable|unhashable type: '\w+'"
)
_SUBCLASS = re.compile(r"does not correspond to a subclass of (\w+)")
_MISSING = re.compile(r"the following arguments are required: ([\w., ]+)$")
_NO_VALUE = re.compile(r"argument --([\w.]+): expected one argument")
_NO_OPTIONS = re.compile(r"^Parser key \"(\w+)\":\nUnable to load config '(.*)'$", re.MULTILINE)
_NOTHING_BELOW = re.compile(r"Unexpected config: (\w+):\s*$")
_NOT_AN_OPTION = re.compile(r"unrecognized arguments: (?!--)(.+)")
_NO_OPTION = re.compile(
    r"Group '(?P<group>[\w.]+)' does not accept option '(?P<name>[\w.]+)'|Option '(?P<key>[\w.]+)' is not accepted"
    r"|unrecognized arguments: --(?P<option>[^\s=]+)"
)


def explain(message: str, parser: Any) -> str:
    """Return one line with what was given and what would be valid."""
    key = _KEY.search(message)
    at = f"--{key[1]}: " if key else ""
    if found := _DENIED.search(message):
        return not_allowed_message(found[1])
    if (found := _WRONG_TYPE.search(message)) and _kinds(found["rest"]):
        return f"{at}{_last(found['cls'])}'s {_wrong_type(found['name'], found['rest'])}"
    if found and (no_path := _NO_CLASS.match(found["rest"])):
        of = f"{at}{_last(found['cls'])}'s {found['name']}"
        return f"{of} takes the import path of a function or class, such as file.NAME. Received: {no_path[1]}"
    if found := _NO_ARGUMENT.search(message):
        cls, name = found.groups()
        if name == "class_path" or _last(cls) == "Callback":
            return f"{at}{_HOW_A_CLASS_IS_GIVEN}"
        arguments = _arguments_of(cls)
        meant = option_for_alias(name, [f"{key[1]}.{argument}" for argument in arguments]) if key else None
        if meant:
            return f"{at}{_last(cls)} has no argument {name!r}. Did you mean --{meant}?"
        if instead := _instead(name, [base.__name__ for base in getattr(_class_at(cls), "__mro__", ())]):
            return f"{at}{_last(cls)} has no argument {name!r}: {instead}."
        of_network = f" An argument of the network is --{key[1]}.network_args.{name}." if key else ""
        hint = suggestion(name, arguments) + (of_network if "network_args" in arguments else "")
        return f"{at}{_last(cls)} has no argument {name!r}. {hint}"
    if found := _NO_ARGUMENTS.search(message):
        return f"{at}init_args takes {_last(found[1])}'s arguments, {{name: value}}; omit it if there are none."
    if found := _NO_MODULE.search(message):
        return f"{at}there is no module {found[2]!r} for {found[1]}, neither in this folder nor installed."
    if found := _NO_TYPE.search(message):
        return f"{at}{found[2]} must declare the type of {found[1]}, for example: def __init__(self, {found[1]}: int)."
    if key and (found := _REQUIRED.search(message)):
        needed = ", ".join(f"--{key[1]}.{name.strip()}" for name in found[2].split(","))
        return f"{_last(found[1])} needs {needed}."
    if found := _NO_NAME.search(message):
        known = vars(sys.modules[found[2]]) if found[2] in sys.modules else {}
        classes = [name for name, value in known.items() if inspect.isclass(value)]
        return f"{at}there is no {found[1]}. {suggestion(_last(found[1]), classes)}"
    if (found := _SUBCLASS.search(message)) and _GIVEN.search(message):
        given = " ".join(_GIVEN.findall(message)[-1]).strip()
        wrap = found[1] == "Callback" and _is_keras_class(given)
        hint = f" In Python, wrap Keras's: kgenre.callbacks.KerasCallback({_last(given)}())." if wrap else ""
        return f"{at}{given} is not a {found[1]}.{hint}"
    if found := _NO_CLASS.search(message):
        option = _last(key[1]) if key else ""
        yours = f" Name your own class with its file: --{option} file.Class" if option in ("model", "data") else ""
        return f"{at}there is no class {found[1]!r}. {suggestion(found[1], _known_classes(option))}{yours}"
    if found := _MISSING.search(message):
        if found[1] == "runs":
            return "give at least one run's folder, such as runs/quickstart/version_0."
        helps = {action.dest: action for action in parser._actions}
        actions = [helps[name] for name in found[1].split(", ") if name in helps]
        options = [f"{next(iter(action.option_strings), action.dest)} is required: {action.help}" for action in actions]
        return f"{'; '.join(options) or f'{found[1]} is required'}."
    if found := _NO_VALUE.search(message):
        option = f"an option --{found[1]}.NAME" if found[1] in ("model", "data") else f"--{found[1]}"
        return f"{option} needs a value."
    if found := _NOT_AN_OPTION.search(message):
        return _not_an_option(found[1], _options_of(parser))
    if found := _NO_OPTION.search(message):
        group, name, key_, option = found["group"], found["name"], found["key"], found["option"]
        wanted = f"{group}.{name}" if group else key_ or option
        options = _options_of(parser)
        is_trainers = wanted.rpartition(".")[0] in ("", "trainer") and not option_for_alias(wanted, options)
        instead = _instead(_last(wanted), ["Trainer"]) if is_trainers else None
        hint = f": {instead}." if instead else f".{_option_hint(wanted, options)}"
        if option is None:  # not typed: from a config, perhaps of another version
            return f"the config has {wanted}, which is not an option{hint if hint != '.' else '. Leave it out.'}"
        variable = f"KGENRE_{wanted.upper().replace('.', '__')}"
        source = f", from {variable} in the environment" if variable in os.environ else ""
        return f"there is no option --{wanted}{source}{hint}"
    if "surrogates not allowed" in message:
        return f"{at}a name is not valid UTF-8: rename the file or folder."
    if key and _kinds(message):
        return f"--{_wrong_type(_KEY.findall(message)[-1], message)}"  # in a section's file the option is a second key
    if found := _NO_OPTIONS.search(message):
        return f"--{found[1]} takes a YAML file of its options, or --{found[1]}.NAME VALUE. Received: {found[2]}"
    if found := _NOTHING_BELOW.search(message):
        return f"the config has no options below {found[1]}: give some, or leave {found[1]} out."
    if _NO_NAME_OF_A_CLASS.search(message):
        return f"{at}{_HOW_A_CLASS_IS_GIVEN}"
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    said = " ".join(dict.fromkeys(line for line in lines if line and not line.startswith(_NOISE)))
    return _KEY.sub(r"--\1", said)


def _not_an_option(words: str, options: Collection[str]) -> str:
    """Return what an argument without an option was probably meant for."""
    first = words.split()[0]
    if first.endswith((".yaml", ".yml")) and "config" in options:
        return f"for a configuration file, use --config {first}."
    if os.path.isdir(first) and "ckpt_path" in options:
        return f"for a run or checkpoint, use --ckpt_path {first}" + (
            f"; for films, --data.path {first}." if "data.path" in options else "."
        )
    return f"{first!r} does not belong to any option; names of options begin with --."


def _wrong_type(name: str, message: str) -> str:
    """Return a message such as ``patience takes a whole number. Received: many``."""
    received = next((got for *_, got in _EXPECTED.findall(message) if got), "")
    if not received and (given := _GIVEN.search(message)):
        received = next(filter(None, given.groups()), "")
    received = _BELOW.sub(r"{\1: \2}", received.strip())
    meaning = meaning_of(name.replace("trainer.", "Trainer."))
    return f"{name} takes {' or '.join(dict.fromkeys(_kinds(message)))}{meaning}. Received: {received}"


def _kinds(message: str) -> list[str]:
    found = [(kind, choices) for kind, choices, _ in _EXPECTED.findall(message) if kind != "NoneType"]
    return [choices.replace(", ", " or ") or _WORDS.get(kind, kind) for kind, choices in found]


def _option_hint(name: str, known: Iterable[str]) -> str:
    """Return a hint at the option probably meant: a similar name, or the same name behind another prefix."""
    known = list(known)
    meant = option_for_alias(name, known)
    close = [meant] if meant else []
    name = name.replace("-", "_")
    close += [option for option in known if _last(option) == _last(name)]
    close += difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    close += [option for option in known if difflib.get_close_matches(_last(name), [_last(option)], cutoff=0.85)]
    return f" Did you mean --{close[0]}?" if close else ""


def _instead(name: str, classes: Iterable[str]) -> str | None:
    """Return what to write instead of an argument that one of these classes has in Lightning."""
    return next((REPLACEMENTS[cls][name] for cls in classes if name in REPLACEMENTS.get(cls, {})), None)


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return a hint at the name probably meant, or the list of known names."""
    known = [other for other in known if other != name]
    by_lower = {other.lower(): other for other in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1)
    if close:
        return f"Did you mean {by_lower[close[0]]!r}?"
    return f"There are: {', '.join(known)}." if known else ""


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _class_at(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(sys.modules.get(module), name, None)


def _arguments_of(path: str) -> list[str]:
    cls = _class_at(path)
    return [argument for argument in inspect.signature(cls).parameters if argument != "self"] if cls else []


def _is_keras_class(path: str) -> bool:
    return any(base.__module__.startswith("keras.") for base in getattr(_class_at(path), "__mro__", ()))


def _known_classes(option: str) -> list[str]:
    """Return the names of the classes that an option accepts without their package."""
    from kgenre import callbacks, data, loggers, models, training

    homes = {
        "model": (models, training.Module),
        "data": (data, training.DataModule),
        "callbacks": (callbacks, callbacks.Callback),
        "logger": (loggers, loggers.Logger),
    }
    chosen = [homes[option]] if option in homes else homes.values()
    known = [
        cls for home, base in chosen for cls in vars(home).values() if inspect.isclass(cls) and issubclass(cls, base)
    ]
    return sorted({cls.__name__ for cls in known})


def _options_of(parser: Any) -> list[str]:
    options = [option.removeprefix("--") for action in parser._actions for option in action.option_strings]
    for part in ("model", "data"):
        described = parser.get_defaults().get(part) if part in options else None
        if described:
            options += [f"{part}.{name}" for name in _arguments_of(described["class_path"])]
    return options
