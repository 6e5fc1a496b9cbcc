"""The files around the code agree with each other: pins, commands, the repository's address."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from absent import ABSENT, without_packages
from nbformat.v4 import new_code_cell, new_notebook
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dip_lib import paths

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "book"))  # as when book/address.py is run as a program

from address import set_address  # noqa: E402

CONDA_NAMES = {
    "torch": "pytorch",
    "matplotlib": "matplotlib-base",
    "huggingface-hub": "huggingface_hub",
}


def text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def locked(lock: str = "requirements.lock") -> dict[str, str]:
    """Version of each package that a lock installs on Linux with Python 3.11."""
    tested = {k: str(v) for k, v in default_environment().items()}
    tested |= {"python_version": "3.11", "python_full_version": "3.11.9", "sys_platform": "linux"}
    pins = [Requirement(line) for line in text(lock).splitlines() if line[:1] != "#"]
    return {
        canonicalize_name(pin.name): next(iter(pin.specifier)).version
        for pin in pins
        if pin.marker is None or pin.marker.evaluate(tested)
    }


def declared(extras: bool) -> list[Requirement]:
    project = tomllib.loads(text("pyproject.toml"))["project"]
    optional = project["optional-dependencies"] if extras else {}
    lines = [*project["dependencies"], *(line for extra in optional.values() for line in extra)]
    return [wanted for line in lines if (wanted := Requirement(line)).name != project["name"]]


def make(*words: str) -> str:
    """What make would run, without running it."""
    command = ["make", "-C", str(ROOT), "--no-print-directory", "-n", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*##", text("Makefile"), re.MULTILINE))


def test_lock_satisfies_what_the_project_declares() -> None:
    pins = locked()
    for wanted in declared(extras=True):
        assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)]), wanted


def test_readers_install_the_same_versions_and_nothing_that_measures() -> None:
    site, full = locked("requirements-site.lock"), locked()
    assert {name: full.get(name) for name in site} == site
    group = tomllib.loads(text("pyproject.toml"))["dependency-groups"]["site"]
    assert {canonicalize_name(Requirement(line).name) for line in group} <= site.keys()
    assert not site.keys() & {canonicalize_name(name) for name in ABSENT}


def test_what_builds_the_book_is_imported_without_what_measures(tmp_path: Path) -> None:
    variables = without_packages(tmp_path / "absent")
    code = "import sys; sys.path[:0] = ['book', 'book/_ext']; import build, companion, pdf"
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, cwd=ROOT, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    import_torch = [sys.executable, "-c", "import torch"]  # the packages are absent indeed
    assert subprocess.run(import_torch, env=variables, capture_output=True).returncode == 1


def test_the_plain_install_brings_no_tool_of_the_book() -> None:
    plain = {canonicalize_name(wanted.name) for wanted in declared(extras=False)}
    assert not plain & {"jupyter-book", "nbval", "papermill", "sphinx", "jinja2"}


def test_environment_has_the_required_packages_at_the_locked_versions() -> None:
    lines = yaml.safe_load(text("environment.yml"))["dependencies"]
    pins = dict(line.split("=") for line in lines if "=" in line)
    for wanted in declared(extras=False):
        name = canonicalize_name(wanted.name)
        assert pins[CONDA_NAMES.get(name, name)] == locked()[name], wanted
    versions = locked()
    python_names = {conda: name for name, conda in CONDA_NAMES.items()}
    for conda, version in pins.items():
        if conda != "python":
            assert versions[python_names.get(conda, conda)] == version, conda


def test_ci_runs_the_readme_tests_and_ends_with_pytest() -> None:
    path = ROOT / ".ci" / "run"
    lines = [line for line in text(".ci/run").splitlines() if line.strip()]
    assert os.access(path, os.X_OK)
    assert lines[-2:] == ["make test", "make test-slow"]
    assert (
        make("test-slow")
        .strip()
        .splitlines()[-1]
        .endswith("pytest -q -n 2 --dist loadfile tests/slow")
    )
    subprocess.run(["bash", "-n", path], check=True)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "book/rerun.md", "book/index.md"])
def test_commands_named_in_prose_exist(page: str) -> None:
    spans = re.findall(r"`(make [^`]+)`", text(page))
    blocks = re.findall(r"```bash\n(.*?)```", text(page), re.DOTALL)
    code = "\n".join([*spans, *blocks])
    named = set(re.findall(r"^make ([a-z-]+)", code, re.MULTILINE))
    assert named
    assert named <= targets()


@pytest.mark.parametrize("page", ["README.md", "book/method.md"])
def test_code_shown_in_prose_runs(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "\n".join(re.findall(r"```python\n(.*?)```", text(page), re.DOTALL))
    assert code
    monkeypatch.chdir(tmp_path)
    exec(compile(code, page, "exec"), {"__name__": "__main__"})


def test_settings_of_make_reach_the_build() -> None:
    ran = make("book", "PROFILE=smoke", "DEVICE=cuda", "NOTEBOOK=02")
    assert '--profile "smoke" --device "cuda" --notebook "02"' in ran
    assert '--profile "embedded,photos"' in make("book")
    assert '--profile "embedded-full,photos-full"' in make("publish")


def test_the_folder_of_photos_reaches_the_notebooks_of_make_book(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATA", raising=False)
    root = tmp_path / "checkout"
    for folder in ("book", "examples"):
        shutil.copytree(ROOT / folder, root / folder)
    for name in ("requirements.lock", "pyproject.toml", "Makefile"):
        shutil.copy(ROOT / name, root)
    (root / "installed").touch()
    code = "import os\nprint(os.path.realpath(os.environ.get('DATA', '/unset')), device)"
    cell = new_code_cell('profile = device = results = ""', metadata={"tags": ["parameters"]})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = new_notebook(cells=[cell, new_code_cell(code)], metadata={"kernelspec": kernel})
    (root / "notebooks").mkdir()
    for name, worlds in (("01_glyphs", ["Glyph World"]), ("02_photos", [])):
        notebook.metadata["companion_page"] = {"worlds": worlds}
        nbformat.write(notebook, root / "notebooks" / f"{name}.ipynb")
    words = ["PROFILE=paper", "DEVICE=cuda", "DATA=my pictures"]
    programs = [f"RUN={sys.executable}", "STAMP=installed"]
    command = ["make", "-C", str(root), "book", *words, *programs]
    made = subprocess.run(command, capture_output=True, text=True)
    assert "_config.yml" in made.stderr  # the notebooks have run; there is no book to build here
    assert "01_glyphs: left out" in made.stdout
    assert [path.name for path in (paths.home() / "notebooks").iterdir()] == ["02_photos.ipynb"]
    done = nbformat.read(paths.home() / "notebooks" / "02_photos.ipynb", as_version=4)
    assert done.cells[-1].outputs[0].text == f"{root.resolve()}/my pictures cuda\n"


def tracked() -> list[Path]:
    """Every file of the repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_the_repository_has_one_address() -> None:
    address = yaml.safe_load(text("_config.yml"))["repository"]["url"]
    owner_and_name = address.removeprefix("https://github.com/")
    assert address in text("CITATION.cff")
    readme = text("README.md")
    launches = re.findall(r"(?:/v2/gh|colab[^ )]*?/github)/([\w.-]+/[\w.-]+)/", readme)
    assert launches
    assert set(launches) == {owner_and_name}
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        named = re.findall(r"https://github.com/([\w.-]+/[\w.-]+)", path.read_text("utf-8"))
        assert set(named) == {owner_and_name}, path.name


def test_make_address_changes_the_address_everywhere_and_nothing_else(tmp_path: Path) -> None:
    old = yaml.safe_load(text("_config.yml"))["repository"]["url"]
    new = "https://github.com/some-body/a.new_name"
    for path in tracked():
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    (tmp_path / "README.md").touch()  # the packages are installed
    readme = tmp_path / "README.md"
    readme.write_bytes(readme.read_bytes() + f"{old}-fork {old}.org\r\n{old}.git".encode())

    def files() -> dict[Path, bytes]:
        every = (path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts)
        return {path: path.read_bytes() for path in every if path.is_file()}

    before = files()
    programs = [f"RUN={sys.executable}", "STAMP=README.md"]
    subprocess.run(["make", "-C", tmp_path, "address", f"URL={new}", *programs], check=True)
    after = files()
    assert yaml.safe_load(after[tmp_path / "_config.yml"])["repository"]["url"] == new
    slugs = [url.removeprefix("https://github.com/").encode() for url in (old, new)]
    assert {path for path, content in after.items() if slugs[0] in content} == {readme}
    assert after[readme].endswith(f"{old}-fork {old}.org\r\n{new}.git".encode())
    changed = {path.name for path in before if before[path] != after[path]}
    notebooks = {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert changed >= {"_config.yml", "README.md", "CITATION.cff", *notebooks}
    assert set_address(tmp_path, new) == {}
    assert files() == after
    assert set(set_address(tmp_path, old)) >= {"_config.yml", "README.md"}
    assert files() == before


@pytest.mark.parametrize(
    "url",
    [
        *("", "dip-companion", "owner/name", "http://github.com/owner/name"),
        *("https://gitlab.com/owner/name", "https://github.com/owner", "https://github.com/a/b/c"),
        *("https://github.com/owner/name/", "https://github.com/owner/name.git"),
        *(
            "https://github.com/-owner/name",
            "https://github.com/owner/..",
            "https://github.com/a/b\n",
        ),
    ],
)
def test_what_is_no_address_is_refused(tmp_path: Path, url: str) -> None:
    shutil.copy(ROOT / "_config.yml", tmp_path)
    with pytest.raises(ValueError, match="https://github.com/owner/name"):
        set_address(tmp_path, url)
    assert (tmp_path / "_config.yml").read_bytes() == (ROOT / "_config.yml").read_bytes()


def test_an_address_changed_by_hand_in_one_place_is_told(tmp_path: Path) -> None:
    for name in ("_config.yml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    config, by_hand = tmp_path / "_config.yml", "https://github.com/by/hand"
    old = yaml.safe_load(config.read_text("utf-8"))["repository"]["url"]
    config.write_text(config.read_text("utf-8").replace(old, by_hand), "utf-8")
    with pytest.raises(ValueError, match="README.md"):
        set_address(tmp_path, "https://github.com/new/name")


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_relative_links_resolve(page: str) -> None:
    links = re.findall(r"\]\(([^)#\s]+)\)", text(page))
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert not missing


def test_no_tracked_file_names_a_folder_of_the_authors_machine() -> None:
    # written so that this file does not match itself
    pattern = re.compile(rb"(?<![\w.])/(?:wor[k]|roo[t]|hom[e]/\w+|tm[p])/\w")
    named = [path for path in tracked() if pattern.search(path.read_bytes())]
    assert not named
