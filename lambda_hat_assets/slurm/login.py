"""Shell commands on a cluster's login node, over ssh.

dagster-slurm's connection resource makes the ssh command, with keys, jump hosts, host keys, and the
connection that all processes share. The command is not run by dagster-slurm's connection pool,
because each of several processes that enter the pool at the same moment starts a connection, of
which all but one are never closed; because the pool raises on an answer that is not UTF-8, and jobs
of others may have any name; and because it spends up to 30 s on connecting, whatever time it is
given.
"""

import shlex
import subprocess
import tempfile
from typing import IO

from dagster_slurm import SSHConnectionResource

_SSH_FAILED = 255


class Failed(ConnectionError):
    """A command that was run on the login node and failed.

    Attributes:
        code: its exit code.
        stderr: all lines that it wrote to stderr; the first one is the message.
    """

    def __init__(self, code: int, stderr: list[str]):
        super().__init__(stderr[0] if stderr else f"exit code {code}")
        self.code, self.stderr = code, "\n".join(stderr)


class Login:
    """The login node.

    Args:
        ssh: how it is reached.
    """

    def __init__(self, ssh: SSHConnectionResource):
        self._at = f"{ssh.user}@{ssh.host}:{ssh.port}"
        self._ssh = ssh.get_ssh_base_command()

    def ask(self, command: str, seconds: float = 60.0) -> str:
        """Return what a shell command prints; bytes that are not UTF-8 become U+FFFD.

        Raises:
            Failed: if the command was run and failed.
            ConnectionError: if ssh failed, or did not end within `seconds`. The command may have
                been run nevertheless, or may still run.
        """
        words = [*self._ssh, f"bash --noprofile --norc -c {shlex.quote(command)}"]
        # Files, because the ssh process that holds the shared connection can keep a pipe open.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            try:
                code = subprocess.run(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    timeout=seconds,
                    start_new_session=True,
                ).returncode
            except (subprocess.TimeoutExpired, OSError) as error:
                late = isinstance(error, subprocess.TimeoutExpired)
                why = f"no answer in {seconds:g} s" if late else f"ssh cannot be started: {error}"
                raise ConnectionError(f"{self._at}: {why}") from error
            answer, stderr = _text(out), _text(err)
        lines = [line.strip() for line in stderr.splitlines() if line.strip()]
        if code == _SSH_FAILED or code < 0:
            raise ConnectionError(f"{self._at}: {lines[-1] if lines else 'ssh failed'}")
        if code:
            raise Failed(code, lines)
        return answer


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")
