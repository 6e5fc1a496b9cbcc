"""A shared reproduction: whole, private, taken in once, and nothing of it that is not verified."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import shares
from shares import PROFILE, at, files

from dip_lib.data.packed import PackedDataset
from dip_lib.errors import NotMeasuredError, ShareError
from dip_lib.store import Store
from dip_lib.store.export import every_record, export
from dip_study import taken
from dip_study.cli import main
from dip_study.exports import write_exports
from dip_study.loaded import dataset_of
from dip_study.profiles import load_profile
from dip_study.sharing.files import (
    EXPORT,
    MANIFEST,
    Manifest,
    digest,
    read_manifest,
    verify,
    write_manifest,
)
from dip_study.sharing.make import Wanted, share
from dip_study.sharing.private import Known, check_private, known_here
from dip_study.sharing.take import TakenIn, take_in
from dip_study.store_care import CONFLICTS
from dip_study.study import collect, open_store, studies_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*Do not compare its results"),
    pytest.mark.filterwarnings("ignore:.*have fewer than"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine with pictures that has measured and shared; ``whole`` is what it shared."""
    folder = tmp_path_factory.mktemp("shared")
    profile = folder / "tiny.toml"
    profile.write_text(PROFILE)
    shares.pictures(folder / "data")
    with at(folder / "theirs", folder / "data"):
        shares.measure(str(profile), folder / "theirs")
        assert main(["share", str(folder / "whole"), "--profile", str(profile), "--json"]) == 0
        write_exports(load_profile(str(profile)), ["base_to_new", "few_shot"], folder / "exports")
    return folder


@pytest.fixture
def whole(place: Path, tmp_path: Path) -> Path:
    """A copy of the share, to be damaged."""
    return Path(shutil.copytree(place / "whole", tmp_path / "whole"))


def taken_in(folder: Path, home: Path) -> TakenIn:
    with at(home):
        return take_in(folder, home / "store")


def signed(folder: Path, **changes: Any) -> None:
    """Write the manifest of a folder anew, as somebody who means harm would."""
    names = sorted(name for name in files(folder) if name != MANIFEST)
    listed = {name: digest(folder / name) for name in names}
    before = read_manifest(folder)
    write_manifest(folder, replace(before, files=listed | changes.pop("files", {}), **changes))


def test_it_holds_exports_packs_profile_and_manifest_and_every_file_has_its_checksum(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, manifest = files(place / "whole"), read_manifest(place / "whole")
    assert found.keys() == {
        *("manifest.json", "tiny.toml", "packs/caltech101.glyph-resnet.safetensors"),
        *("results/tiny/base_to_new.json", "results/tiny/few_shot.json"),
    }
    assert found.keys() == {MANIFEST, *manifest.files}
    verify(place / "whole", manifest)
    for name in ("base_to_new", "few_shot"):
        assert (
            found[f"results/tiny/{name}.json"] == (place / "exports" / f"{name}.json").read_bytes()
        )
    assert {"dip-lib", "python", "torch"} <= manifest.versions.keys()
    assert manifest.machine.keys() == {"cpu", "gpu", "os", "cores"}
    assert sorted(path.name for path in place.iterdir() if path.name.startswith(".")) == []


def test_taken_into_an_empty_home_the_exports_are_equal_though_the_pictures_are_not_there(
    place: Path, tmp_path: Path
) -> None:
    home, tiny = tmp_path / "ours", place / "whole" / "tiny.toml"
    done = taken_in(place / "whole", home)
    assert done.added and not (done.same or done.conflicts or done.refused or done.ignored)
    with at(home):
        profile = load_profile(str(tiny))
        assert isinstance(dataset_of("caltech101", "default"), PackedDataset)
        write_exports(profile, studies_of(profile), tmp_path / "exports")
        assert files(tmp_path / "exports") == files(place / "exports")
        # a store without the share has no such runs: those on packs have keys of their own
        runs = open_store(profile, "fresh").records()
        asked = [run for name in profile.only for run in shares.STUDIES[name](profile)]
        assert len(Store(home / "store").missing(asked)) == len(set(asked)) == len(runs)
        # and sharing it again gives the same exports
        again = share(
            Wanted(profile=profile, given=str(tiny), studies=profile.only), tmp_path / "b"
        )
    assert {name: again.files[name] for name in again.named(EXPORT)} == {
        name: sha for name, sha in read_manifest(place / "whole").files.items() if "results" in name
    }


def test_taking_it_in_twice_changes_nothing(place: Path, tmp_path: Path) -> None:
    home = tmp_path / "ours"
    first = taken_in(place / "whole", home)
    before = files(home)
    again = taken_in(place / "whole", home)
    assert (again.added, again.same, again.packs) == (0, first.added, [])
    assert files(home) == before


def test_a_byte_changed_anywhere_is_refused_and_nothing_is_taken(
    whole: Path, tmp_path: Path
) -> None:
    for name, content in files(whole).items():
        for at_byte in (0, len(content) // 3, len(content) // 2, len(content) - 1):
            changed = bytearray(content)
            changed[at_byte] ^= 1
            (whole / name).write_bytes(changed)
            with pytest.raises(ShareError) as caught:
                taken_in(whole, tmp_path / "ours")
            assert caught.value.path == str(whole / name)
        (whole / name).write_bytes(content[:-1])
        with pytest.raises(ShareError, match=name.rpartition("/")[2]):
            taken_in(whole, tmp_path / "ours")
        (whole / name).unlink()
        with pytest.raises(ShareError, match=name.rpartition("/")[2]):
            taken_in(whole, tmp_path / "ours")
        (whole / name).write_bytes(content)
    assert not (tmp_path / "ours").exists()
    assert taken_in(whole, tmp_path / "ours").added


def test_any_byte_of_the_manifest_counts(whole: Path) -> None:
    path = whole / MANIFEST
    content = path.read_bytes()
    for i in range(0, len(content), 5):
        path.write_bytes(content[:i] + bytes([content[i] ^ 32]) + content[i + 1 :])
        with pytest.raises(ShareError):
            read_manifest(whole)


def test_a_newer_format_and_other_code_are_refused_by_name(whole: Path, tmp_path: Path) -> None:
    path = whole / "results/tiny/few_shot.json"
    records = every_record(path)
    export([each | {"code": "0" * 12} for each in records[:2]] + records[2:], path)
    signed(whole, code="dip-lib 0.0.1, code 123456789abc")
    done = taken_in(whole, tmp_path / "ours")
    assert len(done.refused) == 2 and done.added
    for named, reason in done.refused.items():
        assert named.startswith("results/tiny/few_shot.json: ") and "dip-lib 0.0.1" in reason
    signed(whole, format=99)
    with pytest.raises(ShareError, match="99"):
        taken_in(whole, tmp_path / "ours")


def test_a_notebook_or_a_pickle_is_never_opened(whole: Path, tmp_path: Path) -> None:
    for name in ("01_page.ipynb", "runs.pkl", "results/tiny/evil.py"):
        (whole / name).write_bytes(b"cos\nsystem\n(S'touch evil'\ntR.")
    done = taken_in(whole, tmp_path / "ours")
    assert done.ignored == ["01_page.ipynb", "results/tiny/evil.py", "runs.pkl"] and done.added
    assert not any(b"evil" in content for content in files(tmp_path / "ours").values())
    for name in done.ignored:  # listed by whoever made it: all of it is refused
        signed(whole)
        with pytest.raises(ShareError) as caught:
            taken_in(whole, tmp_path / "theirs")
        assert caught.value.path == name
        (whole / name).unlink()
        write_manifest(whole, replace(read_there(whole), files={}))
    assert not (tmp_path / "theirs").exists()


def read_there(folder: Path) -> Manifest:
    """A manifest as it stands, whatever it lists."""
    values = json.loads((folder / MANIFEST).read_text())
    values.pop("share")
    return Manifest(**values)


@pytest.mark.parametrize(
    "name", ["../evil.toml", "/evil.toml", "results/../../a/b.json", "a\nb.toml"]
)
def test_a_name_that_leads_elsewhere_is_refused(name: str, whole: Path, tmp_path: Path) -> None:
    signed(whole, files={name: "0" * 64})
    with pytest.raises(ShareError) as caught:
        taken_in(whole, tmp_path / "ours")
    assert caught.value.path == name


def test_a_link_is_refused_even_to_the_right_content(whole: Path, tmp_path: Path) -> None:
    for name in ("tiny.toml", "packs"):
        (whole / name).rename(tmp_path / "away")
        (whole / name).symlink_to(tmp_path / "away")
        with pytest.raises(ShareError, match="link"):
            taken_in(whole, tmp_path / "ours")
        (whole / name).unlink()
        (tmp_path / "away").rename(whole / name)


def test_markup_in_a_record_is_refused_by_name(whole: Path, tmp_path: Path) -> None:
    path = whole / "results/tiny/few_shot.json"
    first, *others = every_record(path)
    first["machine"] = first["machine"] | {"cpu": "<script>alert(1)</script>"}
    export([first, *others], path)
    signed(whole)
    done = taken_in(whole, tmp_path / "ours")
    assert [first["key"] in name for name in done.refused] == [True]
    assert not any(b"<script" in content for content in files(tmp_path / "ours").values())


def test_another_result_for_a_run_is_a_conflict_and_ones_own_stays(
    place: Path, tmp_path: Path
) -> None:
    home = tmp_path / "ours"
    taken_in(place / "whole", home)
    path = next((home / "store").glob("*.json"))
    mine = json.loads(path.read_text())
    mine["checkpoints"][-1]["new"] = 1.0
    path.write_text(json.dumps(mine))
    done = taken_in(place / "whole", home)
    assert list(done.conflicts) == [path.stem] and json.loads(path.read_text()) == mine
    assert len([*(home / "store" / CONFLICTS).glob("*.json")]) == 1
    with at(home):
        assert main(["store", "merge", str(place / "whole")]) == 1


def test_where_runs_come_from_is_kept_and_said_of_no_others(place: Path, tmp_path: Path) -> None:
    home = tmp_path / "ours"
    taken_in(place / "whole", home)
    with at(home):
        profile = load_profile(str(place / "tiny.toml"))
        (kept,) = taken.shares()
        runs = shares.STUDIES["base_to_new"](profile)
        records = collect(runs, profile)
        manifest = read_manifest(place / "whole")
        assert kept.share == manifest.share and kept.machine == manifest.machine
        assert taken.origins(records, [kept]) == {kept.told: len(records)}
        measured_here = [each | {"finished_at": "2027-01-01T00:00:00Z"} for each in records]
        assert taken.origins(measured_here, [kept]) == {}


# ---- making one ---------------------------------------------------------------------------------


def made(place: Path, out: Path, **changes: Any) -> Manifest:
    given = str(place / "tiny.toml")
    with at(place / "theirs", place / "data"):
        profile = load_profile(given)
        fields = {"profile": profile, "given": given, "studies": profile.only} | changes
        return share(Wanted(**fields), out)


def test_the_same_is_shared_as_the_same_and_replaces_only_its_like(
    place: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert made(place, out).share == read_manifest(place / "whole").share
    before = {path: path.stat().st_ino for path in out.rglob("*")}
    made(place, out)
    assert before == {path: path.stat().st_ino for path in out.rglob("*")}
    few = made(place, out, studies=["base_to_new"], packs=False)  # a share of the same profile
    assert (
        files(out).keys()
        == {MANIFEST, *few.files}
        == {*("manifest.json", "tiny.toml", "results/tiny/base_to_new.json")}
    )
    (out / "mine.txt").write_text("mine")
    with pytest.raises(ShareError, match="mine.txt"):
        made(place, out)
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    with pytest.raises(ShareError, match="other"):
        made(place, other)
    with pytest.raises(ShareError, match="tiny"):
        made(place, tmp_path / "out", profile=replace(load_profile("smoke"), name="smoke"))


def test_missing_runs_are_said_and_leave_nothing(place: Path, tmp_path: Path) -> None:
    with at(tmp_path / "empty", place / "data"), pytest.raises(NotMeasuredError):
        profile = load_profile(str(place / "tiny.toml"))
        share(Wanted(profile=profile, given="", studies=profile.only), tmp_path / "out")
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


HERE = Known(places=("/srv/people/ada", "/pictures"), names=("ada", "ada-desk"))


TELLING = [
    *("/srv/people/ada/x", "failed: no /pictures/a.jpg", "by ada", "on ada-desk", "Ada's ada."),
    *("/mnt/disk/a", "see ~/notes", "file:///x", "C:\\Users\\me", "(/opt/x)", "a=/b/c"),
]


def packed(told: str) -> bytes:
    """A pack, as far as its header is read; the class name is also a user's."""
    header = {"__metadata__": {"pack": json.dumps({"note": told, "class_names": ["ada"]})}}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"numbers, here /srv/people/ada"


WRITTEN: dict[str, Callable[[str], bytes]] = {
    "a.json": lambda told: json.dumps({"a": [told]}).encode(),
    "b.json": lambda told: json.dumps({told: 1}).encode(),
    "cut.json": lambda told: f'{{"a": "{told}'.encode(),
    "a.toml": lambda told: f"# {told}\na = 1\n".encode(),
    "a.safetensors": packed,
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_path_a_user_or_a_machine_is_found_wherever_it_is_told(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(WRITTEN[name]("nothing"))
    check_private(tmp_path, HERE)
    for told in TELLING:
        (tmp_path / name).write_bytes(WRITTEN[name](told))
        with pytest.raises(ShareError) as caught:
            check_private(tmp_path, HERE)
        assert caught.value.path == name


def test_the_name_of_a_file_may_not_tell_either(tmp_path: Path) -> None:
    (tmp_path / "of-ada.json").write_text("{}")
    with pytest.raises(ShareError, match="of-ada"):
        check_private(tmp_path, HERE)


def test_what_tells_nothing_is_shared(tmp_path: Path) -> None:
    said = ["https://example.org/a/b.zip", "and/or", "24/7", "CPU @ 2.0GHz", "canada", "adapter"]
    said += ["a photo of a {}.", "N/A", "1/200", "Linux 6.1 x86_64"]
    (tmp_path / "a.json").write_text(json.dumps([said, dict.fromkeys(said, 1)]))
    check_private(tmp_path, HERE)


def test_what_is_known_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "ada"))
    monkeypatch.setenv("LOGNAME", "lovelace")
    monkeypatch.setenv("DATA", str(tmp_path / "pictures"))
    monkeypatch.setattr("socket.gethostname", lambda: "engine.example.org")
    known = known_here()
    assert {str(tmp_path / "pictures"), str(tmp_path / "ada")} <= {*known.places}
    assert {"ada", "lovelace", "engine", "engine.example.org"} == {*known.names}
    monkeypatch.setenv("LOGNAME", "root")
    assert "root" not in known_here().names


def test_what_would_tell_a_path_is_not_shared_and_named(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "tiny.toml"
    own.write_text(f"{PROFILE}# pictures are in {place}/data\n")
    with pytest.raises(ShareError) as caught:
        made(place, tmp_path / "out", given=str(own))
    assert caught.value.path == "tiny.toml"
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_a_crash_before_the_end_leaves_the_earlier_share(
    place: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(whole)

    def crash(*_: Any) -> None:
        raise OSError("no space")

    monkeypatch.setattr("dip_study.sharing.make.write_manifest", crash)
    with pytest.raises(OSError, match="no space"):
        made(place, whole, studies=["base_to_new"])
    assert files(whole) == before
    assert not [path for path in whole.parent.iterdir() if path.name.startswith(".")]
