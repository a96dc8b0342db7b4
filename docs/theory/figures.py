"""Figures of the theory pages, drawn with the library itself.

conf.py calls `draw_all` at the start of a build; by hand, ``python docs/theory/figures.py``.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

from functools import partial
from pathlib import Path

import matplotlib

matplotlib.use("agg")

import numpy as np
import torch
from matplotlib import pyplot as plt
from scipy import stats

from skvae import bounds
from skvae._fit.optimizer import Adam
from skvae.posteriors import (
    BatchNormMeanPosterior,
    BatchNormPosterior,
    GaussianPosterior,
    LayerNormPosterior,
    MomentPosterior,
    Moments,
    gamma_squares,
)

STYLE = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.size": 11,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "savefig.facecolor": "white",
    "svg.hashsalt": "skvae",  # the same file at every build
}
BLUE, ORANGE, GREEN, GREY = "#1f77b4", "#d95f02", "#1b9e77", "#666666"


def kl_terms():
    figure, ax = plt.subplots(figsize=(6, 3.4))
    t = np.linspace(-3, 3, 301)
    ax.plot(t, bounds.gaussian_kl(t, 1.0), color=BLUE, label=r"of the mean, over $\mu$")
    s = np.geomspace(0.02, 3, 300)
    ax.plot(s, bounds.gaussian_kl(0.0, s), color=ORANGE, label=r"of the deviation, over $\sigma$")
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.set(xlabel=r"$\mu$ or $\sigma$", ylabel="KL divergence (nats)", ylim=(-0.15, 4.6))
    ax.legend()
    return figure


class Sentences(torch.nn.Module):
    """A VAE of binary sequences whose decoder, a GRU, also sees all former symbols."""

    def __init__(self, posterior, n_steps, width=24):
        super().__init__()
        self.encoder = torch.nn.Sequential(torch.nn.Linear(n_steps, width), torch.nn.Tanh())
        self.posterior = posterior(width, 2)
        self.decoder = torch.nn.GRU(3, width, batch_first=True)
        self.logits = torch.nn.Linear(width, 1)

    def forward(self, x):
        """Reconstruction and KL of every row."""
        q = self.posterior(self.encoder(x))
        z = q.rsample()[:, None].expand(-1, x.shape[1], -1)
        former = torch.nn.functional.pad(x, (1, 0))[:, :-1, None]
        hidden, _ = self.decoder(torch.cat([former, z], -1))
        coins = torch.distributions.Bernoulli(logits=self.logits(hidden)[..., 0])
        return coins.log_prob(x).sum(-1), rate_of(q)


def rate_of(q):
    """KL divergence of a posterior to the prior, for every row."""
    prior = torch.distributions.Normal(torch.zeros(()), torch.ones(()))
    return torch.distributions.kl_divergence(q, prior).sum(-1)


def vanishing():
    n_steps, tau = 16, 0.3
    figure, ax = plt.subplots(figsize=(6.4, 3.4))
    layers = (
        ("gaussian", GaussianPosterior, ORANGE),
        ("moment", partial(MomentPosterior, tau=tau), BLUE),
    )
    for name, posterior, color in layers:
        torch.manual_seed(0)
        model = Sentences(posterior, n_steps)
        optimizer = Adam(model.parameters(), 3e-3)
        rates = []
        for _ in range(500):
            pace = 0.1 + 0.4 * (torch.rand(100, 1) < 0.5)  # how often the symbol changes
            x = (torch.rand(100, n_steps) < pace).float().cumsum(1) % 2
            reconstruction, kl = model(x)
            loss = (kl - reconstruction).mean()
            optimizer.step(torch.autograd.grad(loss, optimizer.parameters))
            rates.append(float(kl.detach().mean()))
        ax.plot(rates, color=color, linewidth=1.5, label=f'"{name}"')
    floor = bounds.kl_floor(tau, 2)
    ax.axhline(floor, color=GREY, linestyle="--", linewidth=1.5, label=rf"floor, $\tau = {tau}$")
    ax.set(xlabel="step", ylabel="KL of the batch (nats)", ylim=(0, None))
    ax.legend()
    return figure


def shrinkage():
    figure, ax = plt.subplots(figsize=(6, 3.2))
    variance = np.geomspace(1e-11, 1, 300)
    for eps, color in ((1e-8, BLUE), (1e-5, ORANGE)):
        exponent = round(np.log10(eps))
        label = rf"$\varepsilon = 10^{{{exponent}}}$"
        ax.semilogx(variance, bounds.shrinkage(variance, eps), color=color, label=label)
    ax.axvline(1e-7, color=GREY, linestyle=":", linewidth=1.2)
    ax.annotate("a very small start", (1.4e-7, 0.45), color=GREY)
    ax.set(xlabel="variance $v$ of the raw mean head", ylabel=r"$v / (v + \varepsilon)$")
    ax.legend()
    return figure


def _through(posterior, location, spread):
    """Mean and standard deviation that a layer makes of raw heads, with their own moments."""
    spread = posterior.spread(spread)
    moments = Moments.of(*posterior.collect(location, spread))
    return posterior.standardise(location, spread, moments)


def bn_ln():
    generator = torch.Generator().manual_seed(0)
    location = torch.tensor([1.0, 0.3, -1.0]) + 1e-3 * torch.randn(200, 3, generator=generator)
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.8), sharex=True, sharey=True)
    layers = (LayerNormPosterior, BatchNormMeanPosterior)
    for ax, layer, name in zip(axes, layers, ("LN", "BN on the mean"), strict=True):
        code = _through(layer(1, 3, tau=0.5), location, torch.zeros(200, 3))[0].detach()
        spread = float(code.var(0, correction=0).mean())
        ax.scatter(code[:, 0], code[:, 1], s=14, color=BLUE, alpha=0.6, linewidth=0)
        ax.axhline(0, color=GREY, linewidth=0.6)
        ax.axvline(0, color=GREY, linewidth=0.6)
        ax.set(title=f"{name}: mean variance {spread:.2g}", xlabel=r"$\mu_1$", aspect="equal")
    axes[0].set(ylabel=r"$\mu_2$")
    return figure


def floors():
    figure, ax = plt.subplots(figsize=(6, 3.6))
    tau = np.linspace(0, 0.97, 300)
    ax.plot(tau, bounds.kl_floor(tau), color=BLUE, label=r"$-\frac{1}{2}\log(1 - \tau)$")
    ax.plot(tau, bounds.article_kl_floor(tau), color=ORANGE, label=r"$\tau/2$ (article)")
    for floor in (bounds.kl_floor, bounds.article_kl_floor):
        ax.plot(0.5, floor(0.5), "o", color="black", markersize=4)
    ax.annotate("half a bit", (0.5, bounds.kl_floor(0.5)), (0.36, 0.52))
    ax.set(xlabel=r"$\tau$", ylabel="floor of a component (nats)", ylim=(0, 1.75))
    ax.secondary_yaxis("right", functions=(lambda n: n / np.log(2), lambda b: b * np.log(2)))
    ax.text(1.09, 0.5, "bits", transform=ax.transAxes, rotation=90, va="center")
    ax.legend()
    return figure


def one_row_apart():
    """Rate and information where one row of b stands apart."""
    tau = 0.5
    sizes = np.unique(np.geomspace(3, 1000, 25).astype(int))
    z = np.linspace(-8, 40, 40_001)
    information = []
    for b in sizes:
        layer = MomentPosterior(1, 1, tau=tau, gamma="theta")
        with torch.no_grad():
            layer.theta.fill_(-10.0)  # gamma^2 = tau
        location = torch.zeros(b, 1)
        location[0] = 1.0
        loc, scale = (t.detach().numpy()[:, 0] for t in _through(layer, location, 0 * location))
        parts = stats.norm(loc[:2, None], scale[:2, None]).pdf(z)
        density = parts[0] / b + parts[1] * (b - 1) / b
        entropy = -np.trapezoid(density * np.log(density + 1e-300), z)
        information.append(entropy - 0.5 * np.log(2 * np.pi * np.e * scale[0] ** 2))
    figure, ax = plt.subplots(figsize=(6, 3.2))
    rate = np.full(len(sizes), bounds.kl_floor(tau))
    ax.semilogx(sizes, rate, color=ORANGE, label="rate = floor")
    ax.semilogx(sizes, information, color=BLUE, label="information")
    ax.fill_between(sizes, information, rate, color=ORANGE, alpha=0.12, linewidth=0)
    ax.annotate("mismatch", (60, 0.19), color=GREY)
    ax.set(xlabel="rows $b$", ylabel="nats", ylim=(0, 0.42))
    ax.legend(loc="lower left")
    return figure


def std_head():
    generator = torch.Generator().manual_seed(0)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6))
    n_batches, b = 400, 100
    layers = {
        "article": (BatchNormPosterior(1, n_batches), ORANGE),
        "moment": (MomentPosterior(1, n_batches, gamma="theta"), BLUE),
    }
    location = torch.randn(b, n_batches, generator=generator)
    raw = torch.randn(b, n_batches, generator=generator)
    for name, (layer, color) in layers.items():
        spread = raw.clone().requires_grad_()
        _, scale = _through(layer, location, spread)
        (gradient,) = torch.autograd.grad(-scale.log().mean(0).sum(), spread)
        size = np.sort(b * gradient.abs().numpy().ravel())[::-1]
        axes[1].loglog(size, np.arange(1, len(size) + 1) / len(size), color=color, label=name)
        sign = (raw[:, 0] - raw[:, 0].mean()).sign() if name == "article" else 1.0
        axes[0].plot(np.sort((sign * scale[:, 0]).detach().numpy()), color=color, label=name)
    axes[0].axhline(0, color=GREY, linewidth=0.8)
    axes[0].set(xlabel="row, sorted", ylabel=r"$\sigma$, with sign")
    axes[1].set(xlabel="$t$", ylabel="share of gradients above $t$", xlim=(0.05, None))
    for ax in axes:
        ax.legend()
    return figure


def gamma_heads():
    figure, ax = plt.subplots(figsize=(6, 3.4))
    ratio = np.geomspace(1e-3, 1e3, 300)
    for tau, color in ((0.0, GREY), (0.1, GREEN), (0.5, BLUE), (0.9, ORANGE)):
        signal = gamma_squares(tau, torch.log(torch.as_tensor(ratio)))[0]
        style = "--" if tau == 0 else "-"
        ax.semilogx(ratio, signal, color=color, linestyle=style, label=rf"$\tau = {tau:g}$")
    ax.set(xlabel="$v / r$, SNR of the raw heads", ylabel=r"$\gamma_\mu^2$", ylim=(0, 1.02))
    ax.legend()
    return figure


def water_filling():
    spectrum = 8.0 * 0.62 ** np.arange(9)
    noise, tau = 1.0, 0.5
    free = bounds.pca_rate(spectrum, noise)
    forced = bounds.kl_floor(np.maximum(bounds.pca_gamma(spectrum, noise), tau))
    figure, ax = plt.subplots(figsize=(7, 3.8))
    index = np.arange(1, 10)
    ax.bar(index, spectrum, color=[BLUE if rate > 0 else "#b9cfe4" for rate in free], width=0.7)
    ax.axhline(noise, color="black", linewidth=1.5, label="water line $s^2$")
    label = r"$s^2/(1 - \tau)$: tau binds below"
    ax.axhline(noise / (1 - tau), color=ORANGE, linestyle="--", label=label)
    for x, height, rate, other in zip(index, spectrum, free, forced, strict=True):
        top = max(height, 2.1) + 0.2
        ax.text(x, top + 0.5, f"{rate:.2f}", ha="center", fontsize=9)
        ax.text(x, top, f"{other:.2f}", ha="center", fontsize=9, color=ORANGE)
    ax.set(xlabel="component", ylabel=r"eigenvalue $\lambda$", xticks=index, ylim=(0, 9.6))
    ax.legend(title="rates in nats: free (black), with tau (orange)")
    return figure


def tau_price():
    figure, ax = plt.subplots(figsize=(6, 3.4))
    rho = np.linspace(1e-9, 4, 800)
    for tau, color in ((0.2, GREEN), (0.5, BLUE), (0.7, ORANGE)):
        best = bounds.pca_gamma(rho, 1.0)
        least = np.maximum(best, tau)
        price = bounds.kl_floor(least) - bounds.kl_floor(best) - 0.5 * rho * (least - best)
        ax.plot(rho, price, color=color, label=rf"$\tau = {tau:g}$")
        ax.plot(1 / (1 - tau), 0, "o", color=color, markersize=5, clip_on=False)
    ax.axvline(1, color=GREY, linestyle=":", linewidth=1.2)
    ax.set(xlabel=r"$\rho = \lambda / s^2$", ylabel="price (nats)", ylim=(0, None), xlim=(0, 4))
    ax.legend()
    return figure


def mi_saturation():
    generator = torch.Generator().manual_seed(0)
    sizes = np.unique(np.geomspace(2, 1500, 14).astype(int))
    figure, ax = plt.subplots(figsize=(6, 3.6))
    share = 0.9
    for d, color in ((2, GREEN), (4, BLUE), (12, ORANGE)):
        estimates = []
        for n_rows in sizes:
            loc = share**0.5 * torch.randn(n_rows, d, generator=generator)
            z = loc + (1 - share) ** 0.5 * torch.randn(n_rows, d, generator=generator)
            q = torch.distributions.Normal(loc, torch.full_like(loc, (1 - share) ** 0.5))
            log_q = q.log_prob(z[:, None]).sum(-1)
            estimates.append(float((log_q.diagonal() - log_q.logsumexp(1)).mean()) + np.log(n_rows))
        ax.semilogx(sizes, estimates, "o-", color=color, markersize=4, label=f"{d} components")
        truth = bounds.kl_floor(share, d)
        if truth < 9:
            ax.axhline(truth, color=color, linestyle="--", linewidth=1)
    ax.semilogx(sizes, np.log(sizes), color="black", linewidth=1, label=r"$\log N$")
    ax.set(xlabel="rows $N$", ylabel="estimated information (nats)", ylim=(0, 8))
    ax.legend()
    return figure


FIGURES = (
    kl_terms,
    vanishing,
    shrinkage,
    bn_ln,
    floors,
    one_row_apart,
    std_head,
    gamma_heads,
    water_filling,
    tau_price,
    mi_saturation,
)


def draw_all(outdir):
    """Write every figure that is missing or older than this file, as SVG."""
    outdir = Path(outdir)
    outdir.mkdir(parents=True, exist_ok=True)
    changed = Path(__file__).stat().st_mtime
    for draw in FIGURES:
        path = outdir / f"{draw.__name__}.svg"
        if path.exists() and path.stat().st_mtime >= changed:
            continue
        with plt.rc_context(STYLE), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            figure = draw()
            figure.savefig(path, metadata={"Date": None})
            plt.close(figure)


if __name__ == "__main__":
    draw_all(Path(__file__).parent / "_figures")
