"""What `offered` says here, and on machines that allow less, which are made by taking things away from a fork."""

from __future__ import annotations

import errno
import os
import sys
import time
from dataclasses import astuple
from pathlib import Path

import pytest
from zygotes import in_fork, needs, refuse_here

from autograder.grading.sandbox import Offer, kernel, landlock, offered
from autograder.grading.sandbox.namespaces import ALL
from autograder.grading.sandbox.offer import _remedy

MS_BIND = 4096


def own_namespaces() -> None:
    """As in a container: a namespace of users and mounts where the tests may switch things off."""
    uid, gid = os.geteuid(), os.getegid()
    kernel.call("unshare", ALL & ~0x20000000 & ~0x40000000)
    for name, text in (("setgroups", "deny"), ("uid_map", f"1000 {uid} 1"), ("gid_map", f"1000 {gid} 1")):
        Path(f"/proc/self/{name}").write_text(text)


def mask_proc() -> None:
    """As container engines do: something is mounted over a part of /proc."""
    own_namespaces()
    kernel.call("mount", b"/dev/null", b"/proc/kallsyms", None, MS_BIND, None)


def forbid_namespaces() -> None:
    own_namespaces()
    Path("/proc/sys/user/max_user_namespaces").write_text("0")


def test_this_machine_offers_its_best(full: str) -> None:
    before = time.perf_counter()
    offer = offered()
    took = 1e3 * (time.perf_counter() - before)
    print(f"\nfound in {took:.0f} ms: {offer}")
    assert (offer.rung, offer.remedy) == ("full", "")
    assert ("full", "ok") in offer.facts
    assert took < 2000


def test_nothing_is_left_behind(full: str) -> None:
    files, mounts = sorted(os.listdir("/proc/self/fd")), Path("/proc/self/mountinfo").read_text()
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    offered()
    assert sorted(os.listdir("/proc/self/fd")) == files
    assert Path("/proc/self/mountinfo").read_text() == mounts
    assert Path(f"/proc/self/task/{os.getpid()}/children").read_text() == children


def test_a_masked_proc_is_replaced_by_a_stub(full: str) -> None:
    def task() -> object:
        mask_proc()
        return astuple(offered())

    rung, facts, remedy = in_fork(task)
    assert (rung, remedy) == ("full-stub-proc", "")
    assert "mounting proc at /proc: " in dict(facts)["full"]


def test_without_namespaces_landlock_serves(full: str, confined: str) -> None:
    def task() -> object:
        forbid_namespaces()
        return astuple(offered())

    rung, facts, remedy = in_fork(task)
    assert (rung, remedy) == ("confined", "")
    assert "entering new namespaces" in dict(facts)["full"]


def test_with_neither_it_says_what_to_change(full: str) -> None:
    def task() -> object:
        forbid_namespaces()
        refuse_here("landlock_create_ruleset", errno.ENOSYS)
        return astuple(offered())

    rung, facts, remedy = in_fork(task)
    assert rung == ""
    assert set(dict(facts)) == {"landlock", "full", "full-stub-proc", "confined"}
    assert "sudo sysctl -w user.max_user_namespaces" in remedy


def test_other_systems_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert offered() == Offer(
        "",
        (("Linux", "no, this is darwin"),),
        "confining students' code needs Linux: grade in a container, a virtual machine or WSL",
    )


def test_the_remedy_is_one_line() -> None:
    refused = {"full": "entering new namespaces: x", "full-stub-proc": "x", "confined": "landlock: version none here"}
    old = {**refused, "full": "opening what the child may see: open_tree: Function not implemented"}
    remedies = [_remedy(facts) for facts in ({"Python": "Python lies in x"}, old, refused)]
    assert remedies[0] == "Python lies in x"
    assert "5.12" in remedies[1]
    assert all(line and "\n" not in line for line in remedies)


def test_landlocks_version_is_found() -> None:
    needs("confined")
    assert landlock.version() >= landlock.SCOPES
