"""Gradients in closed form, where autograd would spend more time on calls than on arithmetic.

A normal distribution is made in the same way, in a shorter time than by its constructor.
"""

import torch
from torch.autograd.function import once_differentiable
from torch.distributions import Distribution, Normal


def normal(loc, scale, cls=Normal):
    """Make a normal distribution of two tensors of one shape.

    The constructor would broadcast them, which takes longer than the rest of it, and again as long
    in the backward pass.
    """
    q = cls.__new__(cls)
    q.loc, q.scale = loc, scale
    Distribution.__init__(q, loc.shape, validate_args=False)
    return q


class MatchedMoments(torch.autograd.Function):
    """Linear heads and `skvae.posteriors.MomentPosterior` in training, with their gradient.

    ``mu = sqrt(signal) (m - E m) + const`` and ``sigma^2 = noise r`` with
    ``signal = tau / V + rest``, ``noise = rest + eps signal / R``, ``rest = (1 - tau) / (V + R)``
    and ``V = Var m + eps``, ``R = E r``, ``r = exp(l)``. The values of V and R are running ones,
    their relative changes those of the batch, of which a share q flows: with the share w of each
    row in the batch, its centered first head c and the batch's own moments V_B and R_B::

        dE m = w dm,    dV = q (V - eps) 2 w c dm / V_B,    dR = q R w r dl / R_B

    The bias of the first head gets no gradient, as in `skvae.posteriors.Heads`. Tests compare
    values and gradients with those of `standardise` under autograd. A second derivative raises an
    error; ``closed_form = False`` on the posterior selects the equations that have one.
    """

    @staticmethod
    def forward(
        ctx, features, weight, bias, location, spread, row_share, batch, running, share, tau, eps
    ):
        variance, square = running.variance, running.mean_square
        total = variance + eps
        inverse, inverse_of_both = total.reciprocal(), (total + square).reciprocal_()
        rest = (1 - tau) * inverse_of_both
        signal = torch.add(rest, inverse, alpha=tau)
        noise = torch.addcdiv(rest, signal, square, value=eps)
        root = signal.sqrt()
        centered = location - batch.mean
        loc = torch.addcmul((batch.mean - running.mean).mul_(root), root, centered)
        scale = (noise * spread).sqrt_()
        flow = torch.add(square, total, alpha=share).mul_(inverse_of_both)
        smallest = torch.finfo(spread.dtype).tiny
        flow_v = (flow * variance).div_(batch.variance.clamp_min(smallest))
        flow_r = flow.mul_(square).div_(batch.mean_square)
        curvature = rest.mul_(inverse_of_both)
        known = inverse, square, signal, root, noise, curvature, flow_v, flow_r
        ctx.save_for_backward(features, weight, centered, spread, scale, *known)
        ctx.row_share, ctx.tau, ctx.eps = row_share, tau, eps
        return loc, scale

    @staticmethod
    @once_differentiable
    def backward(ctx, g_loc, g_scale):
        features, weight, centered, spread, scale, *known = ctx.saved_tensors
        inverse, square, signal, root, noise, curvature, flow_v, flow_r = known
        share, tau, eps = ctx.row_share, ctx.tau, ctx.eps
        g_log_scale = g_scale * scale
        # Sums over the rows: twice the gradient with respect to noise, signal, V and R.
        g_noise = g_log_scale.sum(0).div_(noise)
        g_signal = (g_loc * centered).sum(0).div_(root).addcdiv_(g_noise, square, value=eps)
        less = (g_signal + g_noise).mul_(curvature)  # the part that V and R have in common
        in_v = torch.addcmul(less, g_signal, inverse.square(), value=tau).mul_(flow_v)
        in_r = less.addcdiv_(g_noise.mul_(signal), square.square(), value=eps).mul_(flow_r)
        g_mean = g_loc.sum(0)
        if isinstance(share, float):
            g_location = torch.sub(g_loc, g_mean, alpha=share).mul_(root)
            g_location.addcmul_(in_v, centered, value=-share)
            g_log_scale.addcmul_(in_r, spread, value=-share)
        else:
            g_location = (g_loc - share * g_mean).mul_(root).sub_(share * in_v * centered)
            g_log_scale.sub_(share * in_r * spread)
        g_heads = torch.cat([g_location, g_log_scale.mul_(0.5)], dim=-1)
        g_bias = g_heads.sum(0)
        g_bias[: len(root)] = 0.0
        needed = ctx.needs_input_grad
        return (
            g_heads @ weight if needed[0] else None,
            g_heads.t() @ features if needed[1] else None,
            g_bias if needed[2] else None,
            *[None] * 8,
        )


class KLToStandardNormal(torch.autograd.Function):
    """``KL = 1/2 (mu^2 + sigma^2 - 1) - log sigma`` of a normal distribution to the standard one.

    ``dKL = mu dmu + (sigma - 1 / sigma) dsigma``, which can itself be differentiated.
    """

    @staticmethod
    def forward(ctx, loc, scale):
        ctx.save_for_backward(loc, scale)
        less = scale.log().addcmul_(loc, loc, value=-0.5).addcmul_(scale, scale, value=-0.5)
        return -0.5 - less

    @staticmethod
    def backward(ctx, gradient):
        loc, scale = ctx.saved_tensors
        return gradient * loc, torch.addcdiv(gradient * scale, gradient, scale, value=-1.0)
