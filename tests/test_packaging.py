"""What users install: the wheel holds all of limen and nothing else, and limen shares no name with a user's modules."""

import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]

FOLDERS = {"limen": "src/limen", "limen/actors": "actors", "limen/messages": "messages"}

IMPORT_ALL = """
import importlib, pkgutil, sys
import limen

for name in ["limen", *(found.name for found in pkgutil.walk_packages(limen.__path__, "limen."))]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich", "pika", "pytest", "hypothesis", "prometheus_client"}:  # the extras
            raise
for name in ("limen.actors", "limen.messages"):
    assert name in sys.modules, f"{name} is not a part of what was imported"
bare = {"actors", "messages"} & sys.modules.keys()
assert not bare, f"limen brought {bare} into sys.modules"
"""

NO_BARE_NAMES = """
import importlib.util
found = [name for name in ("actors", "messages") if importlib.util.find_spec(name)]
assert not found, f"{found} can be imported by a bare name"
"""

USERS_OWN = """
import actors, messages
assert (actors.OWNER, messages.OWNER) == ("user", "user")
import limen.actors, limen.messages
assert limen.messages is not messages and limen.actors is not actors
"""

LAZY = {"jsonschema", "orjson", "pika", "prometheus_client", "referencing", "rich", "typer"}
"""What the core loads when it is first needed, or never."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the build reads, without the two links."""
    copy = tmp_path_factory.mktemp("source")
    for folder in ("actors", "messages", "src"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=_links_and_caches)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, copy)
    return copy


def _links_and_caches(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name in {"__pycache__", "limen.egg-info"} or Path(folder, name).is_symlink()]


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without the links."""
    return _build(source, tmp_path_factory.mktemp("dist"))


def _build(source: Path, out: Path) -> Path:
    """Build with the tools that are here already, so without a network."""
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source)
    (wheel,) = out.glob("*.whl")
    return wheel


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that holds the wheel and what it declares, and nothing else."""
    home = tmp_path_factory.mktemp("environment")
    _run(sys.executable, "-m", "venv", "--without-pip", home)
    (site,) = home.glob("lib/python*/site-packages")
    _run(sys.executable, "-m", "pip", "--python", home / "bin/python", "install", "--no-index", "--no-deps", wheel)
    _copy_dependencies(site)
    return home / "bin/python"


def _copy_dependencies(site: Path) -> None:
    """Copy what limen declares, and what that declares, from the environment that runs the tests."""
    (limen,) = importlib.metadata.distributions(name="limen", path=[str(site)])
    wanted = _required_by(limen)
    copied: set[str] = set()
    while missing := wanted - copied:
        name = missing.pop()
        distribution = importlib.metadata.distribution(name)
        for file in distribution.files or ():
            if ".." not in file.parts:  # scripts and manual pages stay where they are
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), site / file)
        copied.add(name)
        wanted |= _required_by(distribution)


def _required_by(distribution: importlib.metadata.Distribution) -> set[str]:
    requirements = (Requirement(line) for line in distribution.requires or ())
    return {
        canonicalize_name(requirement.name)
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    }


def _contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.startswith("limen-")}


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_nothing_else(wheel):
    """All of limen is shipped with its three type markers, under the one name `limen`."""
    modules = {
        f"{package}/{path.relative_to(ROOT / folder).as_posix()}"
        for package, folder in FOLDERS.items()
        for path in (ROOT / folder).rglob("*.py")
        if package != "limen" or path.relative_to(ROOT / folder).parts[0] not in {"actors", "messages"}
    }

    assert _contents(wheel) == modules | {f"{package}/py.typed" for package in FOLDERS}


@pytest.mark.slow
def test_the_links_decide_nothing(source, wheel, tmp_path):
    """The build gives the same wheel with the two editor links as without."""
    linked = tmp_path / "linked"
    shutil.copytree(source, linked, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    (linked / "src/limen/actors").symlink_to("../../actors")
    (linked / "src/limen/messages").symlink_to("../../messages")

    assert _contents(_build(linked, tmp_path)) == _contents(wheel)


@pytest.mark.slow
def test_every_module_of_the_installed_wheel_imports(installed, run_python):
    """The declared dependencies are enough, and no module reaches outside the wheel."""
    done = run_python("-I", "-W", "error", "-c", IMPORT_ALL, python=installed)

    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_installed_wheel_adds_no_bare_names(installed, run_python):
    """`actors` and `messages` exist only below `limen`."""
    done = run_python("-I", "-c", NO_BARE_NAMES, python=installed)

    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_installed_wheel_does_its_work(installed, run_python):
    """The quickstart runs from the wheel as it does from the source."""
    done = run_python("-W", "error", ROOT / "examples/quickstart.py", python=installed)

    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_command_without_its_extra_says_what_to_install(installed, run_python):
    """`limen` without typer and rich ends with status 2 and one line."""
    done = run_python("-I", "-m", "limen", python=installed)

    assert done.returncode == 2, done.stdout
    assert re.fullmatch(r"limen: .*limen\[cli\].*\n", done.stdout)


@pytest.mark.slow
def test_no_module_enters_by_a_bare_name(run_python):
    """Importing all of limen from the source leaves `actors` and `messages` out of sys.modules."""
    done = run_python("-W", "error", "-c", IMPORT_ALL)

    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_a_users_own_messages_and_actors_stay_theirs(run_python, tmp_path):
    """A script beside its own messages.py and actors.py gets its own by the bare names, and ours below `limen`."""
    for name in ("actors", "messages"):
        (tmp_path / f"{name}.py").write_text('OWNER = "user"\n')

    done = run_python("-W", "error", "-c", USERS_OWN)

    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_importing_limen_loads_no_heavy_module(run_python):
    """The schema validator and the command line's libraries wait until someone needs them."""
    done = run_python("-c", f"import limen, limen.actors, sys; print(*({LAZY!r} & sys.modules.keys()))")

    assert (done.returncode, done.stdout.split()) == (0, [])


def test_the_folders_are_the_package():
    """A development install reads `limen.actors` from the top-level folder, not from a copy."""
    import limen.actors
    import limen.messages

    homes = [Path(package.__path__[0]).resolve() for package in (limen.actors, limen.messages)]

    assert homes == [ROOT / "actors", ROOT / "messages"]


def test_no_text_names_a_machines_own_folders():
    """What is committed reads the same on every machine: no path of the one it was written on."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    private = re.compile(r"(?<![\w.~-])/(?:work|root|home/[a-z]\w*|tmp/v)/")

    files = (ROOT / name for name in listing.stdout.split("\0") if name)
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in files
        if file.is_file()
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1)
        if private.search(line)
    ]

    assert found == []
