"""Shell commands on a cluster's login node, over ssh.

The connection resource of dagster-slurm builds the ssh command, with keys, jump hosts, host keys
and a connection that all processes share. Its connection pool is not used to run commands. If
several processes enter the pool at once, each starts a connection, and all but one of them are
never closed. It fails at answers that are not UTF-8, and the jobs of other users may have any name.
And it may take 30 s to connect, whatever its time limit.
"""

import shlex
import subprocess
import tempfile
from typing import IO

from dagster_slurm import SSHConnectionResource

_SSH_FAILED = 255


class Failed(ConnectionError):
    """The failure of a command on the login node.

    Attributes:
        code: the exit code of the command.
        stderr: all lines that it wrote to stderr; the first line is the message.
    """

    def __init__(self, code: int, stderr: list[str]):
        super().__init__(stderr[0] if stderr else f"exit code {code}")
        self.code, self.stderr = code, "\n".join(stderr)


class Login:
    """The login node.

    Args:
        ssh: the settings of the connection.
    """

    def __init__(self, ssh: SSHConnectionResource):
        self._at = f"{ssh.user}@{ssh.host}:{ssh.port}"
        self._ssh = ssh.get_ssh_base_command()

    def ask(self, command: str, seconds: float = 60.0) -> str:
        """Return the output of a shell command; bytes that are not UTF-8 become U+FFFD.

        Raises:
            Failed: if the command ran and failed.
            ConnectionError: if ssh failed or did not end within `seconds`. The command may have run
                nevertheless, or may still be running.
        """
        words = [*self._ssh, f"bash --noprofile --norc -c {shlex.quote(command)}"]
        # Files are used, because the ssh process of the shared connection can keep a pipe open.
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
