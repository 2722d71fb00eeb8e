"""Debian packages for a target that lacks them: named by apt, held to its signed lists, none that every system has."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from installer.bundle import extras
from installer.errors import InstallError
from tests.installer.world import quiet

DIGESTS = {
    name: hashlib.sha256(name.encode()).hexdigest()
    for name in ("git_1%3a2.39-0_amd64", "libc6_2.36_amd64", "dpkg_1.21_amd64")
}
GET = """#!/bin/sh
case "$*" in
*--print-uris*) cat <<'END'
'http://mirror/pool/git_2.39-0_amd64.deb' git_1%3a2.39-0_amd64.deb 7 MD5Sum:0
'http://mirror/pool/libc6_2.36_amd64.deb' libc6_2.36_amd64.deb 7 MD5Sum:0
'http://mirror/pool/dpkg_1.21_amd64.deb' dpkg_1.21_amd64.deb 7 MD5Sum:0
END
;;
download*) shift; for one in "$@"; do
    name=$(echo "$one" | sed 's/=/_/; s/:/%3a/')_amd64; printf %s "${SPOILT:-$name}" > "$name.deb"; done ;;
esac
"""
CACHE = f"""#!/bin/sh
cat <<'END'
Package: git
Version: 1:2.39-0
Priority: optional
SHA256: {DIGESTS["git_1%3a2.39-0_amd64"]}

Package: libc6
Version: 2.36
Priority: optional
SHA256: {DIGESTS["libc6_2.36_amd64"]}

Package: dpkg
Version: 1.21
Priority: required
SHA256: {DIGESTS["dpkg_1.21_amd64"]}
END
"""


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An apt that speaks as Debian 12's does; no mirror is asked."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, script in (("apt-get", GET), ("apt-cache", CACHE)):
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def test_packages_come_with_what_they_need_but_not_with_what_every_system_has(tmp_path: Path, apt: Path) -> None:
    extras.packages(tmp_path / "debs", tmp_path / "log", quiet(), ["git"])
    assert sorted(file.name for file in (tmp_path / "debs").iterdir()) == [
        "git_1+2.39-0_amd64.deb",
        "libc6_2.36_amd64.deb",
    ]


def test_a_package_that_is_not_what_apt_s_lists_name_is_refused(
    tmp_path: Path, apt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPOILT", "other")
    with pytest.raises(InstallError, match="not what apt's lists name"):
        extras.packages(tmp_path / "debs", tmp_path / "log", quiet(), ["git"])


def test_without_package_lists_a_person_is_told_what_to_do(tmp_path: Path, apt: Path) -> None:
    (apt / "apt-get").write_text("#!/bin/sh\necho 'E: Unable to locate package git' >&2\nexit 100\n")
    with pytest.raises(InstallError, match="Unable to locate") as caught:
        extras.packages(tmp_path / "debs", tmp_path / "log", quiet(), ["git"])
    assert "apt-get update" in caught.value.hint
