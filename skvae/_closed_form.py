"""A gradient in closed form where autograd would spend its time on calls, not on arithmetic.

The equation stands in plain words elsewhere and is what the closed form is tested against. It
is declared once differentiable: whoever asks for second derivatives gets an error, not a wrong
number, and takes the plain equation instead.
"""

import torch
from torch.autograd.function import once_differentiable


class MatchedMoments(torch.autograd.Function):
    """The gradient of `skvae.posteriors.MomentPosterior` in its raw heads, while training.

    ``mu = sqrt(signal) (m - E m) + const`` and ``sigma^2 = noise r`` with
    ``signal = tau / V + rest``, ``noise = rest + eps signal / R``, ``rest = (1 - tau) / (V + R)``
    and ``V = Var m + eps``, ``R = E r``, ``r = exp(l)``. The values of V and R are running ones,
    their relative changes those of the batch, of which a share q flows: with the share w of each
    row in the batch, its centered mean head c and its own moments V_B and R_B::

        dE m = w dm,    dV = q (V - eps) 2 w c dm / V_B,    dR = q R w r dl / R_B
    """

    @staticmethod
    def forward(ctx, heads, loc, scale, share, tau, eps, *known):
        ctx.save_for_backward(heads, scale, *known)
        ctx.share, ctx.tau, ctx.eps = share, tau, eps
        return loc.view_as(loc), scale.view_as(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx, g_loc, g_scale):
        heads, scale, spread, mean, own_variance, own_square, *known = ctx.saved_tensors
        variance, square, signal, root, noise, flow = known
        share, tau, eps = ctx.share, ctx.tau, ctx.eps
        total = variance + eps
        both = total + square
        centered = heads[:, : len(mean)] - mean
        g_log_scale = g_scale * scale
        # Twice the gradient in each of these, which have no rows.
        g_noise = g_log_scale.sum(0) / noise
        g_signal = (g_loc * centered).sum(0).div_(root)
        g_signal = torch.addcdiv(g_signal, g_noise, square, value=eps)
        less = (g_signal + g_noise).mul_(1 - tau).div_(both * both)  # in V and in R alike
        in_v = torch.addcdiv(less, g_signal, total * total, value=tau)
        in_r = torch.addcdiv(less, g_noise * signal, square * square, value=eps)
        in_v.mul_(flow).mul_(variance).div_(own_variance.clamp_min(torch.finfo(mean.dtype).tiny))
        in_r.mul_(flow).mul_(square).div_(own_square)
        g_location = root * _less(g_loc, share, g_loc.sum(0))
        g_location = _less(g_location, share, in_v, centered)
        g_head = _less(g_log_scale, share, in_r, spread).mul_(0.5)
        return torch.cat([g_location, g_head], dim=-1), *[None] * (5 + len(ctx.saved_tensors) - 2)


def _less(gradient, share, total, direction=None):
    """``gradient - share * total * direction``: what goes through a moment, by each row's share."""
    if direction is None:
        return gradient - share * total
    if isinstance(share, float):  # in one step
        return torch.addcmul(gradient, total, direction, value=-share)
    return gradient - share * total * direction
