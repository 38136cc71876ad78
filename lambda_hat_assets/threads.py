"""The environment that gives one payload process its threads, and no more."""

from lambda_hat_core.config.samplers.base import Dtype


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
