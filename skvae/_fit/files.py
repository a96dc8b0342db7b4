"""Files of states: safetensors, with the settings as JSON and a checksum in the metadata."""

import hashlib
import json
import os
from pathlib import Path

from skvae._fit.plain import VERSION, State

FORMAT = 4  # of settings and files; raised when older versions cannot read new files
KEY = "skvae"  # key of the settings in the metadata of a file


def write(path, state):
    """Write a state without foreign objects to a file, which is replaced in one step."""
    from safetensors.numpy import save

    head = {"format": FORMAT, "version": VERSION, "settings": state.settings}
    settings = json.dumps(head, allow_nan=False)
    digest = _digest(settings, state.arrays)
    replace(path, save(state.arrays, metadata={KEY: settings, "sha256": digest}))


def read(path):
    """Return the state in a file that `write` wrote; raise a ValueError that says what is wrong."""
    if os.path.isdir(path):
        raise IsADirectoryError(
            f"path must name a file that save wrote; {str(path)!r} is a folder. Pass the file."
        )
    metadata, arrays = _contents(path)
    if KEY not in metadata:
        raise ValueError(
            f"{str(path)!r} was not written by skvae: its metadata lack {KEY!r}. Pass a file that "
            "save or a checkpoint wrote."
        )
    if metadata.get("sha256") != _digest(metadata[KEY], arrays):
        raise ValueError(
            f"{str(path)!r} has been changed since it was written: its contents do not agree with "
            "its checksum. Save again, or take another copy."
        )
    try:
        head = json.loads(metadata[KEY])
        version, settings = head["format"], head["settings"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{str(path)!r} is damaged: its settings cannot be read: {error}"
        ) from None
    if version != FORMAT:
        raise ValueError(
            f"{str(path)!r} is of format {version!r}, written by skvae "
            f"{head.get('version', 'before 0.1')}, and skvae {VERSION} reads format {FORMAT}. "
            "Use the version that wrote it, or save again."
        )
    return State(settings, arrays, {})


def _contents(path):
    """Return metadata and arrays of a safetensors file."""
    from safetensors import SafetensorError, safe_open

    with open(path, "rb"):  # so that a missing file raises the usual FileNotFoundError
        pass
    try:
        with safe_open(path, framework="np") as file:
            # The file has keys, but cannot be iterated.
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return file.metadata() or {}, arrays
    except (SafetensorError, ValueError, TypeError, OSError, OverflowError, KeyError) as error:
        raise ValueError(
            f"{str(path)!r} is not a file of skvae, or it is damaged or cut off: {error}. Save "
            "again, or take another copy."
        ) from error


def _digest(settings, arrays):
    digest = hashlib.sha256(settings.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def replace(path, content):
    """Put bytes into a file so that it holds either its former content or all of the new one.

    They are written to another file beside it and flushed to the disk; then that file is renamed.
    """
    path = _writable(path)
    aside = path.with_name(f".{path.name}.part")
    try:
        with open(aside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the new name has to survive a power failure, too
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _writable(path):
    """Return the path; refuse one at which no file can be."""
    if not os.fspath(path):
        raise ValueError("path must name a file; got an empty name")
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(
            f"path must name a file, and {str(path)!r} is a folder. Pass a name in it, "
            f"for example {str(path / 'vae.safetensors')!r}."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"path must name a file in a folder that exists; {str(path.parent)!r} does not. "
            "Make it first."
        )
    return path
