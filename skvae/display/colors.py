"""Colors, each of which means the same in every picture."""

MODEL = "tab:blue"
FLOOR = "tab:red"
PRIOR = "0.75"
ANNOTATION = "0.45"  # text beside the data
# Ten colors that color-blind readers can tell apart: Petroff (2021), arXiv:2107.02270.
CLASSES = ["#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#94a4a2"]
CLASSES += ["#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"]
GRAYS = "#94a4a2", "#717581"  # the gray ones of CLASSES
MODEL_ON_PAGES = CLASSES[0]
# Nine steps of viridis from dark blue to yellow, whose brightness grows with the value.
SCALE = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30"]
SCALE += ["#fde725"]
