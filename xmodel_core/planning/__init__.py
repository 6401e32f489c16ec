"""What a run would build and cost, estimated before it starts.

Takes a recipe, files and a workspace; gives documents, tokens and hours per source and stage.
"""
