"""The environment of a payload process, and what of a card may stand in it or in a command."""

import re

from pydantic import BaseModel

from lambda_hat_core.config.samplers.base import Dtype

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def one_process(dtype: Dtype, threads: int, flags: str = "") -> dict[str, str]:
    """Return the variables that keep a payload process to its own cores.

    XLA gets as many host devices as there are `threads`; chains are sharded over the devices, and
    each device computes on one thread. XLA takes the size of its thread pool from NPROC; without
    that it would divide every loop among all cores of the machine. Machines without 512-bit
    vectors ignore the flag about them. A program is compiled in as many parts as threads can work
    on, because more parts make the compilation a tenth slower.

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
    """Check that the text in a part of a card can stand in commands and environments.

    Raises:
        ValueError: naming key, value, rule and way out.
    """
    for key, value in model:
        env = value if isinstance(value, dict) else {}
        for name in env:
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"{key} has {name!r}, which cannot be the name of a variable; write only "
                    "letters, digits and _, and begin with no digit"
                )
        texts = [value, *env.values(), *(value if isinstance(value, tuple) else ())]
        for text in texts:
            if isinstance(text, str) and "\0" in text:
                raise ValueError(f"{key} has {text!r}, but no command can hold NUL; remove it")


def check_host(key: str, value: str | None) -> None:
    """Check a name that becomes an argument of ssh.

    Raises:
        ValueError: naming key, value, rule and way out.
    """
    if value is not None and (value.startswith("-") or re.search(r"[\s\0]", value)):
        raise ValueError(
            f"{key} is {value!r}, which ssh would not read as a name; write one that has no "
            "blanks and does not begin with -"
        )
