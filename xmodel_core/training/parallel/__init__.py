"""One training over several workers: each takes every world-th sequence of a step, gradients are averaged.

Takes nothing but what torch.distributed knows (a process without a process group is worker 0 of 1); gives the worker's
rank, its device, the wrapped model, its micro batches, and sums and means over all workers.
"""
