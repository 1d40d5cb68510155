"""The tutorial's stages and what else users train: a script a recipe."""
