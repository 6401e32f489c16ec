"""The recipes that come with Xmodel, and the reports' tokenizers and models that a recipe may extend.

The YAML files are in this folder; `xmodel_core.config` says what a recipe is.
"""

from pathlib import Path

from xmodel_core.config import RecipeLibrary

PACKAGED = RecipeLibrary(Path(__file__).resolve().parent)

load_recipe = PACKAGED.load
model_presets = PACKAGED.model_presets
recipe_names = PACKAGED.names
