"""What colors mean, alike in every picture."""

MODEL = "tab:blue"
FLOOR = "tab:red"
PRIOR = "0.75"
QUIET = "0.45"  # text that is not data
# Ten colours that colour-blind readers can tell apart: Petroff (2021), arXiv:2107.02270.
CLASSES = ["#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#94a4a2"]
CLASSES += ["#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"]
GREYS = "#94a4a2", "#717581"  # of these
MODEL_ON_PAGES = CLASSES[0]
# Nine steps from dark blue to yellow, as bright as they are large: viridis.
SCALE = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30"]
SCALE += ["#fde725"]
