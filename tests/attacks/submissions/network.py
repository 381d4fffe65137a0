# ruff: noqa
# Ways out. PORT and SOCKET_FILE are listened on by the test. See ../catalogue.py.

# %% attack: connections
# tries: connect to the host's ports by TCP and UDP, IPv4 and IPv6, and to sockets by name
# solved: all
# %%
import socket

for family, address in (
    (socket.AF_INET, ("127.0.0.1", 45871)),
    (socket.AF_INET6, ("::1", 45871)),
    (socket.AF_INET, ("8.8.8.8", 53)),
    (socket.AF_INET, ("169.254.169.254", 80)),
):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        try:
            with socket.socket(family, kind) as one:
                one.settimeout(0.3)
                one.connect(address)
                one.send(b"hello from a submission")
                if kind == socket.SOCK_STREAM:
                    leak("connected", address)
        except OSError:
            pass
for name in (
    "\0canary-5f1e",
    "/run/docker.sock",
    "/var/run/docker.sock",
    "/tmp/canary-5f1e.sock",
    "/run/dbus/system_bus_socket",
):
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(name)
            leak("connected", name)
    except OSError:
        pass

# %% attack: downloads
# tries: urllib, pip and name look-ups
# solved: all
# %%
import socket, urllib.request

try:
    leak("name", socket.getaddrinfo("example.org", 443))
except OSError:
    pass
try:
    leak("page", urllib.request.urlopen("http://127.0.0.1:45871/", timeout=1).read(10))
except Exception:
    pass
