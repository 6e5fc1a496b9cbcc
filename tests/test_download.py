"""Downloads go on where they were cut, and only what is whole and right gets into place."""

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from broken_server import Site, serving
from photo_archives import closed
from test_archives import tarred, tree, zipped

from dip_lib.errors import DamagedFileError, InsecureAddressError, MissingDownloadError
from dip_lib.fetch.download import LEDGER, File, Photos, get, sources, status
from dip_lib.fetch.resume import fetch

BIG = random.Random(0).randbytes(1_000_000)
SHA = hashlib.sha256(BIG).hexdigest()
SPLIT = b'{"train": [], "val": [], "test": []}'


def pull(site: Site, target: Path, name: str = "big", **options: Any) -> None:
    fetch(f"{site.url}/{name}", target, **({"timeout": 2.0, "pause": 0.001} | options))


def starts(site: Site) -> list[int]:
    return [start for _, start in site.asked]


def photos(*files: File) -> Photos:
    return Photos("toy", "toys", files, "Ask the toy maker and put it into {folder}.")


def test_a_file_arrives_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    with serving(big=BIG) as site:
        pull(site, tmp_path / "big")
    assert tree(tmp_path) == {"big": BIG} and starts(site) == [0]


def test_a_cut_download_goes_on_where_it_was_cut(tmp_path: Path) -> None:
    with serving(big=BIG) as site:
        site.cuts = [100_000, 200_000, 0, 300_000]
        pull(site, tmp_path / "big")
    assert tree(tmp_path) == {"big": BIG}
    assert starts(site) == [0, 100_000, 300_000, 300_000, 600_000]


def test_more_cuts_than_tries_do_not_matter_as_long_as_it_goes_on(tmp_path: Path) -> None:
    with serving(big=BIG) as site:
        site.cuts = [50_000] * 15
        pull(site, tmp_path / "big")
    assert tree(tmp_path) == {"big": BIG}


def test_without_progress_it_gives_up_and_the_next_call_goes_on(tmp_path: Path) -> None:
    with serving(big=BIG) as site:
        site.cuts = [100_000, *[0] * 9]
        with pytest.raises(ConnectionError, match="100kB"):
            pull(site, tmp_path / "big")
        assert len(site.asked) == 5
        site.cuts, site.asked = [], []
        pull(site, tmp_path / "big")
    assert tree(tmp_path) == {"big": BIG} and starts(site) == [100_000]


def test_a_server_without_ranges_is_asked_for_all_of_it(tmp_path: Path) -> None:
    with serving(big=BIG) as site:
        site.ranges, site.cuts = False, [600_000, 10_000]
        pull(site, tmp_path / "big")
    assert tree(tmp_path) == {"big": BIG} and starts(site) == [0, 600_000, 10_000]


@pytest.mark.parametrize("newer", [BIG[::-1], BIG[::-1][:1000], BIG + b"more"])
@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_that_has_changed_meanwhile_is_fetched_from_its_start(
    tmp_path: Path, newer: bytes, ranges: bool
) -> None:
    with serving(big=BIG) as site:
        site.cuts = [600_000, *[0] * 4]
        with pytest.raises(ConnectionError):
            pull(site, tmp_path / "big")
        site.cuts, site.ranges, site.files["/big"] = [], ranges, newer
        pull(site, tmp_path / "big")
    assert tree(tmp_path) == {"big": newer}


def test_silence_counts_as_a_cut(tmp_path: Path) -> None:
    with serving(big=BIG) as site:
        site.cuts, site.silence = [100_000], 3
        pull(site, tmp_path / "big", timeout=0.5)
    assert tree(tmp_path) == {"big": BIG}
    first, second = starts(site)
    assert first == 0 < second <= 100_000


def test_a_busy_server_is_asked_again_and_an_absent_file_is_not(tmp_path: Path) -> None:
    with serving(big=BIG) as site:
        site.answers = [503, 500, 429, 408]
        pull(site, tmp_path / "big")
        site.asked = []
        with pytest.raises(ConnectionError, match="404"):
            pull(site, tmp_path / "small", "small")
    assert len(site.asked) == 1 and tree(tmp_path) == {"big": BIG}


def test_a_server_that_never_likes_ranges_is_given_up(tmp_path: Path) -> None:
    with serving(big=BIG) as site:
        site.answers = [416] * 20
        with pytest.raises(ConnectionError, match="416"):
            pull(site, tmp_path / "big")


def test_no_server_at_all_is_an_error_that_names_the_address(tmp_path: Path) -> None:
    with serving() as site:
        pass
    with pytest.raises(ConnectionError, match=f"{site.url}/big"):
        pull(site, tmp_path / "big")


def test_redirects_are_followed_to_the_web_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    with serving(big=BIG) as site:
        site.moved = {"/a": f"{site.url}/b", "/b": "/big", "/round": "/round"}
        site.moved["/disk"] = f"file://{tmp_path}/secret"
        pull(site, tmp_path / "copy", "a")
        for name in ("disk", "round"):
            with pytest.raises(ConnectionError, match="redirect|Redirection"):
                pull(site, tmp_path / "no", name)
    assert tree(tmp_path) == {"copy": BIG, "secret": b"secret"}


def test_plain_http_is_for_files_of_a_known_checksum(tmp_path: Path) -> None:
    elsewhere = "http://mirror.example.org/big"  # of a name that no server has
    for url in (elsewhere, "ftp://example.org/big", "http://192.0.2.1/big", "http://localhost.x/a"):
        with pytest.raises(InsecureAddressError, match=url):
            fetch(url, tmp_path / "big")
    with serving(big=BIG) as site:
        site.moved = {"/away": elsewhere}
        with pytest.raises(InsecureAddressError, match=elsewhere):
            pull(site, tmp_path / "big", "away")
        pull(site, tmp_path / "big")  # this machine itself
    for sha, refused in (("", True), (SHA, False)):
        file = File(name="big", url=elsewhere, sha256=sha)
        with pytest.raises(InsecureAddressError if refused else OSError, match="example"):
            get(photos(file), tmp_path, wait=(1, 0))
    assert tree(tmp_path)["big"] == BIG


def test_published_addresses_are_https_or_have_a_checksum() -> None:
    for each in sources().values():
        for file in each.files:
            assert file.url.startswith("https://") or not file.url or len(file.sha256) == 64


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_web_page_is_not_taken_for_the_file(tmp_path: Path, kind: str) -> None:
    page = b"\n<!DOCTYPE html><html><head><title>\nQuota exceeded</title>"
    with serving(big=BIG) as site:
        site.cuts = [600_000, *[0] * 4]
        with pytest.raises(ConnectionError):
            pull(site, tmp_path / "big")
        arrived = tree(tmp_path)
        site.files["/big"], site.kind, site.ranges = page, kind, False
        with pytest.raises(OSError, match="Quota exceeded"):
            pull(site, tmp_path / "big")
    assert tree(tmp_path) == arrived  # a bad day of the server costs nothing


def test_a_file_of_another_size_is_not_fetched_at_all(tmp_path: Path) -> None:
    with serving(big=BIG) as site, pytest.raises(OSError, match="999"):
        pull(site, tmp_path / "big", size=999)
    assert tree(tmp_path) == {}


def test_a_server_that_does_not_tell_the_size_is_no_obstacle(tmp_path: Path) -> None:
    with serving(big=BIG) as site:
        site.measured = False
        pull(site, tmp_path / "big")
    assert tree(tmp_path) == {"big": BIG}


def test_what_does_not_fit_the_disk_is_not_begun(tmp_path: Path) -> None:
    with serving(big=BIG) as site:
        site.measured = False
        with pytest.raises(OSError, match="1.00EB"):
            pull(site, tmp_path / "big", size=10**18)
    assert tree(tmp_path) == {}


GET = """
import resource, sys
from pathlib import Path
from dip_lib.fetch.download import File, Photos, get
limit = int(sys.argv[3])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
photos = Photos("toy", "toys", (File(name="big", url="x", size=1_000_000, sha256=sys.argv[4]),))
get(photos, Path(sys.argv[1]), sys.argv[2])
"""


def process(data: Path, site: Site, limit: int = 0) -> "subprocess.Popen[str]":
    arguments = [sys.executable, "-c", GET, str(data), site.url, str(limit), SHA]
    return subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)


def test_killed_in_the_middle_the_next_process_goes_on(tmp_path: Path) -> None:
    part = tmp_path / "toys" / ".dip" / "big.part"
    with serving(**{"toys/big": BIG}) as site:
        site.pace = 0.1
        running = process(tmp_path, site)
        while not (part.exists() and part.stat().st_size > 200_000):
            assert running.poll() is None
            time.sleep(0.01)
        toy = photos(File(name="big", url="x", size=1_000_000, sha256=SHA))
        with pytest.raises(OSError, match="toys"):
            get(toy, tmp_path, site.url)
        running.send_signal(signal.SIGKILL)
        running.communicate()
        arrived = part.stat().st_size
        assert status(toy, tmp_path)["begun"] == arrived < 1_000_000
        site.pace, site.asked = 0, []
        get(toy, tmp_path, site.url)
    assert starts(site) == [arrived]
    assert tree(tmp_path / "toys") == {"big": BIG}


def test_a_full_disk_is_told_with_numbers_and_what_has_arrived_is_kept(tmp_path: Path) -> None:
    with serving(**{"toys/big": BIG}) as site:
        said = process(tmp_path, site, 300_000).communicate()[1].splitlines()[-1]
        assert "File too large" in said and "of disk are free in" in said and "run this" in said
        site.asked = []
        get(photos(File(name="big", url="x", sha256=SHA)), tmp_path, site.url)
    assert starts(site) == [300_000]
    assert tree(tmp_path / "toys") == {"big": BIG}


def test_a_wrong_file_is_set_aside_and_named(tmp_path: Path) -> None:
    toy = photos(File(name="big", url="x", sha256=SHA))
    wrong = BIG[:-1] + b"!"
    with serving(**{"toys/big": wrong}) as site:
        with pytest.raises(DamagedFileError, match=SHA):
            get(toy, tmp_path, site.url)
        assert (tmp_path / "toys" / "big.bad").read_bytes() == wrong
        assert len(status(toy, tmp_path)["missing"]) == 1
        site.files["/toys/big"] = BIG
        get(toy, tmp_path, site.url)
    assert tree(tmp_path / "toys") == {"big": BIG, "big.bad": wrong}


def test_an_undeclared_checksum_is_that_of_the_first_time(tmp_path: Path) -> None:
    toy = photos(File(name="split.json", url="x"))
    with serving(**{"toys/split.json": SPLIT}) as site:
        get(toy, tmp_path, site.url)
        sha = hashlib.sha256(SPLIT).hexdigest()
        assert json.loads((tmp_path / LEDGER).read_text()) == {"toys/split.json": sha}
        (tmp_path / "toys" / "split.json").unlink()
        site.files["/toys/split.json"] = SPLIT + b"\n"
        with pytest.raises(DamagedFileError, match=sha):
            get(toy, tmp_path, site.url)


def test_a_damaged_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / LEDGER).write_text("{")
    with (
        serving(**{"toys/split.json": SPLIT}) as site,
        pytest.raises(DamagedFileError, match=LEDGER),
    ):
        get(photos(File(name="split.json", url="x")), tmp_path, site.url)


def test_an_archive_with_something_else_in_it_is_an_error(tmp_path: Path) -> None:
    other = tarred(tmp_path / "x.tgz", {"other/1.jpg": b"one"}).read_bytes()
    toy = photos(File(name="x.tgz", url="x", gives=["images"]))
    with serving(**{"toys/x.tgz": other}) as site, pytest.raises(DamagedFileError, match="images"):
        get(toy, tmp_path, site.url)
    assert (tmp_path / "toys" / "x.tgz.bad").exists()


def test_an_empty_answer_is_not_taken_for_the_file(tmp_path: Path) -> None:
    toy = photos(File(name="split.json", url="x"))
    with serving(**{"toys/split.json": b""}) as site:
        with pytest.raises(DamagedFileError, match="split.json"):
            get(toy, tmp_path, site.url)
        site.files["/toys/split.json"] = SPLIT
        get(toy, tmp_path, site.url)


def test_a_damaged_archive_is_fetched_anew_by_the_next_call(tmp_path: Path) -> None:
    good = tarred(tmp_path / "x.tgz", {"images/1.jpg": b"one"}).read_bytes()
    toy = photos(File(name="x.tgz", url="x", gives=["images"]))
    with serving(**{"toys/x.tgz": good[:-20]}) as site:
        with pytest.raises(DamagedFileError, match="x.tgz"):
            get(toy, tmp_path, site.url)
        site.files["/toys/x.tgz"] = good
        get(toy, tmp_path, site.url)
    found = {"images/1.jpg": b"one", "x.tgz.bad": good[:-20]}
    assert tree(tmp_path / "toys") == found


def test_what_has_to_be_fetched_by_hand_is_said_then_used_and_kept(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", {"images/1.jpg": b"one"}).read_bytes()
    toy = photos(File(name="x.zip", gives=["images"]), File(name="split.json", url="x"))
    folder = tmp_path / "toys"
    with serving(**{"toys/split.json": SPLIT}) as site:
        with pytest.raises(MissingDownloadError) as caught:
            get(toy, tmp_path, site.url)
        assert caught.value.paths == [f"{folder}/images"]
        assert caught.value.how == f"Ask the toy maker and put it into {folder}."
        assert tree(folder) == {"split.json": SPLIT}  # what can be fetched is there
        (folder / "x.zip").write_bytes(archive)
        get(toy, tmp_path, site.url)
    assert tree(folder) == {"split.json": SPLIT, "x.zip": archive, "images/1.jpg": b"one"}


def test_a_web_page_saved_by_hand_as_an_archive_is_set_aside_and_asked_for_again(
    tmp_path: Path,
) -> None:
    toy, folder = photos(File(name="x.zip", gives=["images"])), tmp_path / "toys"
    folder.mkdir()
    page = b"<!DOCTYPE html><title>Sign in</title>"
    (folder / "x.zip").write_bytes(page)
    with pytest.raises(DamagedFileError, match="x.zip.bad"):
        get(toy, tmp_path)
    assert [path.name for path in folder.glob("x*")] == ["x.zip.bad"]
    assert (folder / "x.zip.bad").read_bytes() == page
    with pytest.raises(MissingDownloadError):
        get(toy, tmp_path)


def test_a_dead_source_is_named_with_what_to_do_and_a_file_put_there_is_used(
    tmp_path: Path,
) -> None:
    archive = zipped(tmp_path / "x.zip", {"images/1.jpg": b"one"}).read_bytes()
    toy, folder = photos(File(name="x.zip", url="x", gives=["images"])), tmp_path / "toys"
    with serving() as site:
        with pytest.raises(OSError, match=f"{folder}"):
            get(toy, tmp_path, site.url)
        (folder / "x.zip").write_bytes(archive)
        get(toy, tmp_path, site.url)
    assert len(site.asked) == 1 and (folder / "images/1.jpg").exists()


# ---- the fifteen datasets ----

IMAGES = {"a/1.jpg": b"one", "b/2.jpg": b"two"}


def under(folder: str) -> dict[str, bytes]:
    return {f"{folder}/{name}": data for name, data in IMAGES.items()}


def published(tmp_path: Path) -> dict[str, bytes]:
    """What the hosts serve, small: archives in the published layouts, by folder and name."""
    aircraft = [f"images_variant_{split}.txt" for split in ("train", "val", "test")]
    top = "fgvc-aircraft-2013b/data"
    lists = {f"{top}/{name}": b"1" for name in (*aircraft, "variants.txt", "families.txt")}
    inner = tarred(tmp_path / "inner", under("101_ObjectCategories")).read_bytes()
    nested = {"caltech-101/101_ObjectCategories.tar.gz": inner, "__MACOSX/x": b"x"}
    tars = {
        "oxford_pets/images.tar.gz": under("images"),
        "oxford_flowers/102flowers.tgz": under("jpg"),
        "food-101/food-101.tar.gz": under("food-101/images") | {"food-101/meta/train.txt": b"x"},
        "fgvc_aircraft/fgvc-aircraft-2013b.tar.gz": under(f"{top}/images") | lists,
        "dtd/dtd-r1.0.1.tar.gz": under("dtd/images") | {"dtd/labels/train1.txt": b"x"},
    }
    plain = {
        "imagenetv2/imagenetv2-matched-frequency.tar.gz": under(
            "imagenetv2-matched-frequency-format-val"
        ),
        "imagenet-adversarial/imagenet-a.tar": under("imagenet-a"),
        "imagenet-rendition/imagenet-r.tar": under("imagenet-r"),
    }
    zips = {
        "caltech-101/caltech-101.zip": nested,
        "stanford_cars/stanford_cars.zip": under("stanford_cars/cars_train")
        | under("stanford_cars/cars_test"),
        "sun397/sun397.zip": under("sun397/SUN397") | {"sun397/split_zhou_SUN397.json": SPLIT},
        "eurosat/EuroSAT.zip": under("2750"),
        "ucf101/UCF-101-midframes.zip": under("UCF-101-midframes"),
        "imagenet-sketch/ImageNet-Sketch.zip": under("sketch"),
    }
    served = {name: tarred(tmp_path / "x", files).read_bytes() for name, files in tars.items()}
    served |= {n: tarred(tmp_path / "x", files, "w").read_bytes() for n, files in plain.items()}
    served |= {name: zipped(tmp_path / "x", files).read_bytes() for name, files in zips.items()}
    for each in sources().values():
        small = [file.name for file in each.files if not file.gives and file.url]
        served |= {f"{each.folder}/{name}": SPLIT for name in small}
    return served


BY_HAND = {"imagenet": ["images/train", "images/val"], "stanford_cars": ["cars_train", "cars_test"]}


@pytest.mark.parametrize("name", sources())
def test_every_dataset_comes_from_its_published_layout(tmp_path: Path, name: str) -> None:
    declared = sources()[name]
    small = [replace(file, size=0, sha256="") for file in declared.files]  # not the real pictures
    toy, data = replace(declared, files=tuple(small)), tmp_path / "data"
    served = published(tmp_path)
    with serving(**served) as site:
        before = status(toy, data)
        assert len(before["missing"]) == sum(len(file.gives or [1]) for file in toy.files)
        if name in BY_HAND:
            with pytest.raises(MissingDownloadError, match=f"{toy.folder}/{BY_HAND[name][0]}"):
                get(toy, data, site.url)
            for path in BY_HAND[name] if name == "imagenet" else ():
                (data / toy.folder / path / "n01440764").mkdir(parents=True)
            if name == "stanford_cars":
                cars = data / "stanford_cars" / "stanford_cars.zip"
                cars.write_bytes(served["stanford_cars/stanford_cars.zip"])
        get(toy, data, site.url)
        after, asked = status(toy, data), len(site.asked)
        get(toy, data, site.url)  # nothing to do
        assert len(site.asked) == asked
    assert after["missing"] == [] and after["download"] == 0
    found = tree(data / toy.folder)
    for file in (file for file in toy.files if file.gives):
        folder = file.gives[0]
        assert under(folder).items() <= found.items()
    assert not [path for path in found if path.endswith((".part", "~")) or ".dip" in path]


def test_the_declarations_are_complete() -> None:
    declared = sources()
    assert len(declared) == 15
    folders = "imagenet caltech-101 oxford_pets stanford_cars oxford_flowers food-101"
    folders += " fgvc_aircraft sun397 dtd eurosat ucf101 imagenetv2 imagenet-sketch"
    folders += " imagenet-adversarial imagenet-rendition"
    assert [each.folder for each in declared.values()] == folders.split()
    for each in declared.values():
        for file in each.files:
            assert (file.size > 0) != (file.about > 0), file
            assert len(file.sha256) in (0, 64)
            assert file.url.startswith("http") or each.by_hand
        assert each.by_hand.format(folder="f") == each.by_hand.replace("{folder}", "f")


def test_status_says_what_is_missing_where_and_how_much_it_is(tmp_path: Path) -> None:
    toy = sources()["eurosat"]
    (tmp_path / "eurosat" / "2750" / "Forest").mkdir(parents=True)
    split = tmp_path / "eurosat" / "split_zhou_EuroSAT.json"
    assert status(toy, tmp_path) == {
        "folder": str(tmp_path / "eurosat"),
        "missing": [{"path": str(split), "bytes": 2_000_000, "by_hand": False}],
        "download": 2_000_000,
        "begun": 0,
    }
    split.write_bytes(SPLIT)
    assert status(toy, tmp_path)["missing"] == []


def test_an_unreadable_folder_is_named() -> None:
    with TemporaryDirectory() as public:  # pytest's own folders are closed to others
        Path(public).chmod(0o755)
        folder = Path(public) / "eurosat" / "2750"
        folder.mkdir(parents=True)
        with closed(folder), pytest.raises(PermissionError, match="eurosat/2750"):
            status(sources()["eurosat"], Path(public))
        with closed(folder), pytest.raises(PermissionError, match="eurosat"):
            get(sources()["eurosat"], Path(public))
