# ruff: noqa
# Searches for what nobody may see: `leak` prints what is found, the test looks for it. See ../catalogue.py.

# %% attack: leak_control
# tries: nothing; shows that the test would see a leak
# solved: all
# %%
leak("control")

# %% attack: course_files
# tries: read the gradebook, the key, the source, the store and other submissions from every folder that can be listed
# solved: all
# %%
import os

WANTED = ("gradebook.db", "store.db", ".key", "config.toml", "nbgrader_config.py")
count = 0
for top in ("/", os.getcwd(), os.path.expanduser("~")):
    for folder, folders, files in os.walk(top):
        if folder.startswith(("/proc", "/sys", "/usr", "/lib", "/bin", "/dev")):
            folders[:] = []
            continue
        count += 1
        if count > 2000:
            break
        if folder.endswith("-packages"):  # nbgrader's own tests hold notebooks and databases
            folders[:] = []
            continue
        if "submitted" in folders or "gradebook" in " ".join(files):
            leak(folder, files)
        for name in files:
            if name in WANTED or name.endswith(".ipynb"):
                leak(folder, name)
            try:
                with open(os.path.join(folder, name), errors="replace") as file:
                    leak_if_secret(file.read(100_000))
            except OSError:
                pass

# %% attack: environment
# tries: secrets in the environment of this process and of every other that can be seen
# solved: all
# %%
import glob, os

leak_if_secret(dict(os.environ))
own = {os.getpid(), os.getppid()}
for path in glob.glob("/proc/[0-9]*/*") + glob.glob("/proc/[0-9]*/root/work") + glob.glob("/proc/[0-9]*/cwd/*"):
    if path.endswith(("/environ", "/cmdline", "/maps")):
        try:
            text = open(path, errors="replace").read()
            leak_if_secret(text)
            if "zygote" in text and "cmdline" not in path and "environ" in path:
                leak("zygote's environment")
        except OSError:
            pass
if any(v for k, v in os.environ.items() if k.startswith(("AWS", "GITHUB", "JUPYTER", "NBGRADER", "SSH"))):
    leak("environment", sorted(os.environ))

# %% attack: others_processes
# tries: list and read processes outside the sandbox
# solved: all
# %%
import glob

for path in glob.glob("/proc/[0-9]*/comm"):
    name = open(path).read()
    if not any(one in name for one in ("python", "pt_main")):
        leak("process", path, name)
if len(glob.glob("/proc/[0-9]*")) > 5:
    leak("processes", glob.glob("/proc/[0-9]*"))

# %% attack: memory_of_the_forker
# tries: /proc/1/mem, ptrace and process_vm_readv of the processes above
# solved: all
# %%
import ctypes, os, struct

libc = ctypes.CDLL(None, use_errno=True)
for pid in {1, os.getppid()} - {os.getpid(), 0}:
    for name in ("mem", "environ", "maps"):
        try:
            open(f"/proc/{pid}/{name}", "rb").read(10)
            if pid != 1:
                leak("memory", pid, name)
        except OSError:
            pass
    if libc.ptrace(16, pid, 0, 0) == 0:
        leak("ptrace", pid)

# %% attack: own_memory
# tries: search this process's own memory, which was copied from the process that forks, for the key and canaries
# solved: all
# %%
import re

pattern = re.compile(rb"CANARY[-]5f1e-[a-z]+")  # which does not match itself
done = 0
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
    for line in maps:
        where, rights, *_, name = (line + " -").split(maxsplit=5)
        start, end = (int(x, 16) for x in where.split("-"))
        if rights[0] != "r" or ".so" in name or end - start > 200 * 2**20 or done > 400 * 2**20:
            continue
        try:
            memory.seek(start)
            data = memory.read(end - start)
        except (OSError, ValueError, OverflowError):
            continue
        done += len(data)
        found = pattern.search(data)
        if found:
            leak("memory", found.group().decode())
print("searched", done > 10**6)

# %% attack: hidden_inputs_kept
# tries: keep the cases of earlier exercises in files, shared memory and the parent, and print them in a last cell
# solved: all
# %%
import os
import autograder.grading.runner as runner

real = runner.gather


def gather(case, objects):
    with open(os.path.expanduser("~/kept"), "a") as file:
        file.write("KEPT" + repr(case.inputs)[:200] + "\n")
    return real(case, objects)


runner.gather = gather
# %% end
try:
    lines = open(os.path.expanduser("~/kept")).read().splitlines()
    print("kept", len(lines), any("hidden" in line for line in lines))
except OSError:
    pass

# %% attack: case_names
# tries: find out which cases are hidden ones, what they are called and how large their tolerance is
# solved: all
# %%
import autograder.grading.runner as runner

real_gather = runner.gather


def gather(case, objects):
    if case.hidden or case.name or case.tolerance != type(case)("", "", "", {}).tolerance:
        open("/tmp/named", "a").write("named")
    return real_gather(case, objects)


runner.gather = gather
# %% end
import os

leak("cases tell what they are" if os.path.exists("/tmp/named") else "")

# %% attack: symlinks_out
# tries: symbolic links and hard links in the work folder that lead to the course
# solved: all
# %%
import os

for number, target in enumerate(("/", "/proc/1/root", "/proc/1/cwd", "../../..", "/proc/self/fd")):
    try:
        os.symlink(target, f"link{number}")
        names = os.listdir(f"link{number}")
        if "gradebook.db" in names or "submitted" in names or "course" in names:
            leak(target, names)
    except OSError:
        pass

# %% attack: open_files
# tries: use files and sockets that were left open: all descriptors except the runner's own
# solved: all
# %%
import os

for fd in os.listdir("/proc/self/fd"):
    try:
        target = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        continue
    if not target.startswith(("socket:", "/dev/", "pipe:", "/proc/", "anon_inode:")):
        leak("open file", fd, target)
if (
    sum(
        os.path.exists(f"/proc/self/fd/{fd}") and os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
        for fd in range(3, 256)
    )
    > 1
):
    leak("more than one socket")


# %% attack: course_around_the_notebook
# tries: go up from the work folder to the gradebook, the source and other submissions, as nbgrader's folders lie
# solved: adam.step
# %%
import glob, os, sqlite3

folder = os.getcwd()
for _ in range(6):
    for path in glob.glob(f"{folder}/secret.txt") + glob.glob(f"{folder}/submitted/*/*/*.ipynb"):
        leak_if_secret(open(path).read())
    for path in glob.glob(f"{folder}/gradebook.db"):
        rows = sqlite3.connect(f"file:{path}?mode=ro", uri=True).execute("select source from source_cell").fetchall()
        leak(*[row for row in rows if "hidden" in str(row)])
    leak(*glob.glob(f"{folder}/source/*/*.ipynb"))
    folder = os.path.dirname(folder)

# %% attack: tests_in_the_work_folder
# tries: read the tests out of the notebook that is being graded, where it lies in the work folder
# solved: adam.step
# %%
import glob

for path in glob.glob("*.ipynb"):
    text = open(path).read()
    if "cases=" in text:
        leak("hidden tests", text[text.find("cases=") - 60 :][:120])

# %% attack: own_environment
# tries: print the environment that was inherited
# solved: adam.step
# %%
import os

leak_if_secret(dict(os.environ))
