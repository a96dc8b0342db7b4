"""Fitted estimators to files and back, by `save` and `load` and by pickle."""

import json
from os import PathLike
from typing import Any, Self

from sklearn.utils.validation import check_is_fitted

from skvae._fit.checkpoints import described
from skvae._fit.files import read, write
from skvae._fit.plain import VERSION, CannotSave, State, restored, state_of
from skvae._fit.torch_state import plain_torch
from skvae._warnings import warn


class SavingMixin:
    """`save`, `load` and pickle of an estimator that has `_fitted_model` once it is fitted.

    It precedes `BaseEstimator` among the bases, because it extends how that is pickled.
    Every attribute that is not a parameter was learned by `fit`; `skvae._fit.plain` turns it into
    plain arrays and settings, both for a file and for pickle. If a parameter is a function or an
    object of the user's own, a file has only its name, and `load` asks for it again; pickle stores
    it as it stores anything.
    """

    def save(self, path: str | PathLike[str]) -> None:
        """Write the fitted estimator to a file that can be read without running its code.

        The file is a safetensors file with the settings as JSON in its metadata. It replaces
        what was at `path` in one step, once all of it is on the disk. Callbacks are not saved.

        Parameters
        ----------
        path : str or PathLike
            Path of the file.

        Raises
        ------
        ValueError
            If the estimator holds something that no such file can hold.

        See Also
        --------
        load : Read the estimator again.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> from sklearn.datasets import load_iris
        >>> from skvae import BNVAEEstimator
        >>> X, _ = load_iris(return_X_y=True)
        >>> vae = BNVAEEstimator(2, max_iter=2, random_state=0).fit(X)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     vae.save(Path(folder) / "iris.safetensors")
        ...     again = BNVAEEstimator.load(Path(folder) / "iris.safetensors")
        >>> bool((again.transform(X) == vae.transform(X)).all())
        True
        """
        check_is_fitted(self)
        parameters, given = {}, {}
        for name, value in self.get_params(deep=False).items():
            try:
                state_of(value)
            except CannotSave:
                given[name] = described(value)
            else:
                parameters[name] = value
        try:
            state = state_of({"parameters": parameters, "fitted": self._fitted()})
        except CannotSave as error:
            raise ValueError(
                f"This {type(self).__name__} cannot be saved: {error}. If it is of the networks, "
                "let a function given as a parameter build them; if it is a value in the table, "
                "convert that to strings or numbers; or pickle the estimator."
            ) from error
        contents = {"estimator": type(self).__name__, "given": given, "state": state.settings}
        write(path, state._replace(settings=contents))

    @classmethod
    @plain_torch()
    def load(cls, path: str | PathLike[str], **given: Any) -> Self:
        """Read an estimator from a file that `save` wrote.

        Loading runs no code from the file. An estimator that was fitted on another device is loaded
        on the CPU.

        Parameters
        ----------
        path : str or PathLike
            Path of the file.
        **given : object
            Parameters that were your own functions or objects, such as ``encoder=...``. The file
            has only their names. A function must build the network that was saved.

        Returns
        -------
        estimator instance
            The fitted estimator, which gives the same results as the one that was saved.

        Raises
        ------
        ValueError
            If the file is damaged, of another estimator or of another version, or if a parameter is
            missing from `given` or must not be in it.
        """
        state = read(path)
        try:
            estimator, needed = state.settings["estimator"], state.settings["given"]
            settings = state.settings["state"]
        except (LookupError, TypeError):
            raise ValueError(
                f"{str(path)!r} holds no estimator; if it is a checkpoint, pass it as the "
                "parameter checkpoint and call fit."
            ) from None
        if estimator != cls.__name__:
            raise ValueError(
                f"{str(path)!r} holds a {estimator}, not a {cls.__name__}; use {estimator}.load"
            )
        _check_given(path, needed, given)
        try:
            found = restored(State(settings, state.arrays, given))
            self = cls(**found["parameters"], **given)
            vars(self).update(found["fitted"])
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError(
                f"{str(path)!r} cannot be read as a {cls.__name__} by this version of skvae: "
                f"{error}"
            ) from error
        return self

    def _fitted(self):
        """Return what `fit` has learned, by the name of the attribute."""
        excluded = {*self._get_param_names(), "_skl_callbacks"}
        return {name: value for name, value in vars(self).items() if name not in excluded}

    def __getstate__(self):
        state = super().__getstate__().copy()
        if "_fitted_model" not in state:
            return state
        fitted = self._fitted()
        plain = state_of(fitted, keep_foreign=True)
        state = {name: value for name, value in state.items() if name not in fitted}
        state["_skvae_version"] = VERSION
        return state | {"_state": plain._replace(settings=json.dumps(plain.settings))._asdict()}

    @plain_torch()
    def __setstate__(self, state):
        state = dict(state)
        plain, version = state.pop("_state", None), state.pop("_skvae_version", None)
        super().__setstate__(state)
        if plain is None:
            return
        plain = State(**plain)
        try:
            vars(self).update(restored(plain._replace(settings=json.loads(plain.settings))))
        except ValueError as error:
            raise ValueError(
                f"This {type(self).__name__} was pickled by skvae {version or 'before 0.1'} and "
                f"cannot be read by skvae {VERSION}: {error}. Unpickle it with the version that "
                "pickled it and save it anew, or fit again."
            ) from error
        if version != VERSION:
            warn(
                f"This {type(self).__name__} was pickled by skvae {version or 'before 0.1'}, and "
                f"this is skvae {VERSION}: its results may differ. Fit again, or pickle it anew "
                "once you have seen that they do not."
            )


def _check_given(path, needed, given):
    """Refuse to go on without a parameter that the file needs, or with one that it does not."""
    missing = [f"{name}=... (it was {needed[name]})" for name in needed if name not in given]
    if missing:
        raise ValueError(
            f"{str(path)!r} was saved with parameters of your own, which have to be given again: "
            f"load(path, {', '.join(missing)})"
        )
    needless = sorted(given.keys() - needed.keys())
    if needless:
        raise ValueError(
            f"load was given {needless}, which {str(path)!r} does not ask for. Change parameters "
            "by set_params after loading."
        )
