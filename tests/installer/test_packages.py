"""Debian packages for a target that lacks them: named by apt, held to its signed lists, made a source for apt again."""

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
*--simulate*) cat <<'END'
Inst git (1:2.39-0 Debian:12.11/stable [amd64]) []
Inst libc6 (2.36 Debian:12.11/stable, Debian-Security:12/stable [amd64])
Inst dpkg (1.21 Debian:12.11/stable [amd64])
Conf git (1:2.39-0 Debian:12.11/stable [amd64])
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
Filename: pool/x.deb
SHA256: {DIGESTS["git_1%3a2.39-0_amd64"]}

Package: libc6
Version: 2.36
Priority: optional
Filename: pool/x.deb
SHA256: {DIGESTS["libc6_2.36_amd64"]}

Package: dpkg
Version: 1.21
Priority: required
Filename: pool/x.deb
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


def test_packages_come_with_all_they_need_as_a_source_for_apt(tmp_path: Path, apt: Path) -> None:
    extras.packages(tmp_path / "debs", tmp_path / "log", quiet(), ["git"])
    debs = ["dpkg_1.21_amd64.deb", "git_1+2.39-0_amd64.deb", "libc6_2.36_amd64.deb"]
    assert sorted(file.name for file in (tmp_path / "debs").iterdir()) == sorted([*debs, "Packages", extras.STARTER])
    index = (tmp_path / "debs" / "Packages").read_text()
    assert [line for line in index.splitlines() if line.startswith("Filename")] == [
        f"Filename: ./{name}" for name in debs
    ]
    assert "install --yes --no-install-recommends git\n" in (tmp_path / "debs" / extras.STARTER).read_text()


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
