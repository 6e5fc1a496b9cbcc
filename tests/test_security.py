"""What the page on security states of the code: each statement has its test, here or elsewhere."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt

from dip_book.others import as_text

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("dip_lib", "dip_study", "dip_book", "glyph_world", "photo_world")
FOLDERS = (*PACKAGES, "book", "benchmarks", "examples", "pretraining")
PAGE = ROOT / "book" / "security.md"


@cache
def trees() -> dict[str, ast.AST]:
    """Every Python file that is no test, and every notebook's code, parsed."""
    found = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            found[path.relative_to(ROOT).as_posix()] = ast.parse(path.read_text("utf-8"))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        code = ["".join(each["source"]) for each in cells if each["cell_type"] == "code"]
        text = re.sub(r"^( *)[%!].*$", r"\1pass", "\n".join(code), flags=re.MULTILINE)
        found[f"notebooks/{path.name}"] = ast.parse(text)
    return found


def dotted(node: ast.AST) -> str:
    """ "torch.load" of the node that says so; what it is called on may be anything."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def calls() -> Iterator[tuple[str, str, dict[str, object]]]:
    """File, what is called, and the keywords that are constants."""
    for name, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                given = {
                    each.arg: each.value.value
                    for each in node.keywords
                    if each.arg and isinstance(each.value, ast.Constant)
                }
                yield name, dotted(node.func), given


def imports() -> dict[str, set[str]]:
    """Module -> files that import it, or something of it."""
    found: dict[str, set[str]] = {}
    for name, tree in trees().items():
        for node in ast.walk(tree):
            modules: list[str] = []
            if isinstance(node, ast.Import):
                modules = [each.name for each in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module or ""]
                modules += [f"{node.module}.{each.name}" for each in node.names]
            for module in modules:
                found.setdefault(module, set()).add(name)
    return found


def users(*modules: str) -> set[str]:
    """The files that import one of these modules, or something inside."""
    return {
        file
        for module, files in imports().items()
        for file in files
        if any(module == each or module.startswith(f"{each}.") for each in modules)
    }


ENGINE = {f"dip_study/engine/{name}.py" for name in ("cluster", "group", "processes")}
"""What talks to our own processes, here and on Dask's workers."""
WEIGHTS = "dip_lib/clip/weights_file.py"


def test_no_code_can_come_out_of_a_file() -> None:
    assert users("pickle") == ENGINE | {WEIGHTS}
    assert users("shelve", "marshal", "dill", "cloudpickle", "joblib", "jsonpickle") == set()
    named = {dotted(node) for node in ast.walk(trees()[WEIGHTS]) if isinstance(node, ast.Attribute)}
    assert {each for each in named if each.startswith("pickle.")} == {"pickle.UnpicklingError"}
    saved = set()
    for file, called, given in calls():
        last = called.rpartition(".")[2]
        assert last not in ("read_pickle", "to_pickle", "unsafe_load", "full_load"), file
        if called == "torch.load":
            assert given.get("weights_only") is True, file
        if called in ("np.load", "numpy.load"):
            assert not given.get("allow_pickle"), file
        if called == "yaml.load":
            raise AssertionError(file)
        if called == "torch.jit.load":
            assert file == WEIGHTS
        if called == "torch.save":
            saved.add(file)
        if called.startswith("pickle."):
            assert file in ENGINE and last in ("dumps", "loads"), file  # bytes, never a file
    own = {"pretraining/training.py", "pretraining/photo_world/fitting.py"}
    assert saved == own | {"examples/densify_a_module.py"}


def test_no_text_reaches_a_shell_or_is_evaluated() -> None:
    shells = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
    for file, called, given in calls():
        assert called not in {"eval", "exec", "compile", "__import__", *shells}, (file, called)
        assert not given.get("shell"), file
    for name, tree in trees().items():
        for node in ast.walk(tree):
            assert not (isinstance(node, ast.keyword) and node.arg == "shell"), name
    assert users("pty", "runpy", "code") == set()


NETWORK = {
    "urllib.request": {
        "dip_lib/fetch/resume.py",
        "dip_lib/fetch/secure.py",
        "dip_lib/clip/at_hand.py",
    },
    "urllib.error": {"dip_lib/fetch/resume.py", "dip_lib/clip/at_hand.py"},
    "http.client": {"dip_lib/fetch/resume.py", "dip_lib/fetch/secure.py"},
    "huggingface_hub": {"dip_lib/clip/at_hand.py"},
    "distributed": {"dip_study/engine/cluster.py"},
    # the machine's name alone
    "socket": {"dip_lib/files.py", "dip_study/engine/identity.py", "dip_study/sharing/private.py"},
}
"""Who may speak to others: whoever adds a line here says so on the page."""


def test_nothing_connects_but_what_downloads() -> None:
    for module, files in NETWORK.items():
        assert users(module) == files, module
    others = ("requests", "httpx", "aiohttp", "ftplib", "smtplib", "telnetlib", "websockets")
    assert users(*others, "wandb", "sentry_sdk", "posthog", "http.server", "xmlrpc") == set()
    for file in NETWORK["socket"]:
        named = {dotted(node) for node in ast.walk(trees()[file])}
        assert {each for each in named if each.startswith("socket.")} == {"socket.gethostname"}
    opened = {f for f, called, _ in calls() if called.endswith(("urlopen", "build_opener"))}
    assert opened == {"dip_lib/fetch/secure.py", "dip_lib/clip/at_hand.py"}
    texts = [ast.unparse(tree) for tree in trees().values()]
    plain = {each for text in texts for each in re.findall(r"http://[\w.-]+", text)}
    assert plain <= {"http://www.w3.org"}, plain  # names of formats
    config = (ROOT / "_config.yml").read_text("utf-8")
    assert "analytics" not in config and "<script" not in config


def test_only_the_books_own_script_executes_notebooks() -> None:
    named = {
        name
        for name, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.List)
        and any(isinstance(each, ast.Constant) and each.value == "papermill" for each in node.elts)
    }
    # the one runs a notebook of the checkout, the other writes a page's command, for people
    assert named == {"book/execute.py", "dip_book/parameters.py"}
    assert users("papermill", "nbclient", "nbconvert", "jupyter_client") == {"book/build.py"}


HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[a](javascript:alert(1))",
    "![a](http://example.org/a.png)",
    "`code` **bold** &lt; <http://example.org>",
    "A\\* CPU [x]: y",
)


def test_words_of_others_are_shown_and_do_nothing() -> None:
    for words in HOSTILE:
        html = MarkdownIt("commonmark", {"html": True}).render(f"*measured on* {as_text(words)}")
        inside = html.removeprefix("<p><em>measured on</em> ").removesuffix("</p>\n")
        assert "<" not in inside, inside
        shown = inside.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"')
        assert shown.replace("&amp;", "&") == words


def test_every_template_escapes_what_it_is_given() -> None:
    sys.path.insert(0, str(ROOT / "book" / "_ext"))
    try:
        from companion.templates import TEMPLATES
    finally:
        sys.path.pop(0)
    assert TEMPLATES.autoescape is True
    for path in (ROOT / "book" / "_ext" / "companion" / "templates").glob("*.html"):
        text = path.read_text("utf-8")
        for marked in re.findall(r"(\S+)\s*\|\s*safe", text):
            assert marked.endswith('"'), (path.name, marked)  # a constant of the template
        assert "autoescape" not in text, path.name


def test_each_statement_of_the_page_names_tests_that_are_there() -> None:
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 12
    for row in rows:
        *_, statement, held, _ = row.split("|")
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", held)
        assert named and statement.strip()
        for file, test in named:
            tree = ast.parse((ROOT / file).read_text("utf-8"))
            defined = {each.name for each in tree.body if isinstance(each, ast.FunctionDef)}
            assert test in defined, f"{file}::{test}"
