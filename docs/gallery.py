"""What each tutorial must do while the gallery runs it: warn of nothing, and leave no file."""

import warnings
from pathlib import Path

_found = {}  # what was there before a tutorial: the filters of warnings, the files beside it


def strict(gallery_conf, fname, when):
    """Make a tutorial's warnings errors, and a file that it leaves behind too.

    sphinx-gallery calls this before and after each script. What a library says to its own authors,
    such as that a function of another library will change, is not ours to mend.
    """
    if when == "before":
        _found.update(filters=warnings.filters[:], files=_files(gallery_conf))
        for category in (UserWarning, RuntimeWarning, FutureWarning):
            warnings.simplefilter("error", category)
        warnings.filterwarnings("error", category=DeprecationWarning, module="__main__")
        return
    warnings.filters[:] = _found["filters"]
    left = _files(gallery_conf) - _found["files"]
    if left:
        raise RuntimeError(f"{fname} left files behind: {sorted(map(str, left))}")


def _files(gallery_conf):
    """All files of the folder where the tutorials are, in which they run."""
    folder = Path(gallery_conf["src_dir"], *gallery_conf["examples_dirs"])
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}
