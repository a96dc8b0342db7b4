"""Sphinx settings. The build reaches no network, and its pages need none to be read."""

import importlib.util
import os
import re
import shutil
import sys
import zlib
from html import escape
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
os.environ.setdefault("MPLBACKEND", "agg")

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE), str(HERE / "theory"), str(HERE / "_lesson")]

import skvae

# -- project -----------------------------------------------------------------------------

project = "skvae"
author = "The skvae developers"
project_copyright = f"2026, {author}"
release = skvae.__version__
version = ".".join(release.split(".")[:2])
language = "en"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "sphinx_design",
    "sphinx_copybutton",
    "sphinxcontrib.bibtex",
]
needs_sphinx = "8.2"
nitpicky = True
exclude_patterns = ["_build", "_inventories", "_vendor"]
templates_path = ["_templates"]
numfig = True
math_numfig = True
math_eqref_format = "({number})"
highlight_language = "python3"
maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# -- formulas ----------------------------------------------------------------------------
# MathJax 3 as one local file. MathJax 4, Sphinx's default, asks a server for its fonts. The
# package that brings the file is no extension here: it would copy ten times as much.


def _vendor_mathjax():
    """Copy the one file of MathJax that the pages need to where they look for it."""
    package = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent
    target = HERE / "_vendor" / "mathjax"
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy2(package / "static" / "mathjax" / "tex-svg-full.js", target)
    return "mathjax/tex-svg-full.js"


mathjax_path = _vendor_mathjax()
mathjax3_config = {
    "tex": {
        "macros": {
            "E": r"\mathbb{E}",
            "KL": [r"D_{\mathrm{KL}}\left(#1 \,\|\, #2\right)", 2],
        },
        "tags": "none",
    },
}

# -- API pages ---------------------------------------------------------------------------

autosummary_generate = True
autosummary_generate_overwrite = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
numpydoc_attributes_as_param_list = True
numpydoc_xref_param_type = False
numpydoc_validation_checks = {
    "all",  # but for:
    "ES01",  # an extended summary,
    "EX01",  # an example
    "SA01",  # and a "See Also" section, where there is nothing to add;
    "GL01",  # text that starts on the line of the quotes
    "PR06",  # the type names that scikit-learn uses;
    "RT02",  # a name for what is returned, where its type says it;
    "SS05",  # a first word that ends in s, which need not be a verb;
    "YD01",  # and what a generator yields.
}
numpydoc_validation_exclude = {
    # scikit-learn's own
    r"\.(get|set)_params$",
    r"\.set_.*_request$",
    r"\.get_metadata_routing$",
    r"\.set_output$",
    r"\.set_callbacks$",
    r"\.fit_transform$",
    r"\.get_feature_names_out$",
}
doctest_global_setup = """
from importlib.util import find_spec
import numpy as np
import torch
HAS_ONNX = all(map(find_spec, ("onnx", "onnxscript", "onnxruntime")))
"""

# -- gallery -----------------------------------------------------------------------------

sphinx_gallery_conf = {
    "examples_dirs": ["../tutorials"],
    "gallery_dirs": ["tutorials"],
    "filename_pattern": r"[\\/]plot_",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("matplotlib",),
    "thumbnail_size": (520, 364),  # twice as many pixels as the style sheet shows
    "doc_module": ("skvae",),
    "backreferences_dir": "generated/backreferences",
    "inspect_global_variables": True,
    "reset_modules": ("matplotlib", "gallery.strict"),
    "reset_modules_order": "both",
    "min_reported_time": 0,
    "show_memory": False,
    "write_computation_times": False,
    "remove_config_comments": True,
    "download_all_examples": False,
    "plot_gallery": os.environ.get("SKVAE_GALLERY", "True"),  # False: quick, without figures
}

# -- names of other projects, without asking their servers -------------------------------


def _inventory(name, title, number, url, names):
    """Write an intersphinx inventory of just the names that these pages use."""
    path = HERE / "_inventories" / f"{name}.inv"
    path.parent.mkdir(exist_ok=True)
    head = f"# Sphinx inventory version 2\n# Project: {title}\n# Version: {number}\n"
    head += "# The remainder of this file is compressed using zlib.\n"
    body = "".join(f"{line}\n" for line in names).encode()
    data = head.encode() + zlib.compress(body, 9)
    if not path.exists() or path.read_bytes() != data:
        path.write_bytes(data)
    return url, (str(path.relative_to(HERE)),)


def _sklearn(name, role="class"):
    return f"sklearn.{name} py:{role} 1 modules/generated/sklearn.{name}.html#$ -"


intersphinx_mapping = {
    "sklearn": _inventory(
        "sklearn",
        "scikit-learn",
        "1.9",
        "https://scikit-learn.org/stable/",
        [
            _sklearn("callback.ProgressBar"),
            _sklearn("callback.ScoringMonitor"),
            _sklearn("compose.make_column_selector"),
            _sklearn("compose.make_column_transformer", "function"),
            _sklearn("datasets.load_digits", "function"),
            _sklearn("decomposition.FactorAnalysis"),
            _sklearn("decomposition.PCA"),
            _sklearn("feature_extraction.text.CountVectorizer"),
            _sklearn("linear_model.LogisticRegression"),
            _sklearn("model_selection.GridSearchCV"),
            _sklearn("neighbors.KNeighborsClassifier"),
            _sklearn("pipeline.Pipeline"),
            _sklearn("preprocessing.MinMaxScaler"),
            _sklearn("preprocessing.StandardScaler"),
            _sklearn("utils.metadata_routing.MetadataRequest"),
            "sklearn.set_config py:function 1 modules/generated/sklearn.set_config.html#$ -",
            "meta-estimator std:term -1 glossary.html#term-meta-estimator -",
            "random_state std:term -1 glossary.html#term-random_state -",
            "fit std:term -1 glossary.html#term-fit -",
            "metadata_routing std:label -1 metadata_routing.html#metadata-routing Metadata Routing",
            "df_output_transform std:label -1 data_transforms.html#df-output-transform set_output",
            "sphx_glr_auto_examples_miscellaneous_plot_set_output.py std:label -1 "
            "auto_examples/miscellaneous/plot_set_output.html Introducing the set_output API",
        ],
    ),
    "torch": _inventory(
        "torch",
        "PyTorch",
        "2.13",
        "https://docs.pytorch.org/docs/stable/",
        [
            "torch.nn.Module py:class 1 generated/torch.nn.Module.html#$ -",
            "torch.nn.modules.module.Module py:class 1 generated/torch.nn.Module.html -",
            "torch.nn.modules.rnn.LSTM py:class 1 generated/torch.nn.LSTM.html -",
            "torch.nn.BatchNorm1d py:class 1 generated/torch.nn.BatchNorm1d.html#$ -",
            "torch.nn.LayerNorm py:class 1 generated/torch.nn.LayerNorm.html#$ -",
            "torch.set_num_threads py:function 1 generated/torch.set_num_threads.html#$ -",
            "torch.distributions.normal.Normal py:class 1 distributions.html#$ -",
            "torch.distributions.distribution.Distribution py:class 1 distributions.html#$ -",
            "torch.distributions.independent.Independent py:class 1 distributions.html#$ -",
        ],
    ),
}

# -- bibliography ------------------------------------------------------------------------

bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "unsrt"
bibtex_reference_style = "author_year"

# -- HTML --------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = "skvae"
html_logo = html_favicon = "_static/logo.svg"
html_baseurl = "https://skvae.readthedocs.io/en/stable/"
(HERE / "_lesson" / "built").mkdir(exist_ok=True)
html_static_path = ["_static", "_vendor", "_lesson/built"]
html_css_files = ["custom.css", "play.css"]
html_show_sourcelink = False
html_copy_source = False
html_context = {
    "default_mode": "auto",
    "github_user": "skvae",
    "github_repo": "skvae",
    "github_version": "main",
    "doc_path": "docs",
}
html_sidebars = {
    page: []
    for page in (
        "index",
        "tour",
        "read_the_code",
        "glossary",
        "extending",
        "design",
        "benchmarks",
        "remedies",
        "changelog",
        "references",
        "statements",
        "play",
        "zh/play",
    )
}
html_theme_options = {
    "header_links_before_dropdown": 6,
    "navigation_with_keys": False,
    "pygments_light_style": "tango",
    "pygments_dark_style": "monokai",
    "logo": {"text": "skvae"},
    "use_edit_page_button": True,
    "secondary_sidebar_items": ["page-toc", "edit-this-page"],
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}
linkcheck_ignore = [r".*"]

# -- small helpers -----------------------------------------------------------------------

CHANGELOG = HERE.parent / "CHANGELOG.md"


def _rst(markdown):
    """The Markdown that a changelog needs, as reStructuredText."""
    text = re.sub(r"\A# .*\n", "", markdown)
    text = re.sub(r"(?<!`)`([^`\n]+)`(?!`)", r"``\1``", text)
    text = re.sub(r"\[([^\]]+)\]\((\S+?)\)", r"`\1 <\2>`__", text)
    for mark, line in ("### ", "~"), ("## ", "-"):
        text = re.sub(
            rf"^{mark}(.*)$", lambda m, line=line: f"{m[1]}\n{line * len(m[1])}\n", text, flags=re.M
        )
    return text


def _draw_figures(app):
    """Draw what the theory pages show, with the library as it is."""
    from figures import draw_all

    draw_all(HERE / "theory" / "_figures")


def _build_lesson(app):
    """Fit what the pages in the browser need, unless that is done."""
    from make_lesson import write

    write()


def _play(app, pagename, templatename, context, doctree):
    """Give the lesson its script, in either language."""
    if pagename in ("play", "zh/play"):
        app.add_js_file("lesson.js", loading_method="defer")


CARD = """
<meta property="og:title" content="{title}">
<meta property="og:type" content="website">
<meta property="og:url" content="{base}{page}.html">
<meta property="og:site_name" content="skvae">
<meta property="og:description" content="Variational autoencoders that do not collapse">
<meta property="og:image" content="{base}_static/card.png">
<meta property="og:image:alt" content="A model of handwritten digits, explored in the browser">
<meta name="twitter:card" content="summary_large_image">
"""


def _describe_page(app, pagename, templatename, context, doctree):
    """Say what others show of a page that links to it: its title, and a picture."""
    title = escape(re.sub(r"<[^>]*>", "", context.get("title", project)))
    tags = CARD.format(title=title, base=html_baseurl, page=pagename)
    context["metatags"] = context.get("metatags", "") + tags


def _number_statements(app, env):
    """Number formulas as their statements, S1 and so on, and figures, alike in each language."""
    page = (HERE / "statements.rst").read_text(encoding="utf-8")
    numbers = {label: number for number, label in re.findall(r"- (S\d+)\n.*:eq:`(.+?)`", page)}
    for kinds in env.toc_fignumbers.values():
        for target in kinds.get("displaymath", {}):
            label = re.sub(r"^equation-(zh-)?", "", target)
            if label in numbers:
                kinds["displaymath"][target] = (numbers[label],)
    # a figure of a translated page is the figure of the page itself
    for page, kinds in env.toc_fignumbers.items():
        if page.startswith("zh/"):
            figures = env.toc_fignumbers.get(page[3:], {}).get("figure", {})
            kinds.get("figure", {}).update(
                zip(kinds.get("figure", {}), figures.values(), strict=True)
            )


def _set_chinese(app, pagename, templatename, context, doctree):
    """Tell browsers which pages are in Chinese, and keep punctuation beside its formula."""
    if pagename.startswith("zh/"):
        context["language"] = "zh-CN"  # fonts and line breaks depend on it
        context["body"] = re.sub(
            r'[（“]*<span class="math [^>]*>[^<]*</span>[，。；：、？）”]+',
            r'<span class="unbroken">\g<0></span>',
            context.get("body", ""),
        )


def _append_changelog(app, docname, source):
    if docname == "changelog":
        app.env.note_dependency(str(CHANGELOG))
        source[0] += "\n" + _rst(CHANGELOG.read_text(encoding="utf-8"))


def _source_of_ours_only(app, modname, attribute):
    """Keep scikit-learn's source out of the pages that viewcode makes."""
    from sphinx.ext.viewcode import _get_full_modname

    full = _get_full_modname(modname, attribute)
    return full if full and full.split(".")[0] == project else modname


def _skip_silent(app, what, name, obj, skip, options):
    """Leave out overriding methods that only repeat their base, and fields of named tuples."""
    text = getattr(obj, "__doc__", None) or ""
    return True if not text or text.startswith("Alias for field number") else None


def setup(app):
    app.connect("builder-inited", _draw_figures)
    app.connect("builder-inited", _build_lesson)
    app.connect("html-page-context", _play)
    app.connect("html-page-context", _describe_page)
    app.connect("env-check-consistency", _number_statements)
    app.connect("html-page-context", _set_chinese)
    app.connect("source-read", _append_changelog)
    app.connect("viewcode-follow-imported", _source_of_ours_only)
    app.connect("autodoc-skip-member", _skip_silent)
