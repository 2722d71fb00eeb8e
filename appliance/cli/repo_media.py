"""`appliance repo import`, `repo export` and `repo signer`: repositories that travel on media."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import click

from appliance.cli.context import Box, pass_box
from appliance.config import Home
from appliance.errors import Conflict, FactoryError, NotFound, Unavailable, UsageError, VerificationFailed
from appliance.ledger import open_ledger
from appliance.mirror import bundles, patches, receipts
from appliance.mirror.address import Address
from appliance.mirror.depot import Depot, Taken, depot_of
from appliance.mirror.git import Git
from appliance.mirror.mirror import Mirror
from appliance.mirror.receipts import Receipt
from appliance.work import TrackedRepository, WorkItem

LARGEST_SERIES = 64 * 1024 * 1024
"""Bytes of patches; more travels better as a bundle."""

FILE = click.Path(dir_okay=False, path_type=Path)
THERE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("export")
@click.argument("name")
@click.argument("file", type=FILE)
@click.option("--since", type=THERE, help="Receipt of what the other side has; only what is new since is carried.")
@click.option("--item", help="The change of an item, as patches for `git am`.")
@click.option("--range", "range_", metavar="OLD..NEW", help="The commits between two commits, as patches for `git am`.")
@pass_box
def export(box: Box, name: str, file: Path, since: Path | None, item: str | None, range_: str | None) -> None:
    """Write the repository NAME to FILE for a medium: a git bundle, or patches; with a signed receipt beside it."""
    box.require_home()
    if file.exists():
        raise Conflict(f"{file} is there already", "choose another name, or remove it")
    if not file.parent.is_dir():
        raise NotFound(f"there is no folder {file.parent}", "is the medium mounted?")
    if sum(map(bool, (since, item, range_))) > 1:
        raise UsageError("--since, --item and --range exclude one another", "give one of them")
    tracked = open_ledger(box.home).repository(name)
    mirror = Mirror.of(box.home, tracked, box.settings.mirror)
    git, bare = _git(box, tracked), _bare(box, tracked)
    kind: Literal["bundle", "patches"] = "patches" if item or range_ else "bundle"
    with _medium(file):
        if kind == "patches":
            made = _of_item(box, mirror, git, bare, item) if item else _of_range(git, bare, range_ or "")
            file.write_bytes(made)
            refs, needs = {}, tuple(filter(None, [patches.base_of(made)]))
        else:
            refs = bundles.refs_of(git, bare)
            header = bundles.make(git, bare, file, receipts.read(since).commits if since else ())
            refs, needs = {**refs, **header.heads}, header.needs  # some may have moved meanwhile
        receipt = _written(box.home, file, Receipt(
            kind=kind, repository=name, file=file.name, size=file.stat().st_size, sha256=receipts.digest(file),
            head=mirror.branch, refs=refs, needs=needs,
        ))  # fmt: skip
    box.emit(
        {**receipt.model_dump(mode="json", exclude={"refs"}), "fingerprint": receipt.fingerprint},
        f"{file} ({receipt.size:,} bytes) and its receipt {_beside(file).name} are signed by {receipt.fingerprint}",
    )


@click.command("import")
@click.argument("file", type=THERE)
@click.option("--name", help="The repository; left out: as the receipt says.")
@click.option("--receipt", "receipt_file", type=FILE, help="Its receipt; left out: FILE.receipt.")
@click.option("--signer", default="", metavar="SHA256:…", help="Fingerprint of whoever signed it; then it is pinned.")
@click.option("--unsigned", is_flag=True, help="Take it without a receipt: nobody vouches for it.")
@click.option(
    "--force", is_flag=True, help="Move branches and tags that have what the medium lacks; they are kept aside."
)
@click.option("--branch", default="", help="Patches: the branch they become; left out: patches/… by their content.")
@click.option("--onto", default="", metavar="COMMIT", help="Patches: where they fit; left out: as they say themselves.")
@pass_box
def import_(
    box: Box, file: Path, name: str | None, receipt_file: Path | None, signer: str, unsigned: bool, force: bool,
    branch: str, onto: str,
) -> None:  # fmt: skip
    """Take FILE from a medium: a git bundle of a repository, which is made when it is new, or patches for one."""
    box.require_home()
    receipt = None if unsigned else receipts.read(receipt_file or _beside(file))
    name = name or (receipt.repository if receipt else "")
    if not name:
        raise UsageError("nobody says which repository this is", "give --name")
    if receipt:
        receipts.check(receipt, file)
        receipts.trust(box.home.secrets, name, receipt, signer)
    ledger = open_ledger(box.home)
    known = next((one for one in ledger.repositories() if one.name == name), None)
    if bundles.is_bundle(file):
        taken = _bundle(box, known, name, file, receipt, force)
    elif patches.is_series(file):
        taken = _patches(box, known or ledger.repository(name), file, branch, onto)
    else:
        raise VerificationFailed(f"{file.name} is neither a git bundle nor patches", "make it with `repo export`")
    if receipt and signer:
        receipts.pin(box.home.secrets, name, receipt)
    kept = _taken(box, name, file, taken)
    moved = {ref: {"from": old, "to": new} for ref, (old, new) in taken.moved.items()}
    lines = [f"{ref}: {old[:12] or 'new'} → {new[:12]}" for ref, (old, new) in taken.moved.items()]
    box.emit(
        {"name": name, "new": known is None, "moved": moved, "receipt": str(kept)},
        "\n".join([*(lines or ["nothing is new"]), f"the receipt to carry back is {kept}"]),
    )


@click.command()
@pass_box
def signer(box: Box) -> None:
    """The fingerprint of this box's key for receipts, for whoever imports them."""
    box.require_home()
    shown = receipts.fingerprint(receipts.own_key(box.home.secrets).public_key().public_bytes_raw())
    box.emit({"fingerprint": shown}, shown)


def forget(box: Box, tracked: TrackedRepository) -> None:
    """Delete what came on media of a repository that is looked after no longer."""
    receipts.forget(box.home.secrets, tracked.name)
    depot = Depot(box.home, tracked.name, box.settings.mirror)
    if depot.url == tracked.url:
        depot.remove()


def _bundle(
    box: Box, known: TrackedRepository | None, name: str, file: Path, receipt: Receipt | None, force: bool
) -> Taken:
    settings = box.settings.mirror
    told, head = (receipt.refs, receipt.head) if receipt else ({}, "")
    if known:
        taken = depot_of(box.home, name, known.url, settings).take(file, told, head, force)
        Mirror.of(box.home, known, settings).sync()
        return taken
    depot = Depot(box.home, name, settings)
    mirror = Mirror(box.home, name, depot.url, "", settings)
    taken = depot.take(file, told, head, force)
    try:
        mirror.create()
        open_ledger(box.home).add_repository(TrackedRepository(name=name, url=depot.url, branch=mirror.branch))
    except FactoryError:
        mirror.remove()
        depot.remove()
        raise
    return taken


def _patches(box: Box, tracked: TrackedRepository, file: Path, branch: str, onto: str) -> Taken:
    """A branch of the repository's server, with the patches as its commits."""
    if file.stat().st_size > LARGEST_SERIES:
        raise UsageError(f"{file.name} is too large for patches", "carry a bundle instead")
    made = file.read_bytes()
    mirror = Mirror.of(box.home, tracked, box.settings.mirror)
    head = mirror.sync()
    base = onto or patches.base_of(made) or head
    if not bundles.existing(_git(box, tracked), box.home.mirrors / f"{tracked.name}.git", [base]):
        raise VerificationFailed(
            f"the patches fit on {base[:12]}, which is not here", "import what comes before it first"
        )
    name = branch or f"patches/{receipts.digest(file)[:12]}"
    workspace = mirror.workspace(base)
    try:
        commit = workspace.take(made)
        workspace.push(commit, name)
    finally:
        workspace.close()
    mirror.sync()
    return Taken({f"refs/heads/{name}": ("", commit)}, {f"refs/heads/{name}": commit})


def _of_range(git: Git, bare: Path, range_: str) -> bytes:
    old, dots, new = range_.partition("..")
    if not (old and dots and new):
        raise UsageError(f"{range_!r} is no range", "give OLD..NEW, as commits or branches")
    ends = []
    for end in (old, new):
        try:
            words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{end}^{{commit}}")
            ends.append(git(bare, *words, env={"GIT_DIR": str(bare)}).splitlines()[-1])
        except FactoryError as error:
            raise NotFound(f"there is no commit {end!r} here", "give commits or branches of the mirror") from error
    return patches.series(git, bare, *ends)


def _of_item(box: Box, mirror: Mirror, git: Git, bare: Path, id_: str) -> bytes:
    """The change of an item: its commit where there is one, else the commit that it would be."""
    item: WorkItem = open_ledger(box.home).item(id_)
    if item.repo != mirror.name:
        raise NotFound(f"{id_} is an item of {item.repo}", f"`appliance repo export {item.repo} FILE --item {id_}`")
    change = item.change
    if change is None or not change.diff:
        raise NotFound(f"{id_} has no change yet", f"`appliance item show {id_}` tells how far it is")
    if change.commit and bundles.existing(git, bare, [change.commit, change.base]) == {change.commit, change.base}:
        return patches.series(git, bare, change.base, change.commit)
    workspace = mirror.workspace(change.base)
    try:
        workspace.apply(change.diff)
        told = [("Factory-Item", item.id)]
        commit = workspace.commit(change.message or item.title, told, change.at, change.author)
        return patches.series(git, workspace.tree / ".git", change.base, commit)
    finally:
        workspace.close()


@contextmanager
def _medium(file: Path) -> Iterator[None]:
    """Writing to a medium, which may be full, write-protected or gone: then nothing is left of the file."""
    try:
        yield
    except BaseException as error:
        with suppress(OSError):
            file.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise Unavailable(
                f"{file} cannot be written: {error.strerror}", "is the medium there, and free?"
            ) from error
        raise


def _git(box: Box, tracked: TrackedRepository) -> Git:
    return Git(box.home.secrets, tracked.name, box.settings.mirror.clone_seconds, Address(tracked.url))


def _bare(box: Box, tracked: TrackedRepository) -> Path:
    """Where everything of the repository lies: its depot, else its mirror as of the last fetch."""
    depot = Depot(box.home, tracked.name, box.settings.mirror)
    return depot.folder if depot.url == tracked.url else box.home.mirrors / f"{tracked.name}.git"


def _taken(box: Box, name: str, file: Path, taken: Taken) -> Path:
    """Keep the signed answer to a medium; where it lies."""
    sha256 = receipts.digest(file)
    answer = Receipt(
        kind="taken", repository=name, file=file.name, size=file.stat().st_size, sha256=sha256, head=taken.head,
        refs=taken.refs, needs=taken.brought,
    )  # fmt: skip
    place = box.home.media / "taken" / f"{name}-{sha256[:12]}"
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _written(box.home, place, answer)
    return _beside(place)


def _written(home: Home, file: Path, receipt: Receipt) -> Receipt:
    signed = receipts.signed(receipt, home.secrets)
    _beside(file).write_text(signed.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return signed


def _beside(file: Path) -> Path:
    return file.with_name(f"{file.name}.receipt")
