"""What the fork server is told fits into one packet, however many files are masked."""

from __future__ import annotations

import json
import socket
import zlib

from autograder.grading.pool import Zygote
from autograder.grading.sandbox import Spec


def test_the_masks_of_a_thousand_files_reach_the_fork_server() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    zygote = object.__new__(Zygote)  # without its process
    zygote._control = ours
    files = {f"/site-packages/optimizers/{i}.py": "raise RuntimeError('left out')\n" * 40 for i in range(1000)}
    zygote.configure("full", Spec(files=files), ["torch.optim.Adam"])
    theirs.settimeout(1)
    said = json.loads(zlib.decompress(theirs.recv(2**20)))
    assert said["spec"]["files"] == files
    assert said["forbidden"] == ["torch.optim.Adam"]
    ours.close()
    theirs.close()
