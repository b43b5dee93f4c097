"""The processes of a benchmark: contestants that work when they are told to, and programs that run to their end."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent


class Contestant:
    """A process that works when it is told to, and answers in lines of JSON.

    Args:
        label: its name, for messages.
        script: a file in this folder, which gets ``work`` as JSON.
        folder: its working directory; ``log.txt`` there receives what it prints.
        environment: all its environment variables.
        python: its interpreter.
    """

    def __init__(
        self,
        label: str,
        script: str,
        work: dict[str, Any],
        folder: Path,
        environment: dict[str, str],
        python: str = sys.executable,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.label, self._log = label, folder / "log.txt"
        command, pipe = [python, str(_HERE / script), json.dumps(work)], subprocess.PIPE
        with self._log.open("a") as log:
            self.process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=log, text=True, env=environment, cwd=folder
            )

    def read(self) -> dict[str, Any] | None:
        """Return its next answer, None if it has ended."""
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def log(self) -> list[str]:
        """Return the lines that it has printed, without empty ones."""
        return [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]

    def answer(self) -> dict[str, Any]:
        """Return its next answer.

        Raises:
            SystemExit: it has ended; the message contains the end of its log.
        """
        content = self.read()
        if content is None:
            log = "\n".join(self.log()[-15:])
            raise SystemExit(f"{self.label} ended with code {self.process.wait()}:\n{log}")
        return content

    def tell(self, word: str = "go") -> None:
        """Let it go on; a process that has ended is noticed when its answer is read."""
        with contextlib.suppress(BrokenPipeError, ValueError):
            self.process.stdin.write(word + "\n")
            self.process.stdin.flush()

    def go(self, word: str = "go") -> dict[str, Any]:
        """Let it go on, and return its answer."""
        self.tell(word)
        return self.answer()

    def end(self) -> None:
        """Kill it, whatever it is doing."""
        self.process.kill()
        self.process.communicate()


class Script:
    """The script that has started this process: receives its answers, and says when it may go on."""

    def __init__(self) -> None:
        # What libraries print goes to the log: standard output is for the answers alone.
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def answer(self, **content: Any) -> None:
        """Send a line of JSON."""
        self._answers.write(json.dumps(content) + "\n")
        self._answers.flush()

    def wait(self) -> str:
        """Wait until this process may go on; return the word that it was told."""
        word = sys.stdin.readline()
        if not word:
            raise SystemExit("The script that started this process is gone.")
        return word.strip()


class Failed(SystemExit):
    """A program failed: the message is the end of what it said, which this script ends with unless it catches it."""


def run_python(*arguments: object, environment: dict[str, str] | None = None) -> str:
    """Run a program to its end, such as ``"-m", "kgenre", "fit"``; return what it printed.

    Raises:
        Failed: it did not end with code 0.
    """
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise Failed((done.stderr.strip() or done.stdout.strip())[-3000:] or f"ended with code {done.returncode}")
    return done.stdout


def result_of(*arguments: object, environment: dict[str, str] | None = None) -> Any:
    """Run a program that prints its result as JSON in its last line; return the result. Raises as `run_python`."""
    return json.loads(run_python(*arguments, environment=environment).splitlines()[-1])
