"""The environment of a payload process, and checks of text that a card puts into it."""

import re

from pydantic import BaseModel

from lambda_hat_core.config.samplers.base import Dtype

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def one_process(dtype: Dtype, threads: int, flags: str = "") -> dict[str, str]:
    """Return the variables that limit a payload process to its own cores.

    XLA gets `threads` host devices; chains are sharded over the devices, and each device computes
    on one thread. XLA takes the size of its thread pool from NPROC, and would otherwise divide
    every loop among all cores of the machine. Machines without 512-bit vectors ignore the flag
    about them. A program is compiled in `threads` parts, because more parts make the compilation a
    tenth slower.

    Args:
        dtype: the precision of the process.
        threads: the number of cores that the process may use.
        flags: further XLA flags, which come first.
    """
    ours = [
        flags,
        f"--xla_force_host_platform_device_count={threads}",
        "--xla_cpu_multi_thread_eigen=false",
        "--xla_cpu_prefer_vector_width=512",
        f"--xla_cpu_parallel_codegen_split_count={threads}",
    ]
    return {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "NPROC": str(threads),
        "XLA_FLAGS": " ".join(ours).strip(),
        "JAX_ENABLE_X64": str(int(dtype == "float64")),
    }


def check(model: BaseModel) -> None:
    """Check that the text in a part of a card can be used in commands and environments.

    Raises:
        ValueError: if it cannot; the error names key, value, rule and correction.
    """
    for key, value in model:
        env = value if isinstance(value, dict) else {}
        for name in env:
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"{key} has {name!r}, which cannot be the name of a variable; use only "
                    "letters, digits and _, and do not begin with a digit"
                )
        texts = [value, *env.values(), *(value if isinstance(value, tuple) else ())]
        for text in texts:
            if isinstance(text, str) and "\0" in text:
                raise ValueError(f"{key} has {text!r}, but a command cannot contain NUL; remove it")


def check_host(key: str, value: str | None) -> None:
    """Check a name that becomes an argument of ssh.

    Raises:
        ValueError: if ssh would read it otherwise; the error names key, value, rule and correction.
    """
    if value is not None and (value.startswith("-") or re.search(r"[\s\0]", value)):
        raise ValueError(
            f"{key} is {value!r}, which ssh would not read as a name; write a name without spaces "
            "that does not begin with -"
        )
