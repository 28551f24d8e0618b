"""A RabbitMQ node of the tests' own, on free ports, with everything it writes in one directory."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import pika
import pika.exceptions
import pytest

from tests.stripe_server import free_port

PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
START_SECONDS = 30.0
NOT_INSTALLED = "RabbitMQ is not installed: the broker tests did not run"

needed = pytest.mark.skipif(
    not PROGRAM.exists() or shutil.which("epmd") is None, reason=NOT_INSTALLED
)


class RabbitNode:
    """Started and stopped with the block. It never runs as root, because Debian's may not."""

    def __init__(self) -> None:
        self._user = "rabbitmq" if os.geteuid() == 0 else None
        self._home = Path(tempfile.mkdtemp(prefix="mostrador-rabbit-"))
        self._port = free_port()
        self._epmd_port = free_port()
        self._dist_port = free_port()
        self._epmd: subprocess.Popen[bytes] | None = None
        self._node: subprocess.Popen[bytes] | None = None
        self.url = f"amqp://guest:guest@127.0.0.1:{self._port}/"

    def __enter__(self) -> Self:
        if self._user is not None:
            shutil.chown(self._home, self._user, self._user)
        self._epmd = self._popen(["epmd", "-port", str(self._epmd_port)])
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        assert self._epmd is not None
        self._epmd.kill()
        self._epmd.wait()
        shutil.rmtree(self._home, ignore_errors=True)

    def start(self) -> None:
        """Start the node and wait until it speaks AMQP."""
        self._node = self._popen([str(PROGRAM)])
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._node.poll() is None, "RabbitMQ ended while it started"
            assert time.monotonic() < deadline, "RabbitMQ does not answer"
            time.sleep(0.1)

    def kill(self) -> None:
        """End the node at once; what it had confirmed is on its disk."""
        if self._node is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._node.pid, signal.SIGKILL)
            self._node.wait()
            self._node = None

    def waiting(self, queue: str) -> int:
        """Messages that nobody has taken yet."""
        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        try:
            declared = connection.channel().queue_declare(queue, passive=True)
            return int(declared.method.message_count)
        finally:
            connection.close()

    def _answers(self) -> bool:
        try:
            pika.BlockingConnection(pika.URLParameters(self.url)).close()
        except (pika.exceptions.AMQPError, OSError):
            return False
        return True

    def _popen(self, command: list[str]) -> subprocess.Popen[bytes]:
        home = str(self._home)
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"mostrador{self._port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": f"{home}/data",
            "RABBITMQ_LOG_BASE": f"{home}/log",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{home}/config",
            "RABBITMQ_CONFIG_FILE": f"{home}/none",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{home}/none.config",
            "RABBITMQ_CONF_ENV_FILE": f"{home}/none.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/plugins",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +S 1:1 -noinput",
            "RABBITMQ_ALLOW_INPUT": "1",  # the script becomes the node, so that it is our child
        }
        return subprocess.Popen(
            command,
            cwd=home,
            env=environ,
            user=self._user,
            group=self._user,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
