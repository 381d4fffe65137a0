# ruff: noqa
# Attempts to break the machine, the grader or other people's grading. See ../catalogue.py. Never run these uncontained.

# %% attack: kill_everybody
# tries: kill(-1), kill of the parent and of every process number
# solved: none
# %%
import os, signal

for number in (signal.SIGTERM, signal.SIGKILL):
    for pid in (os.getppid(), *range(2, 400), -1):
        try:
            if pid != os.getpid():
                os.kill(pid, number)
        except OSError:
            pass

# %% attack: fork_bomb
# tries: fork for ever
# solved: none
# %%
import os

while True:
    try:
        os.fork()
    except OSError:
        pass

# %% attack: take_all_memory
# tries: allocate 20 GB in one process
# solved: adam.adam adam.adamw adam.l2_is_not_decay
# %%
# exercise adam.step
blocks = []


def adam_step(w, g, m, v, t, *, lr, betas, eps):
    for _ in range(200):
        blocks.append(torch.ones(100 * 2**18))


# %% attack: shared_memory
# tries: allocate memory that belongs to no process: shared mappings, SysV segments, memfd, /dev/shm
# solved: all
# %%
import ctypes, mmap, os

libc = ctypes.CDLL(None, use_errno=True)
held = 0
for i in range(100):
    segment = libc.shmget(0, 100 * 2**20, 0o1666)
    if segment >= 0:
        held += 100
    try:
        fd = os.memfd_create("m")
        os.write(fd, b"x" * 2**20)
        held += 1
    except OSError:
        pass
    if held > 300:
        leak("memory outside all limits", held)
        break
try:
    with open("/dev/shm/full", "wb") as file:
        for _ in range(300):
            file.write(b"x" * 2**20)
    leak("300 MB in /dev/shm")
except OSError:
    pass
finally:
    if os.path.exists("/dev/shm/full"):
        os.unlink("/dev/shm/full")

# %% attack: memory_of_many
# tries: ten processes that each take what one may have
# solved: none
# %%
import os, time

for _ in range(10):
    if os.fork() == 0:
        block = bytearray(300 * 2**20)
        for i in range(0, len(block), 4096):
            block[i] = 1
        time.sleep(30)
        os._exit(0)
time.sleep(30)

# %% attack: fill_the_disk
# tries: fill every folder that can be written, and use up the inodes
# solved: all
# %%
import os

written = 0
for folder in (os.path.expanduser("~"), "/tmp", "/dev/shm", "/var/tmp", "/", "/usr", "/work", "/submission"):
    try:
        for number in range(40):
            with open(f"{folder}/fill{number}", "wb") as file:
                for _ in range(31):
                    file.write(b"x" * 2**20)
                    written += 1
    except OSError:
        pass
    try:
        for number in range(50000):
            open(f"{folder}/inode{number}", "w").close()
    except OSError:
        pass
if written > 400:
    leak("wrote", written, "MB")
import subprocess, shutil

for folder in (os.path.expanduser("~"), "/tmp", "/dev/shm"):
    for name in os.listdir(folder):
        if name.startswith(("fill", "inode")):
            os.unlink(f"{folder}/{name}")

# %% attack: gigabyte_of_output
# tries: print a gigabyte, by print, by the file descriptor and as rich output
# solved: all
# %%
import os, sys

for _ in range(200):
    sys.stdout.write("x" * 2**20)
    sys.stderr.write("y" * 2**20)
    os.write(1, b"z" * 2**20)
    os.write(2, b"z" * 2**20)
for _ in range(50):
    display({"text/html": "h" * 2**20}, raw=True)

# %% attack: segfault
# tries: crash by ctypes while being graded
# solved: adam.step adam.adamw adam.l2_is_not_decay
# %%
# exercise adam.adam
import ctypes


class Adam(torch.optim.Optimizer):
    def __init__(self, params, **options):
        ctypes.string_at(0)


# %% attack: segfault_in_a_cell
# tries: crash the process that runs the notebook
# solved: all
# %%
import ctypes

ctypes.string_at(0)

# %% attack: exit_in_step
# tries: os._exit(0) while being graded
# solved: adam.step adam.adamw adam.l2_is_not_decay
# %%
# exercise adam.adam
import os


class Adam(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3, **options):
        super().__init__(params, dict(lr=lr))

    def step(self, closure=None):
        os._exit(0)


# %% attack: system_exit
# tries: SystemExit, KeyboardInterrupt and GeneratorExit in cells and answers
# solved: adam.adam adam.adamw
# %%
raise KeyboardInterrupt
# %%
import sys

sys.exit(0)
# %%
quit()


# %%
# exercise adam.step
def adam_step(w, g, m, v, t, *, lr, betas, eps):
    raise SystemExit(0)


# %%
# exercise adam.l2_is_not_decay
def l2_and_decoupled(kind, w0, grad_fn, lr, wd, steps):
    raise KeyboardInterrupt


# %% attack: loop_in_a_cell
# tries: a cell that never ends and swallows the clock's exception
# solved: all
# %%
while True:
    try:
        while True:
            pass
    except BaseException:
        break

# %% attack: deaf_to_the_clock
# tries: ignore SIGALRM and all other signals, and never end
# solved: all
# %%
import signal, time

for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
signal.setitimer(signal.ITIMER_REAL, 0)
while True:
    try:
        time.sleep(1000)
    except BaseException:
        pass


# %% attack: loop_in_step
# tries: an infinite loop in step() that swallows every exception
# solved: adam.step adam.adamw adam.l2_is_not_decay
# %%
# exercise adam.adam
class Adam(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3, **options):
        super().__init__(params, dict(lr=lr))

    def step(self, closure=None):
        while True:
            try:
                while True:
                    pass
            except BaseException:
                pass


# %% attack: sleep_in_constructor
# tries: sleep in the constructor
# solved: adam.step adam.adam adam.l2_is_not_decay
# %%
# exercise adam.adamw
import time


class AdamW(torch.optim.Optimizer):
    def __init__(self, params, **options):
        time.sleep(10**6)

    def step(self, closure=None):
        pass


# %% attack: loops_in_hooks
# tries: infinite loops in __del__, in properties and in __getattr__ of what is returned
# solved: adam.step adam.adam adam.adamw
# %%
# exercise adam.l2_is_not_decay
class Endless(torch.Tensor):
    def __del__(self):
        while True:
            pass

    @property
    def shape(self):
        while True:
            pass

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        while True:
            pass


def l2_and_decoupled(kind, w0, grad_fn, lr, wd, steps):
    return torch.zeros(steps + 1, 6).as_subclass(Endless), torch.zeros(steps + 1, 6).as_subclass(Endless)


# %% attack: deadlock
# tries: wait for a lock that is never released, with threads that stay
# solved: adam.adam adam.adamw adam.l2_is_not_decay
# %%
# exercise adam.step
import threading

lock = threading.Lock()
lock.acquire()
threads = [threading.Thread(target=lock.acquire, daemon=True) for _ in range(5)]
[one.start() for one in threads]


def adam_step(w, g, m, v, t, *, lr, betas, eps):
    lock.acquire()


# %% attack: input_waits
# tries: input(), breakpoint() and a read of standard input
# solved: adam.adam adam.adamw adam.l2_is_not_decay
# %%
x = input("answer? ")
# %%
import sys

print(repr(sys.stdin.read()))
# %%
breakpoint()


# %%
# exercise adam.step
def adam_step(w, g, m, v, t, *, lr, betas, eps):
    input()


# %% attack: recursion
# tries: recursion without end, in Python and in C
# solved: adam.adam adam.adamw adam.l2_is_not_decay
# %%
# exercise adam.step
import sys

sys.setrecursionlimit(10**9)


def adam_step(w, g, m, v, t, *, lr, betas, eps):
    adam_step(w, g, m, v, t, lr=lr, betas=betas, eps=eps)


# %% attack: process_left_behind
# tries: daemons that outlive the notebook: double fork, new session, ignored signals
# solved: all
# %%
import os, signal, time

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        open("/tmp/left-behind-5f1e", "w").write("x")
        time.sleep(900)
    os._exit(0)

# %% attack: break_the_sandbox
# tries: mounts, namespaces, chroot, setuid, ptrace, reboot, kernel modules, bpf and io_uring by system call
# solved: all
# %%
import ctypes, os

libc = ctypes.CDLL(None, use_errno=True)
CALLS = {
    165: "mount",
    272: "unshare",
    161: "chroot",
    169: "reboot",
    175: "init_module",
    321: "bpf",
    425: "io_uring_setup",
    298: "perf_event_open",
    310: "process_vm_readv",
    101: "ptrace",
    304: "open_by_handle_at",
    438: "pidfd_getfd",
    246: "kexec_load",
    170: "sethostname",
}
for number, name in CALLS.items():
    arguments = (0x10000000,) if name == "unshare" else (0, 0, 0, 0, 0)
    if libc.syscall(number, *arguments) >= 0:
        leak("allowed", name)
for change in (lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.chroot("/tmp"), lambda: os.nice(-5)):
    try:
        change()
        if os.getuid() == 0:
            leak("became root")
    except OSError:
        pass
for path in (
    "/proc/sys/kernel/core_pattern",
    "/proc/sysrq-trigger",
    "/sys/kernel/uevent_helper",
    "/etc/passwd",
    "/usr/canary",
):
    try:
        open(path, "a").write("")
        leak("writable", path)
    except OSError:
        pass

# %% attack: change_the_python
# tries: write into the installation that grades everybody: site-packages, a .pth, sitecustomize, the staged package
# solved: all
# %%
import site, sys, os
import autograder

for folder in [*site.getsitepackages(), *sys.path, os.path.dirname(autograder.__file__)]:
    for name in ("evil.pth", "sitecustomize.py", "usercustomize.py", "torch.py"):
        try:
            if folder and not folder.startswith(os.path.expanduser("~")):
                open(os.path.join(folder, name), "w").write("import os")
                leak("wrote", folder, name)
        except OSError:
            pass
