"""The optimizer: takes a model and the training settings; gives AdamW over the model's parameter groups.

Which weights decay and which learn at a scaled rate is the model's knowledge (model/mup.py); the base learning rate of
each step comes from `training/schedule.py`.
"""
