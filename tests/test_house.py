"""The order of the rooms: a file imports from files above it, and few files know scikit-learn."""

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from operator import attrgetter
from pathlib import Path

import pytest

import skvae

PACKAGE = Path(skvae.__file__).parent
ORDER = [
    "bounds",
    "_warnings",
    "_sklearn",
    "_torch",
    "_random",
    "networks.mlp",
    "networks.images",
    "networks.lstm",
    "networks.recurrent",
    "networks",
    "_normal",
    "posteriors.moments",
    "posteriors.base",
    "posteriors.free",
    "posteriors.batch_norm",
    "posteriors.matched",
    "posteriors.each_row",
    "posteriors",
    "likelihoods.base",
    "likelihoods.real",
    "likelihoods.binary",
    "likelihoods.counts",
    "likelihoods.categories",
    "likelihoods.mixed",
    "likelihoods.sentences",
    "likelihoods",
    "priors",
    "objectives",
    "model",
    "_data",
    "_data.streams",
    "_data.words",
    "_data.vocabulary",
    "_data.frames",
    "_data.columns",
    "_data.conditions",
    "_data.units",
    "_data.rows",
    "_data.tables",
    "_data.numbers",
    "_fit",
    "_fit.torch_state",
    "_fit.course",
    "_fit.optimizer",
    "_fit.processes",
    "distributed",
    "diagnostics.measures",
    "diagnostics.evaluation",
    "diagnostics.printing",
    "diagnostics.verdict",
    "diagnostics",
    "every_tau",
    "_fit.fitted",
    "_fit.training",
    "_fit.range_training",
    "_fit.plain",
    "_fit.files",
    "_fit.checkpoints",
    "_fit.saving",
    "_use",
    "_linear_start",
    "_base",
    "estimator",
    "text",
    "search",
    "display.colors",
    "display.arrays",
    "display.axes",
    "display.fitted",
    "display.training_curve",
    "display.kl",
    "display.latent_map",
    "display.traversal",
    "display.reconstruction",
    "display.aggregated_posterior",
    "display.rate_distortion",
    "display.tau_table",
    "display.explorer.packing",
    "display.explorer.layers",
    "display.explorer.sentences",
    "display.explorer.description",
    "display.explorer.page",
    "display.explorer",
    "display",
    "datasets",
]
ENTRANCES = ["__init__", "__main__"]  # above the order: they may import everything
# What of scikit-learn a file knows: the estimators all, the others nothing unless said here.
SKLEARN = {
    name: ("sklearn",)
    for name in (
        "_sklearn",
        "_random",
        "_fit.saving",
        "_use",
        "_base",
        "estimator",
        "text",
        "search",
        "__main__",
    )
}
SKLEARN["_fit.training"] = ("sklearn.exceptions",)
SKLEARN["_linear_start"] = ("sklearn.decomposition", "sklearn.exceptions")
SKLEARN["_data.vocabulary"] = ("sklearn.feature_extraction.text",)
SKLEARN["_data.units"] = ("sklearn.utils.sparsefuncs",)
FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(path):
    """The file's place in the order: a package stands for its __init__."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def rooms():
    """The order as the maps have it: a package is one room."""
    return list(dict.fromkeys(name.split(".")[0] for name in ORDER))


def imported(source):
    """Dotted names of all modules that `source` imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            # "from skvae import bounds" imports a module, "from skvae.bounds import x" a name
            if module in ("skvae", "."):
                yield from (f"skvae.{alias.name}" for alias in node.names)
            else:
                yield module


def violations(name, source):
    """What the file `name` must not import, in words."""
    if name not in [*ORDER, *ENTRANCES]:
        return [f"{name} has no place in the order"]
    found = []
    for module in imported(source):
        parts = module.split(".")
        if not parts[0]:
            found.append(f"{name} imports {module} relatively")
        elif parts[0] == "skvae" and name in ORDER:
            above = ORDER[: ORDER.index(name)]
            if not {".".join(parts[1:]), ".".join(parts[1:-1])} & {*above}:
                found.append(f"{name} imports {module}, which is not above it")
        elif any(part.startswith("_") for part in parts[1:]) and parts[0] in ("sklearn", "torch"):
            if name not in ("_sklearn", "_torch"):
                found.append(f"{name} imports {module}, which is private")
        elif parts[0] == "sklearn" and not module.startswith(SKLEARN.get(name, ("none of it",))):
            found.append(f"{name} imports {module}, but knows no scikit-learn")
    return found


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_imports_from_above_only(path):
    assert violations(name_of(path), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("name", "source", "word"),
    [
        ("bounds", "from skvae.posteriors import Posterior", "not above"),
        ("bounds", "import skvae.posteriors", "not above"),
        ("bounds", "from skvae import posteriors", "not above"),
        ("bounds", "import skvae", "not above"),
        ("bounds", "from . import posteriors", "not above"),
        ("bounds", "from .posteriors import Posterior", "relatively"),
        ("model", "def late():\n    from skvae._fit.training import Fit", "not above"),
        ("model", "from skvae.model import VAE", "not above"),
        ("model", "import numpy, skvae._fit.optimizer", "not above"),
        ("model", "from sklearn.base import BaseEstimator", "no scikit-learn"),
        ("model", "import sklearn", "no scikit-learn"),
        ("_data.units", "from sklearn.base import BaseEstimator", "no scikit-learn"),
        ("_data.units", "from sklearn import preprocessing, base", "no scikit-learn"),
        ("_base", "from sklearn.utils._metadata_requests import UNUSED", "private"),
        ("model", "from torch.utils._python_dispatch import TorchDispatchMode", "private"),
        ("attic", "", "no place"),
        ("display.attic", "", "no place"),
        ("display.colors", "from skvae.display.axes import tidy", "not above"),
        ("display.colors", "from skvae.display import KLDisplay", "not above"),
        ("text", "from skvae.display.colors import MODEL", "not above"),
    ],
)
def test_the_walk_can_fail(name, source, word):
    assert [line for line in violations(name, source) if word in line]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("posteriors", "from skvae.bounds import kl_floor"),
        ("model", "from skvae import bounds"),
        ("_data.units", "from sklearn.utils.sparsefuncs import min_max_axis"),
        ("estimator", "from sklearn.base import BaseEstimator"),
        ("model", "import sklearnex, skvaex"),
        ("display.kl", "from skvae.display.colors import MODEL"),
        ("display", "from skvae.display.kl import KLDisplay"),
    ],
)
def test_the_walk_can_pass(name, source):
    assert violations(name, source) == []


def test_the_walk_sees_the_files():
    assert {"bounds", "posteriors", "estimator", "__init__"} <= {name_of(path) for path in FILES}


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/design.rst"])
def test_the_maps_have_every_room_in_order(page):
    text = (Path(__file__).parent.parent / page).read_text(encoding="utf-8")
    row = r"^(?:\| |   \* - )`+(\w+)(?:\.py|/)`+(?: \| |\n     - )(public|engine)\b"
    found = dict(re.findall(row, text, re.MULTILINE))
    assert [*found] == rooms()
    for name, kind in found.items():
        assert kind == ("engine" if name.startswith("_") else "public"), name


def in_a_fresh_process(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_importing_the_package_loads_no_torch():
    code = "import sys, skvae; dir(skvae); print(*sorted({'torch', 'sklearn'} & set(sys.modules)))"
    assert in_a_fresh_process(code) == []


def test_the_closed_forms_load_no_torch():
    code = (
        "import sys; from skvae import bounds; bounds.kl_floor(0.5); print('torch' in sys.modules)"
    )
    assert in_a_fresh_process(code) == ["False"]


@pytest.mark.parametrize("name", skvae.__all__)
def test_public_names_are_there(name):
    assert getattr(skvae, name).__name__ == name
    assert name in dir(skvae)


def test_dir_has_each_name_once_and_none_for_internal_use():
    names = dir(skvae)
    assert len(names) == len({*names})
    assert {*skvae.__all__, "bounds", "text", "__version__"} <= {*names}
    assert [name for name in names if name.startswith("_") and not name.startswith("__")] == []
    assert {"import_module", "TYPE_CHECKING"}.isdisjoint(names)


def test_type_checkers_see_every_public_name():
    source = (PACKAGE / "__init__.py").read_text(encoding="utf-8")
    (block,) = (node for node in ast.parse(source).body if isinstance(node, ast.If))
    seen = {alias.name: found.module for found in block.body for alias in found.names}
    assert seen == {name: home or "skvae" for name, home in skvae._HOMES.items()}
    assert (PACKAGE / "py.typed").exists()


ESTIMATORS = [skvae.BNVAEEstimator, skvae.BNVAEEstimatorCV, skvae.BNVAETextEstimator]


def own_calls(kind):
    """The public methods of an estimator that are defined in this package."""
    for base in kind.__mro__:
        if base.__module__.startswith("skvae."):
            for name, value in vars(base).items():
                if not name.startswith("_") and callable(value):
                    yield name, getattr(kind, name)


def documented():
    """Everything that the page of the API lists, by its name in the package."""
    page = (Path(__file__).parent.parent / "docs/api/index.rst").read_text(encoding="utf-8")
    home = ""
    for line in page.splitlines():
        if line.startswith(".. currentmodule:: "):
            home = line.split()[-1]
        elif re.fullmatch(r"   [A-Za-z]\w*(\.\w+)*", line):
            yield f"{home}.{line.strip()}"


def signatures(thing):
    """The functions that a documented thing consists of, by name."""
    if not inspect.isclass(thing):
        yield thing.__name__, thing
        return
    for base in thing.__mro__:
        if base.__module__.startswith("skvae."):
            for name, value in vars(base).items():
                call = getattr(value, "fget", None) or getattr(value, "__func__", value)
                own = (
                    inspect.isfunction(call) and inspect.unwrap(call).__module__ == base.__module__
                )
                if own and (name in ("__init__", "__call__") or not name.startswith("_")):
                    yield f"{base.__name__}.{name}", call


def test_the_page_of_the_api_is_read():
    estimators = {f"skvae.{kind.__name__}" for kind in ESTIMATORS}
    assert {*estimators, "skvae.posteriors.MomentPosterior", "skvae.Explorer"} <= {*documented()}
    assert len({*documented()}) > 80


@pytest.mark.parametrize("name", [*documented()])
def test_what_is_public_is_annotated(name):
    thing = attrgetter(name.removeprefix("skvae."))(skvae)
    for called, call in signatures(thing):
        annotated = {*inspect.get_annotations(inspect.unwrap(call))}
        expected = {*inspect.signature(call).parameters, "return"} - {"self", "cls"}
        assert annotated == expected, called


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_help_is_about_the_estimator_it_is_of(kind):
    others = {"BNVAEEstimator", "BNVAETextEstimator", "BNVAEEstimatorCV"} - {kind.__name__}
    for name, call in own_calls(kind):
        returns = inspect.getdoc(call).partition("Returns\n-------")[2].split("\n\n")[0]
        assert not {*re.findall(r"\w+", returns)} & others, name
    if kind is skvae.BNVAETextEstimator:
        for name in ("fit", "partial_fit", "transform", "encode", "score_samples", "score"):
            assert "X : iterable of str" in inspect.getdoc(getattr(kind, name)), name


def test_rooms_are_there_as_attributes():
    from skvae import bounds

    assert skvae.bounds is bounds


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'skvae' has no attribute 'attic'"):
        skvae.attic  # noqa: B018


# Files of more than 500 lines, each of which is one idea: two constructors with the documentation
# of their parameters.
LONG = {"estimator", "text"}


def bodies(source):
    """Name and number of lines of each function's body, docstring aside."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            has_docstring = ast.get_docstring(node) is not None
            body = node.body[1:] if has_docstring else node.body
            if body:
                yield node.name, body[-1].end_lineno - body[0].lineno + 1


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_can_be_seen_whole(path):
    source = path.read_text(encoding="utf-8")
    assert [name for name, length in bodies(source) if length > 50] == []
    assert (source.count("\n") > 500) == (name_of(path) in LONG)


def test_the_length_of_a_body_is_counted():
    source = "def long():\n    'Docstring.'\n    a = 1\n\n    return a\n"
    assert [*bodies(source)] == [("long", 3)]


LEFT_OVER = ["TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK", "WI" + "P", "break" + "point("]


@pytest.mark.parametrize("word", LEFT_OVER)
def test_nothing_is_left_over(word):
    files = [*FILES, *Path(__file__).parent.glob("*.py")]
    holders = [path.name for path in files if word in path.read_text(encoding="utf-8")]
    assert holders == []


def test_the_lowest_versions_are_those_of_pyproject():
    root = Path(__file__).parent.parent
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *extras["plot"], *extras["progress"], *extras["test"]]
    needed = [entry for entry in needed if not entry.startswith("skvae[")]
    lowest = dict(
        re.fullmatch(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", entry).groups() for entry in needed
    )
    text = (root / "constraints-lowest.txt").read_text(encoding="utf-8")
    tested = dict(re.findall(r"^([\w-]+)==([\d.]+)$", text, re.M))
    assert tested.keys() == lowest.keys()
    for name in lowest.keys() - {"torch"}:  # of which the file says why
        assert re.fullmatch(re.escape(lowest[name]) + r"(\.0)*", tested[name]), name
