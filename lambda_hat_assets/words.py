"""What an operating system takes as an environment and as words of a command."""

import re

from pydantic import BaseModel

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check(model: BaseModel) -> None:
    """Look at all text of a part of a card; its `env`, where it has one, becomes an environment.

    Raises:
        ValueError: naming key, value, rule and way out.
    """
    for key, value in model:
        env = value if isinstance(value, dict) else {}
        for name in env:
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"{key} has {name!r}, which is no name of a variable; write letters, digits "
                    "and _ only, no digit first"
                )
        texts = [value, *env.values(), *(value if isinstance(value, tuple) else ())]
        for text in texts:
            if isinstance(text, str) and "\0" in text:
                raise ValueError(f"{key} has {text!r}, and no command can hold NUL; remove it")


def check_host(key: str, value: str | None) -> None:
    """Look at a name that becomes an argument of ssh.

    Raises:
        ValueError: naming key, value, rule and way out.
    """
    if value is not None and (value.startswith("-") or re.search(r"[\s\0]", value)):
        raise ValueError(
            f"{key} is {value!r}, which ssh would not read as a name; write one that holds no "
            "blank and does not begin with -"
        )
