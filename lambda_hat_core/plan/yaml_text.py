"""What a YAML file must not contain, found in its text before anything is made of it."""

import re

import yaml

from lambda_hat_core.config.errors import Place, show

_DEEPEST = 32
"""Most levels of lists and mappings within each other. Readers of YAML recurse, a dozen calls for
each level, and no experiment needs ten levels."""

_OCTAL = re.compile(r"[-+]?0[0-7_]+")
_SEXAGESIMAL = re.compile(
    r"[-+]?([1-9][0-9_]*(:[0-5]?[0-9])+|[0-9][0-9_]*(:[0-5]?[0-9])+\.[0-9_]*)"
)
_OPEN = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
_CLOSE = (yaml.MappingEndEvent, yaml.SequenceEndEvent)


def check_text(text: str, place: Place) -> type[yaml.Event] | None:
    """Refuse nesting without end, and numbers that YAML 1.1 reads as nobody means them.

    Args:
        text: the YAML.
        place: the file, or the word of a command line.

    Returns:
        The kind of event with which the content begins; None if there is no content.

    Raises:
        ConfigError: if there is such a thing.
        yaml.YAMLError: if the text is not YAML.
    """
    depth, first = 0, None
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, (*_OPEN, yaml.ScalarEvent)):
            first = first or type(event)
        if isinstance(event, _OPEN):
            depth += 1
            if depth > _DEEPEST:
                rule = f"more than {_DEEPEST} lists and mappings within each other"
                raise _line(place, event).error(rule, "close brackets, or nest less")
        elif isinstance(event, _CLOSE):
            depth -= 1
        elif isinstance(event, yaml.ScalarEvent) and event.implicit[0]:
            _check_number(event.value, _line(place, event))
    return first


def is_sexagesimal(text: str) -> bool:
    """Return whether YAML 1.1 reads a text such as 1:30 as a number to base 60."""
    return bool(_SEXAGESIMAL.fullmatch(text))


def _check_number(text: str, place: Place) -> None:
    if _OCTAL.fullmatch(text):
        meant, system = text.lstrip("+-0_").replace("_", "") or "0", "octal"
    elif is_sexagesimal(text):
        meant, system = "the number in decimal", "a number to base 60"
    else:
        return
    rule = f"YAML reads {text} as {show(yaml.safe_load(text))}, because it takes it for {system}"
    raise place.error(rule, f"write {meant}, or put it in quotes if it is text")


def _line(place: Place, event: yaml.Event) -> Place:
    """Return the line of an event in a file; of a word of a command line, its own place."""
    return place if place.path else Place(f"{place.file}:{event.start_mark.line + 1}")
