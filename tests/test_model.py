"""The model hands rows, codes, weights and context to the right parts."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence
from torch.testing import assert_close

from skvae._data.rows import Batch
from skvae._fit.torch_state import multiplications_per_row
from skvae.likelihoods import LIKELIHOODS
from skvae.model import VAE
from skvae.networks import MLP
from skvae.objectives import elbo_terms
from skvae.posteriors import POSTERIORS
from skvae.priors import StandardNormal

N_FEATURES, D, N_CONTEXT = 5, 2, 3


def make(posterior="moment", likelihood="gaussian", n_context=0):
    columns = [3] * N_FEATURES if likelihood == "categorical" else N_FEATURES
    likelihood = LIKELIHOODS[likelihood](columns)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return VAE(
            MLP(likelihood.n_inputs, (8,), context_features=n_context),
            POSTERIORS[posterior](8, D),
            MLP(D, (8,), likelihood.n_outputs, context_features=n_context),
            likelihood,
            StandardNormal(D),
        )


generator = torch.Generator().manual_seed(0)
x, z = (torch.randn(6, n, generator=generator) for n in (N_FEATURES, D))


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_the_posterior_has_a_code_for_every_row(posterior):
    assert make(posterior).posterior(x).batch_shape == (6, D)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_likelihood_has_a_row_for_every_code(likelihood):
    p = make(likelihood=likelihood).likelihood(z)
    assert (p.batch_shape, p.event_shape) == ((6,), (N_FEATURES,))


def test_the_prior_has_a_distribution_for_every_component():
    assert make().prior().batch_shape == (D,)


def test_the_posterior_is_that_of_the_encoders_features():
    vae = make("gaussian")
    features = vae.encoder(x)
    assert_close(vae.features(x), features)
    assert_close(vae.posterior(x).loc, vae.posterior_layer(features).loc)


def test_the_likelihood_is_that_of_the_decoders_outputs():
    vae = make()
    assert_close(vae.likelihood(z).mean, vae.decoder(z))


def test_weights_reach_the_moments():
    vae, weight = make(), torch.tensor([1.0, 0, 0, 2.0, 1.0, 0])
    mean = weight @ vae.posterior(x, weight=weight).loc / weight.sum()
    assert_close(mean, torch.zeros(D), atol=1e-6, rtol=0)


def test_both_networks_are_told_the_context():
    vae = make("gaussian", n_context=N_CONTEXT)
    zeros, ones = torch.zeros(6, N_CONTEXT), torch.ones(6, N_CONTEXT)
    assert not torch.allclose(vae.features(x, zeros), vae.features(x, ones))
    assert not torch.allclose(vae.posterior(x, zeros).loc, vae.posterior(x, ones).loc)
    assert not torch.allclose(vae.likelihood(z, zeros).mean, vae.likelihood(z, ones).mean)


def test_without_context_networks_take_one_argument():
    # Any module from rows to rows will do, nn.Linear too.
    vae = VAE(
        nn.Linear(5, 4),
        POSTERIORS["moment"](4, D),
        nn.Linear(D, 5),
        LIKELIHOODS["gaussian"](5),
        StandardNormal(D),
    )
    assert vae.likelihood(vae.posterior(x).loc).log_prob(x).shape == (6,)


def test_noise_is_the_generators():
    vae = make()
    first, second = (vae.noise(x, torch.Generator().manual_seed(3)) for _ in range(2))
    assert first.shape == (6, D)
    assert_close(first, second, rtol=0, atol=0)
    assert not torch.equal(first, vae.noise(x, torch.Generator().manual_seed(4)))


def test_noise_has_the_precision_of_the_model():
    generator = torch.Generator().manual_seed(3)
    for dtype in (torch.float32, torch.float64):
        assert make().to(dtype).noise(torch.zeros(2, 5), generator).dtype == dtype


def test_noise_leaves_the_process_generator_alone():
    before = torch.get_rng_state()
    make().noise(x, torch.Generator().manual_seed(3))
    assert torch.equal(torch.get_rng_state(), before)


def test_finalised_rows_have_the_moments_of_the_prior():
    vae = make().double().eval()
    vae.finalise([Batch(x[:2].double()), Batch(x[2:].double())])
    q = vae.posterior(x.double())
    assert_close(q.loc.mean(0), torch.zeros(D).double(), atol=1e-12, rtol=0)
    second = (q.loc.square() + q.scale.square()).mean(0)
    assert_close(second, torch.ones(D).double(), atol=1e-10, rtol=0)


def test_finalising_passes_weight_and_context_on():
    vae = make(n_context=N_CONTEXT).double().eval()
    context, weight = torch.randn(6, N_CONTEXT).double(), torch.rand(6).double()
    vae.finalise([Batch(x.double(), weight, context)])
    loc = vae.posterior(x.double(), context).loc
    assert_close(weight @ loc, torch.zeros(D).double(), atol=1e-12, rtol=0)


def test_finalising_merges_with_previous_moments():
    vae = make().double().eval()
    batches = [Batch(x[:2].double()), Batch(x[2:].double())]
    vae.finalise(batches)
    together = [moment.clone() for moment in vae.posterior_layer.stored_moments()]
    vae.finalise(batches[:1])
    previous = vae.posterior_layer.stored_moments()
    previous = previous._replace(**{k: v.clone() for k, v in previous._asdict().items()})
    vae.finalise(batches[1:], previous)
    assert_close(list(vae.posterior_layer.stored_moments()), together)


def test_finalising_needs_no_gradient():
    vae = make()
    vae.finalise([Batch(x)])
    assert not any(buffer.requires_grad for buffer in vae.buffers())


def test_the_encoder_is_given_what_the_likelihood_lets_it_see():
    vae = make(likelihood="categorical")
    rows = torch.tensor([[0.0, 1.0, 2.0, 0.0, 1.0]])
    assert_close(
        vae.features(rows), vae.encoder(nn.functional.one_hot(rows.long(), 3).flatten(1).float())
    )


# -- work ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_context", [0, N_CONTEXT])
@pytest.mark.parametrize(
    ("posterior", "likelihood"),
    [
        *((posterior, "gaussian") for posterior in POSTERIORS),
        *(("moment", likelihood) for likelihood in LIKELIHOODS if likelihood != "gaussian"),
    ],
)
def test_a_row_of_a_table_meets_each_weight_once(posterior, likelihood, n_context):
    vae = make(posterior, likelihood, n_context)
    context = torch.zeros(6, n_context) if n_context else None
    parts = [
        Batch(x[part].abs().floor().clamp(max=1), None, None if context is None else context[part])
        for part in (slice(2), slice(2, 6))
    ]
    n_inputs, n_outputs = vae.likelihood_layer.n_inputs, vae.likelihood_layer.n_outputs
    encoder, decoder = (n_inputs + n_context) * 8, (D + n_context) * 8 + 8 * n_outputs
    assert multiplications_per_row(vae, parts) == encoder + 8 * 2 * D + decoder


def around(layer, shape):
    """A model whose encoder is a layer of rows of that shape, and the work of the rest."""

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            out = self.layer(x.view(-1, *shape))
            return (out[0] if isinstance(out, tuple) else out).flatten(1)[:, :1]

    n = torch.Size(shape).numel()
    posterior, likelihood = POSTERIORS["gaussian"](1, D), LIKELIHOODS["gaussian"](n)
    vae = VAE(Encoder(), posterior, nn.Linear(D, n), likelihood, StandardNormal(D))
    return vae, torch.zeros(6, n), 2 * D + D * n


class Packed(nn.Module):
    """Reads the first three steps of a row, and of the last two rows only the first."""

    def __init__(self):
        super().__init__()
        self.recurrence = nn.GRU(3, 4)

    def forward(self, x):
        lengths = [3] * (len(x) - 2) + [1, 1]
        packed = pack_sequence([row[:n] for row, n in zip(x, lengths, strict=True)])
        return self.recurrence(packed)[1].transpose(0, 1)


class Attention(nn.MultiheadAttention):
    def forward(self, x):
        return super().forward(x, x, x)


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.Linear(3, 4), (5, 3), 5 * 12),
        (nn.Conv1d(3, 4, 2), (3, 7), 6 * 3 * 4 * 2),
        (nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), (4, 5, 7), 3 * 4 * 6 * 2 * 9),
        (nn.Conv3d(1, 2, 3, padding="same"), (1, 2, 3, 4), 24 * 2 * 27),
        (nn.ConvTranspose2d(4, 6, 3, stride=2), (4, 3, 5), 15 * 4 * 6 * 9),
        (nn.LSTM(3, 4, batch_first=True, bidirectional=True), (5, 3), 5 * 2 * 4 * (12 + 16)),
        (nn.GRU(3, 4, num_layers=2, batch_first=True), (5, 3), 5 * 3 * (12 + 16 + 16 + 16)),
        (Packed(), (5, 3), (4 * 3 + 2 * 1) / 6 * 3 * (12 + 16)),
        # The layer that puts heads together is read and not called: its weights count once.
        (Attention(4, 2, batch_first=True), (5, 4), 5 * 3 * 16 + 16),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_a_weight_counts_as_often_as_a_row_meets_it(layer, shape, expected):
    vae, rows, rest = around(layer, shape)
    assert multiplications_per_row(vae, [Batch(rows)]) == expected + rest


def test_vectors_that_are_looked_up_are_no_work():
    class Words(nn.Embedding):
        def forward(self, x):
            return super().forward(x.long()).flatten(1)

    vae, rows, rest = around(Words(9, 4), (5,))
    assert multiplications_per_row(vae, [Batch(rows)]) == rest


def test_a_layer_counts_whenever_it_is_called():
    layer = nn.Linear(3, 3)
    vae, rows, rest = around(nn.Sequential(layer, nn.ReLU(), layer), (3,))
    assert multiplications_per_row(vae, [Batch(rows)]) == 2 * 9 + rest


def test_weights_that_are_made_of_others_count_once():
    layer = nn.utils.parametrizations.orthogonal(nn.Linear(3, 3, bias=False))
    vae, rows, rest = around(layer, (3,))
    assert multiplications_per_row(vae, [Batch(rows)]) == 9 + rest


@pytest.mark.parametrize("training", [True, False])
def test_counting_leaves_the_model_as_it_was(training):
    vae, rows, _ = around(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout()), (3,))
    vae.train(training)
    before = (
        {name: value.clone() for name, value in vae.state_dict().items()},
        torch.get_rng_state(),
    )
    multiplications_per_row(vae, [Batch(rows)])
    assert_close((vae.state_dict(), torch.get_rng_state()), before, rtol=0, atol=0)
    assert all(layer.training == training for layer in vae.modules())
    assert not any(layer._forward_hooks for layer in vae.modules())


def test_counting_that_fails_leaves_the_model_as_it_was():
    vae = make()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        multiplications_per_row(vae, [Batch(x[:, :2])])
    assert vae.encoder.training
    assert not any(layer._forward_hooks for layer in vae.modules())


# -- the two terms of the ELBO -----------------------------------------------------------------


def test_calling_the_model_gives_the_terms_of_the_elbo():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = MLP(5, (8,)), POSTERIORS["moment"](8, 2), MLP(2, (8,), 5)
        vae = VAE(*layers, LIKELIHOODS["gaussian"](5), StandardNormal(2)).eval()
    x, noise = torch.linspace(-1, 1, 35).view(7, 5), torch.linspace(-1, 1, 14).view(7, 2)
    assert_close(vae(x, noise), elbo_terms(vae, x, noise), rtol=0, atol=0)
    q = vae.posterior(x)
    expected = vae.likelihood(q.loc + q.scale * noise).log_prob(x)
    assert_close(vae(x, noise).reconstruction, expected, rtol=0, atol=0)
