"""The environment of a payload process, and what of a card may stand in it or in a command."""

import re

from pydantic import BaseModel

from lambda_hat_core.config.samplers.base import Dtype

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def one_process(dtype: Dtype, threads: int, flags: str = "") -> dict[str, str]:
    """Return what a payload finds in its environment.

    `threads` becomes that many XLA host devices, over which chains are sharded, each of which
    computes on one thread: XLA takes the size of its thread pool from NPROC, and would else
    divide every loop among all cores. Machines without 512-bit vectors ignore that flag. A
    program is compiled in as many parts as threads can work on: more parts cost a tenth more.

    Args:
        dtype: of the process.
        threads: cores that are its own.
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
