"""A diagnosis as text and as HTML."""

from html import escape

import numpy as np

MOST_COMPONENTS = 16  # shown in text; of more, the first and the last eight


def as_text(diagnosis):
    """Return the verdict, a line for each measure and a line for each component."""
    summary = summary_lines(diagnosis)
    names, values = (max(len(line[k]) for line in summary) for k in (0, 1))
    lines = [_title(diagnosis) + diagnosis.verdict, ""]
    lines += [f"{name:{names}}  {value:>{values}}  {remark}" for name, value, remark in summary]
    components = component_lines(diagnosis)
    if len(components) > MOST_COMPONENTS:
        half = MOST_COMPONENTS // 2
        components = [*components[:half], ("...",) * 4, *components[-half:]]
    lines += ["", "component        KL     floor  Var mean   (KL and floor in nats)"]
    lines += [f"{j:>9}{kl:>10}{floor:>10}{var:>10}" for j, kl, floor, var in components]
    return "\n".join(lines)


def as_html(diagnosis):
    """Return the verdict and a table of the measures, with the components folded away below."""
    header = "component", "KL (nats)", "floor (nats)", "variance of the mean"
    return (
        f"<p><b>{_title(diagnosis)}</b>{escape(diagnosis.verdict)}</p>"
        f"<table>{_html_rows('td', summary_lines(diagnosis))}</table>"
        f"<details><summary>Components</summary><table>{_html_rows('th', [header])}"
        f"{_html_rows('td', component_lines(diagnosis))}</table></details>"
    )


def summary_lines(diagnosis):
    """Return name, value and remark of each measure, as text."""
    d = len(diagnosis.kl_per_component)
    n_samples = diagnosis.n_samples
    moments = diagnosis.moments
    limit = f"nats, of at most log {n_samples} = {np.log(n_samples):.2f}"
    saturated = ": saturated" if diagnosis.saturated else ""
    floor = diagnosis.floor_per_component.sum()
    return [
        ("rate", f"{diagnosis.rate:.3f}", f"nats, floor {floor:.3f}"),
        ("distortion", f"{diagnosis.distortion:.3f}", "nats"),
        ("ELBO", f"{diagnosis.elbo:.3f}", "nats"),
        (
            "importance bound",
            f"{diagnosis.importance_bound:.3f}",
            f"nats, {diagnosis.n_draws} draws",
        ),
        ("mutual information", f"{diagnosis.mutual_information:.3f}", limit + saturated),
        ("lost by shuffled codes", f"{diagnosis.shuffled_gap:.3f}", "nats"),
        ("lost by codes of the prior", f"{diagnosis.prior_gap:.3f}", "nats"),
        ("live components", f"{diagnosis.active_units}", f"of {d}"),
        ("participation ratio", f"{diagnosis.participation_ratio:.2f}", f"of {d}"),
        ("aggregated |mean|", f"{moments.mean_error:.3f}", "largest; prior 0"),
        ("aggregated |variance - 1|", f"{moments.variance_error:.3f}", "largest; prior 0"),
        ("aggregated |covariance|", f"{moments.covariance_error:.3f}", "largest; prior 0"),
        ("energy distance", f"{diagnosis.energy_distance:.4f}", "of 1; prior 0"),
    ]


def component_lines(diagnosis):
    """Return index, KL, floor and variance of the mean of each component, as text."""
    columns = (
        diagnosis.kl_per_component,
        diagnosis.floor_per_component,
        np.diag(diagnosis.moments.signal),
    )
    return [
        (str(j), *(f"{value:.3f}" for value in values))
        for j, values in enumerate(zip(*columns, strict=True))
    ]


def _title(diagnosis):
    return f"Diagnosis of {diagnosis.n_samples} rows: "


def _html_rows(tag, rows):
    """Return the rows of an HTML table, with each cell in this kind of tag."""
    cells = ("".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) for row in rows)
    return "".join(f"<tr>{row}</tr>" for row in cells)
