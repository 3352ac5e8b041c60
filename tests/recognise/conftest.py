"""What tests of `mien predict` share."""

from __future__ import annotations

import pytest

from mien import cli


@pytest.fixture
def mien(capsys):
    """Runs `mien predict` with arguments: its status, standard output and standard error."""

    def run(*arguments):
        status = cli.run(["predict", *(str(argument) for argument in arguments)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run
