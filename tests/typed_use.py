"""What type checkers are to know of the package; they read this file, nothing runs it."""

from typing import Any, Literal, assert_type

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import nn
from torch.distributions import Distribution, Normal

import skvae
from skvae import (
    AggregatedPosteriorDisplay,
    BNVAEEstimator,
    BNVAEEstimatorCV,
    BNVAETextEstimator,
    ConvDecoder,
    ConvEncoder,
    Explorer,
    KLDisplay,
    LatentMapDisplay,
    MomentPosterior,
    PosteriorCollapseWarning,
    RateDistortionDisplay,
    ReconstructionDisplay,
    TauTableDisplay,
    TrainingCurveDisplay,
    TraversalDisplay,
    rate_distortion_curve,
)
from skvae.bounds import kl_floor, tau_for_rate
from skvae.datasets import make_sentences, make_sprites
from skvae.diagnostics import (
    AggregatedMoments,
    Diagnosis,
    Gaps,
    active_units,
    aggregated_moments,
    diagnose,
    encode,
    energy_distance,
    kl_per_component,
    missing_information,
    mutual_information,
    participation_ratio,
    reconstruction_gaps,
)
from skvae.distributed import joined
from skvae.likelihoods import GaussianLikelihood, Likelihood, MixedLikelihood, PoissonLikelihood
from skvae.model import VAE
from skvae.networks import MLP
from skvae.objectives import FreeBits, Objective, Terms, elbo, importance_bound, shared_draws
from skvae.posteriors import Moments, Posterior, gamma_squares
from skvae.priors import StandardNormal
from skvae.search import RateDistortionCurve

X = np.zeros((20, 64))
x = torch.zeros(20, 64)

# -- the estimator of rows: what returns frames or arrays, by what it was given, is Any ----------

vae = assert_type(BNVAEEstimator(2, tau=(0.1, 0.9), hidden_layer_sizes=[8]).fit(X), BNVAEEstimator)
assert_type(vae.partial_fit(X, sample_weight=np.ones(20)), BNVAEEstimator)
assert_type(vae.transform(X), Any)
assert_type(vae.inverse_transform(np.zeros((3, 2)), conditions={"age": 3}), Any)
assert_type(vae.sample(3, random_state=0, conditions=[["red"]]), Any)
assert_type(vae.impute(X, n_draws=2), Any)
assert_type(vae.encode(X), tuple[np.ndarray, np.ndarray])
assert_type(vae.sample_posterior(X, n_draws=2, random_state=0), np.ndarray)
assert_type(vae.score(X), float)
assert_type(vae.score_samples(X, bound="elbo"), np.ndarray)
assert_type(vae.diagnose(X), Diagnosis)
assert_type(vae.at_tau(0.5), BNVAEEstimator)
assert_type(vae.export(), torch.export.ExportedProgram)
assert_type(BNVAEEstimator.load("file"), BNVAEEstimator)
vae.save("file")
assert_type(vae.module_, VAE)
assert_type((vae.tau_, vae.lower_bound_, vae.kl_floor_), tuple[float, float, float])
assert_type((vae.n_iter_, vae.n_features_in_), tuple[int, int])
assert_type((vae.loss_curve_, vae.validation_scores_), tuple[list[float], list[float]])
assert_type(vae.history_, dict[str, list[float]])
assert_type(
    (vae.kl_per_component_, vae.noise_variance_, vae.feature_names_in_),
    tuple[np.ndarray, np.ndarray, np.ndarray],
)
BNVAEEstimator(conditions=[("numeric", ["age"])], likelihood=[("poisson", ["visits"])])
BNVAEEstimator(objective=FreeBits(0.5), posterior=MomentPosterior, likelihood=PoissonLikelihood)
BNVAEEstimator(encoder=ConvEncoder((1, 8, 8)), decoder=ConvDecoder((1, 8, 8)))
assert_type(ConvEncoder((1, 8, 8))(64), nn.Module)
with joined(timeout=60):
    vae.fit(X)

# -- the estimator of sentences ------------------------------------------------------------------

sentences, factors = assert_type(make_sentences(5, random_state=0), tuple[list[str], np.ndarray])
text = assert_type(BNVAETextEstimator(cell="gru").fit(sentences), BNVAETextEstimator)
assert_type(text.partial_fit(["a"]).sample(2, temperature=0.5), list[str])
assert_type(text.inverse_transform(X, n_beams=2), list[str])
assert_type(text.interpolate("a", "b"), list[str])
assert_type(text.perplexity(["a"]), float)
assert_type(text.score_samples(["a"]), np.ndarray)
assert_type(text.vocabulary_, dict[str, int])
assert_type(BNVAETextEstimator.load("file"), BNVAETextEstimator)

# -- the search and the curve --------------------------------------------------------------------

search = assert_type(
    BNVAEEstimatorCV(vae, taus=[0.1, 0.9], n_jobs=2).fit(X, factors), BNVAEEstimatorCV
)
assert_type(search.best_params_, dict[str, float])
assert_type((search.best_score_, search.best_index_), tuple[float, int])
assert_type(search.score(X), float)
assert_type(search.score_samples(X), np.ndarray)
assert_type(search.diagnose(X), Diagnosis)
curve = assert_type(rate_distortion_curve(vae, X, taus=[0.5]), RateDistortionCurve)
assert_type(curve.elbo, np.ndarray)

# -- displays ------------------------------------------------------------------------------------

training = assert_type(TrainingCurveDisplay.from_estimator(vae), TrainingCurveDisplay)
assert_type(training.rate_line_, Line2D)
kl_display = assert_type(KLDisplay.from_estimator(vae, X, color="red"), KLDisplay)
assert_type(KLDisplay([0.5, 0.1], floor=0.2).plot(), KLDisplay)
assert_type((kl_display.ax_, kl_display.figure_), tuple[Axes, Figure])
assert_type(LatentMapDisplay.from_estimator(vae, X, y=X[:, 0]), LatentMapDisplay)
assert_type(RateDistortionDisplay.from_estimators([vae], X), RateDistortionDisplay)
assert_type(RateDistortionDisplay.from_curve(curve), RateDistortionDisplay)
assert_type(TauTableDisplay.from_curve(curve, accuracy=[0.5]), TauTableDisplay)
assert_type(ReconstructionDisplay.from_estimator(vae, X, image_shape=(8, 8)), ReconstructionDisplay)
assert_type(TraversalDisplay.from_estimator(vae, image_shape=(8, 8)), TraversalDisplay)
assert_type(AggregatedPosteriorDisplay.from_arrays(X, X + 1), AggregatedPosteriorDisplay)
page = assert_type(Explorer.from_estimator(vae, X, image_shape=(8, 8)), Explorer)
assert_type(page.html(), str)
assert_type(page.save("page.html"), Explorer)

# -- data, bounds and diagnostics ----------------------------------------------------------------

assert_type(make_sprites(5, size=16, random_state=np.random.default_rng(0))[0], np.ndarray)
float(kl_floor(0.5, 2) + kl_floor(np.array([0.5])).sum() + tau_for_rate(1.0, 2))
assert_type(kl_per_component(X, X), np.ndarray)
assert_type(active_units(X), int)
assert_type(participation_ratio(X), float)
assert_type(mutual_information(X, X, random_state=0), float)
assert_type(missing_information(1.0, 100), float)
assert_type(energy_distance(X, X, np.random.default_rng(0)), float)
assert_type(aggregated_moments(X, X), AggregatedMoments)
assert_type(aggregated_moments(X, X).covariance, np.ndarray)
diagnosis = vae.diagnose(X)
assert_type((diagnosis.rate, diagnosis.elbo, diagnosis.verdict), tuple[float, float, str])
assert_type((diagnosis.active_units, diagnosis.saturated), tuple[int, bool])
assert_type(diagnosis.dead_components, tuple[int, ...])
assert issubclass(PosteriorCollapseWarning, UserWarning)


def of_a_module(model: VAE, rows: Any) -> tuple[Diagnosis, Gaps, tuple[np.ndarray, np.ndarray]]:
    return diagnose(model, rows), reconstruction_gaps(model, rows), encode(model, rows)


# -- the layer, and a model of one's own ---------------------------------------------------------

layer = assert_type(MomentPosterior(8, 2, gamma="theta"), MomentPosterior)
q = assert_type(layer(torch.zeros(20, 8)), Normal)
assert_type(layer.kl_floor(), float)
assert_type(layer.component_floors(), np.ndarray)
assert_type(layer.stored_moments(), Moments)
assert_type((layer.tau, layer.n_components), tuple[float, int])
layer.finalise([(torch.zeros(20, 8), None)])
assert_type(gamma_squares(0.5, x), tuple[torch.Tensor, torch.Tensor])
module = VAE(MLP(64, (8,)), layer, MLP(2, (8,), 64), GaussianLikelihood(64), StandardNormal(2))
noise = assert_type(module.noise(x, torch.Generator()), torch.Tensor)
assert_type(module(x, noise), Terms)
assert_type(module.posterior(x), Normal)
assert_type(module.likelihood(q.rsample()), Distribution)
assert_type(module.prior(), Normal)
assert_type(module.posterior_layer, Posterior)
assert_type(module.likelihood_layer, Likelihood)
assert_type(module.likelihood_layer(x), Distribution)
assert_type(module(x, noise).mean().elbo(), torch.Tensor)
assert_type(Objective()(module(x, noise).mean()), torch.Tensor)
uniform, mixing = assert_type(shared_draws(2, 2, 0), tuple[torch.Tensor, torch.Tensor])
assert_type(elbo(module, x, uniform), torch.Tensor)
assert_type(importance_bound(module, x, uniform), torch.Tensor)
MixedLikelihood([(GaussianLikelihood(1), [0]), (PoissonLikelihood(1, exposure="total"), [1])])


class Waiting(Likelihood):
    """A likelihood of one's own, in a file that is checked strictly."""

    def __init__(self, n_features: int) -> None:
        super().__init__(n_features)
        self.log_mean = nn.Parameter(torch.zeros(n_features))

    def check_support(self, X: Any) -> None:
        if np.nanmin(X) < 0.0:
            raise ValueError("times are needed")

    def forward(self, outputs: torch.Tensor) -> Distribution:
        return self.row(torch.distributions.Exponential((-outputs - self.log_mean).exp()))


class Plain(Posterior):
    """A posterior of one's own."""

    def standardise(
        self, location: torch.Tensor, spread: torch.Tensor, moments: Moments
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return location, spread.sqrt()


class Half(Objective):
    """An objective of one's own."""

    def kl_weight(self, progress: float) -> float:
        return progress / 2


BNVAEEstimator(likelihood=Waiting, posterior=Plain, objective=Half())

# -- modules of the package are its attributes ---------------------------------------------------

assert_type(skvae.datasets.make_sprites(3), tuple[np.ndarray, np.ndarray])
assert_type(skvae.diagnostics.active_units(X), int)

# -- what is wrong is found ----------------------------------------------------------------------

BNVAEEstimator("two")  # type: ignore[arg-type]
BNVAEEstimator(verbosity=1)  # type: ignore[call-arg]
vae.at_tau("high")  # type: ignore[arg-type]
vae.score_samples(X, bound="tight")  # type: ignore[arg-type]
BNVAETextEstimator(cell="rnn")  # type: ignore[arg-type]
MomentPosterior(8, 2, tau="half")  # type: ignore[arg-type]
make_sprites("many")  # type: ignore[arg-type]
KLDisplay.from_estimator(vae, ax="left")  # type: ignore[arg-type]
PoissonLikelihood(3, exposure="row")  # type: ignore[arg-type]
cell: Literal["lstm", "gru"] = "lstm"
BNVAETextEstimator(cell=cell)
